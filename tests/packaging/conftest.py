"""Which package is put to the test, and the board that it is installed on."""

import os
from pathlib import Path

import pytest

from tests.packaging.board import Board
from tests.packaging.roots import PROJECT, base_root, copy_root, skip_unless_possible

ARCH_VARIABLE = "EDGENAS_PACKAGE_ARCH"
PYTHON = "311"


@pytest.fixture(scope="session")
def arch() -> str:
    """Architecture asked for; skips where none is."""
    named = os.environ.get(ARCH_VARIABLE)
    if not named:
        pytest.skip(
            f"`make test-arm64`, `test-armhf` or `test-amd64` asks for it ({ARCH_VARIABLE})"
        )
    return named


@pytest.fixture(scope="session")
def package(arch: str) -> Path:
    """The package for that architecture, as `make deb` has left it."""
    found = sorted((PROJECT / "build/deb").glob(f"*+py{PYTHON}_{arch}.deb"))
    if not found:
        pytest.skip(f"no package for {arch}: `make deb ARCH={arch} PY={PYTHON}` makes it")
    return found[-1]


@pytest.fixture(scope="module")
def board(arch: str, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """A board without the package."""
    skip_unless_possible(arch)
    base = base_root(arch)
    root = copy_root(base, arch, tmp_path_factory.mktemp("board") / "root")
    return Board(root)
