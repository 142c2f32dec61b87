"""`make test-devices`: the device suite in environments like those of boards.

Builds our wheel, exports one INT8 candidate, and for each environment makes a virtual environment
under build/devices, installs the wheel and runs the same tests there, away from the checkout. Which
environments there are is in `environments`; what is tested, in tests/devices and
tests/firmware_bridge.

Exit status: 0 if every environment that could be made passed, 1 if one failed, 2 if there was none.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.devices.environments import ENVIRONMENTS, TOOLS, Environment, find_python

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "devices"
UV = ROOT / ".venv-bootstrap" / "bin" / "uv"
ABOUT_SOURCES = ("tests/firmware_bridge/wire/test_imports.py",)  # reads the checkout, not the wheel
PACKAGES = ("edgenas", "firmware_bridge", "device_profiles")


Command = Sequence[str | Path]


class StepFailedError(Exception):
    """A step of making an environment ended with an error; its output was shown."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the environments that were named, or all."""
    parser = argparse.ArgumentParser(prog="test-devices", description=__doc__)
    names = [environment.name for environment in ENVIRONMENTS]
    parser.add_argument("only", nargs="*", help=f"environments (default: all): {', '.join(names)}")
    parser.add_argument("--pytest", default="", help="further options of pytest")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.only) - set(names):
        parser.error(f"expected some of {', '.join(names)}, got {', '.join(sorted(unknown))}")
    wheel, suite, candidate = _build_wheel(), _copy_suite(), _make_candidate()
    results = {
        each.name: _run(each, wheel, suite, candidate, chosen.pytest.split())
        for each in ENVIRONMENTS
        if not chosen.only or each.name in chosen.only
    }
    for name, result in results.items():
        print(f"test-devices: {name}: {result}")
    failed = [result for result in results.values() if result.startswith("FAILED")]
    passed = [result for result in results.values() if result == "passed"]
    return 1 if failed else (0 if passed else 2)


def _build_wheel() -> Path:
    """Our wheel, built from a copy: the checkout's own build folder may hold old modules."""
    source, dist = HOME / "source", HOME / "dist"
    for folder in (source, dist):
        shutil.rmtree(folder, ignore_errors=True)
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    build: Command = [UV, "build", "--quiet", "--wheel", "--out-dir", dist, source]
    _step("building the wheel", build)
    (wheel,) = dist.glob("*.whl")
    return wheel


def _copy_suite() -> Path:
    """The tests without the packages, so that only what is installed can be imported."""
    suite = HOME / "suite"
    shutil.rmtree(suite, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("tests/firmware_bridge", "tests/devices"):
        shutil.copytree(ROOT / folder, suite / folder, ignore=ignored)
    shutil.copy2(ROOT / "tests/conftest.py", suite / "tests/conftest.py")
    shutil.copy2(ROOT / "pyproject.toml", suite / "pyproject.toml")
    return suite


def _make_candidate() -> Path:
    folder = HOME / "candidate"
    if not (folder / "outputs").exists():
        command: Command = [sys.executable, "-m", "tests.devices.make_candidate", folder]
        _step("exporting the candidate", command)
    return folder


def _run(
    environment: Environment, wheel: Path, suite: Path, candidate: Path, options: Sequence[str]
) -> str:
    """Makes one environment and runs its tests; says how that went."""
    base = find_python(environment.version)
    if base is None:
        return f"skipped: no Python {environment.version} on PATH or under pyenv"
    try:
        python = _make(environment, base, wheel)
    except StepFailedError as error:
        return f"FAILED: {error}"
    shared = os.environ.get("EDGENAS_SHARED_DATA") or str(ROOT.parent / "shared" / "data")
    settings = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "EDGENAS_DEVICE_RUNTIME": environment.runtime if not environment.pair else "",
        "EDGENAS_DEVICE_PAIR": environment.pair,
        "EDGENAS_DEVICE_CANDIDATE": str(candidate),
        "EDGENAS_TFLITE_SCHEMA": str(_schema()),
        "EDGENAS_SHARED_DATA": shared,
    }
    quiet = ("-q", "-p", "no:cacheprovider", *(f"--ignore={path}" for path in ABOUT_SOURCES))
    command = [str(python), "-m", "pytest", *quiet, *environment.suite, *options]
    print(f"test-devices: {environment.name}: running the suite", flush=True)
    done = subprocess.run(command, cwd=suite, env=settings, check=False)
    return "passed" if done.returncode == 0 else f"FAILED: pytest ended with {done.returncode}"


def _make(environment: Environment, base: str, wheel: Path) -> Path:
    """A virtual environment with the wheel of this run; the rest stays from the last run."""
    home = HOME / environment.name
    python, stamp = home / "bin" / "python", home / "made-of"
    wanted = "\n".join((base, environment.extra, *environment.wanted, *TOOLS, _metadata()))
    install = [str(UV), "pip", "install", "--quiet", "--python", str(python)]
    if not stamp.exists() or stamp.read_text() != wanted:
        what = f"making the environment {environment.name}"
        _step(what, [UV, "venv", "--quiet", "--clear", "--python", base, home])
        packages = [f"{wheel}{environment.extra}", *environment.wanted, *TOOLS]
        _step(what, [*install, *packages])
        stamp.write_text(wanted)
        return python
    again = ["--no-deps", "--reinstall", str(wheel)]
    _step(f"installing the wheel into {environment.name}", [*install, *again])
    return python


def _metadata() -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def _schema() -> Path:
    """The module that writes .tflite files: tests need it where its runtime must not be."""
    name = "ai_edge_litert/schema_py_generated.py"
    return next((ROOT / ".venv" / "lib").glob(f"python3*/site-packages/{name}"))


def _step(what: str, command: Command) -> None:
    print(f"test-devices: {what}", flush=True)
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, check=False)
    if done.returncode:
        raise StepFailedError(f"{what} ended with {done.returncode}; its output is above")


if __name__ == "__main__":
    sys.exit(main())
