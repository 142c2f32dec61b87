"""What can be wrong with a database or a value before anybody knows what it is about."""

from edgenas.errors import EdgenasError


class DatabaseError(EdgenasError):
    """The address of a database that cannot be read, or a driver that is not installed."""


class UnfitValueError(EdgenasError):
    """A value that not every kind of database takes; nothing was sent, so nothing is undone."""
