"""What can be wrong with a database before anybody knows what it is about."""

from edgenas.errors import EdgenasError


class DatabaseError(EdgenasError):
    """The address of a database that cannot be read, or a driver that is not installed."""
