"""Where a database is: a file for SQLite, a URL for PostgreSQL; a small checked value.

Leaves connecting to `connection`. A password never comes out of here as text for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgenas.database.errors import DatabaseError

Where = Path | str
_POSTGRES = ("postgresql", "postgres")
# What follows the scheme: USER:PASSWORD@, a host or [an IPv6 address], :PORT, and the rest. A
# password may hold anything but @.
_PLACE = re.compile(
    r"(?:[^:/]*(?::[^@]*)?@)?(?:\[[^\[\]/?]+\]|[^\[\]:/?]*)(?::\d{0,5})?(?:[/?].*)?", re.DOTALL
)
_PASSWORD = re.compile(r"://([^:@/?]*):.*@|([?&]password=)[^&]*")


@dataclass(frozen=True, slots=True)
class Address:
    """One database.

    Attributes:
        file: The file of SQLite, None for PostgreSQL.
        url: What SQLAlchemy connects to; may hold a password.
    """

    file: Path | None
    url: str

    @classmethod
    def parse(cls, where: Where) -> Address:
        """Read a path or a URL (`postgresql://USER:PASSWORD@HOST/NAME`, `sqlite:///FILE`).

        Raises:
            DatabaseError: It is a URL of neither, or of no file, or of no host and port.
        """
        if isinstance(where, Path):
            return cls._of_file(where)
        if where.startswith("sqlite:"):
            file = where.removeprefix("sqlite:///")
            if file in ("", where):
                raise DatabaseError(
                    f"expected sqlite:///FILE with three slashes before the file (four before one "
                    f"that begins at the root), or the file alone, got {where!r}"
                )
            return cls._of_file(Path(file))
        if "://" not in where:
            return cls._of_file(Path(where))
        scheme, _, place = where.partition("://")
        if scheme in _POSTGRES:
            address = cls(None, f"postgresql+psycopg://{place}")
            if _PLACE.fullmatch(place) is None:
                raise DatabaseError(
                    f"expected postgresql://USER:PASSWORD@HOST:PORT/NAME, got {address}; write an "
                    "IPv6 address in [], the port as a number, and @ in a password as %40"
                )
            return address
        raise DatabaseError(
            f"expected a file, sqlite:///FILE or postgresql://USER@HOST/NAME, got scheme "
            f"{scheme!r}; name the database in one of these ways"
        )

    @classmethod
    def _of_file(cls, path: Path) -> Address:
        return cls(path, "sqlite://")

    def __str__(self) -> str:
        if self.file is not None:
            return str(self.file)
        shown = self.url.replace("postgresql+psycopg", "postgresql", 1)
        return _PASSWORD.sub(lambda m: f"://{m[1]}:***@" if m[2] is None else f"{m[2]}***", shown)
