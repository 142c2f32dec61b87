"""Addresses of databases: files, URLs, and what is shown of them."""

from pathlib import Path

import pytest

from edgenas.database.address import Address
from edgenas.database.errors import DatabaseError


@pytest.mark.parametrize(
    ("where", "file"),
    [
        (Path("a/b.sqlite"), Path("a/b.sqlite")),
        ("a/b.sqlite", Path("a/b.sqlite")),
        ("sqlite:///a/b.sqlite", Path("a/b.sqlite")),
        ("sqlite:////a/b.sqlite", Path("/a/b.sqlite")),
    ],
)
def test_a_file_is_sqlite(where: Path | str, file: Path) -> None:
    assert Address.parse(where).file == file
    assert str(Address.parse(where)) == str(file)


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("postgresql://u:secret@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql://u@h/d?password=secret&x=1", "postgresql://u@h/d?password=***&x=1"),
        ("postgres://h/d", "postgresql://h/d"),
        ("postgresql://u:se/cr%40et@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:s[e]c@[::1]:5432/d?x=1", "postgresql://u:***@[::1]:5432/d?x=1"),
        ("postgresql:///d", "postgresql:///d"),
    ],
)
def test_a_password_is_never_shown(where: str, shown: str) -> None:
    address = Address.parse(where)
    assert address.file is None
    assert address.url.startswith("postgresql+psycopg://")
    assert str(address) == shown


def test_anything_else_is_refused_by_its_scheme() -> None:
    with pytest.raises(DatabaseError, match="got scheme 'mysql'"):
        Address.parse("mysql://h/d")


@pytest.mark.parametrize(
    "where", ["postgresql://u:secret@h:port/x", "postgresql://u@[bad", "postgresql://[::1]x/d"]
)
def test_a_host_or_port_that_is_none_is_refused_in_one_line(where: str) -> None:
    with pytest.raises(DatabaseError, match="expected postgresql://USER:PASSWORD@HOST") as told:
        Address.parse(where)
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("where", ["sqlite://x", "sqlite:/x", "sqlite:x", "sqlite:///", "sqlite:"])
def test_too_few_slashes_make_no_folder_of_that_name(where: str) -> None:
    with pytest.raises(DatabaseError, match="expected sqlite:///FILE with three slashes"):
        Address.parse(where)
