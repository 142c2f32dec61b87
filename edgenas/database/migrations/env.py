"""What Alembic runs first: hands it the connection that is open already, in its transaction."""

from alembic import context

given = context.config.attributes
context.configure(
    connection=given["connection"],
    version_table=given["version_table"],
    transaction_per_migration=False,
    transactional_ddl=False,  # the caller's transaction is around everything
)
context.run_migrations()
