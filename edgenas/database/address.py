"""Where a database is: a file for SQLite, a URL for PostgreSQL; a small checked value.

Leaves connecting to `connection`. A password never comes out of here as text for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edgenas.database.errors import DatabaseError

Where = Path | str
_POSTGRES = ("postgresql", "postgres")
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
            DatabaseError: It is a URL of neither.
        """
        if isinstance(where, Path) or "://" not in where:
            return cls._of_file(Path(where))
        scheme = urlsplit(where).scheme
        if scheme == "sqlite":
            return cls._of_file(Path(where.removeprefix("sqlite:///")))
        if scheme in _POSTGRES:
            return cls(None, "postgresql+psycopg" + where.removeprefix(scheme))
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
