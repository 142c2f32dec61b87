"""scripts/find-python.sh takes a Python that runs, and says what to install where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "find-python.sh"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] not in ((3, 12), (3, 13)), reason="needs to be one of those it looks for"
)


def _find(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script where PATH holds tmp_path/bin only and pyenv is tmp_path/pyenv."""
    return subprocess.run(
        ["/bin/sh", SCRIPT],
        env={"PATH": str(tmp_path / "bin"), "PYENV_ROOT": str(tmp_path / "pyenv"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _command(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def _python(path: Path) -> Path:
    return _command(path, f'exec {sys.executable} "$@"')


def test_a_python_on_the_path(tmp_path: Path) -> None:
    _python(tmp_path / "bin" / "python3")
    found = _find(tmp_path)
    assert (found.returncode, found.stdout) == (0, sys.executable + "\n")


def test_a_name_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    for name in ("python3.13", "python3.12", "python3"):
        _command(tmp_path / "bin" / name, f"echo 'pyenv: {name}: command not found' >&2; exit 127")
    _python(tmp_path / "pyenv" / "versions" / f"{VERSION}.9" / "bin" / "python")
    found = _find(tmp_path)
    assert (found.returncode, found.stdout) == (0, sys.executable + "\n")


def test_none(tmp_path: Path) -> None:
    found = _find(tmp_path)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.count("\n") == 1
    assert "no Python 3.12 or 3.13 was found" in found.stderr


def test_the_environment_names_one(tmp_path: Path) -> None:
    python = _python(tmp_path / "elsewhere" / "mine")
    assert _find(tmp_path, PYTHON=str(python)).stdout == sys.executable + "\n"


def test_the_environment_names_a_wrong_one(tmp_path: Path) -> None:
    _python(tmp_path / "bin" / "python3")
    found = _find(tmp_path, PYTHON=os.devnull)
    assert found.returncode == 1
    assert "is not a Python 3.12 or 3.13 that runs" in found.stderr
