"""How a database gets from one revision to the next; run by `edgenas.database.migrate`."""
