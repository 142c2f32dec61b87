"""Finds the wheels that make up a board's environment, for another machine than this one.

pip evaluates markers for the machine it runs on, so requirements are followed here, with the
board's values. `settle` decides, `PipIndex` fetches. Unpacking is left to `tree`.
"""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename

from scripts.deb.targets import DebError, Target

EXTRA = "device"
_ROUNDS_CAP = 12  # each round learns of at least one more requirement
_OURS = ("pyproject.toml", "README.md", "LICENSE", "edgenas", "firmware_bridge", "device_profiles")

Wants = Mapping[str, SpecifierSet]
Fetch = Callable[[Target, Wants], "list[Wheel]"]


@dataclass(frozen=True)
class Wheel:
    """A wheel file and what its metadata asks for."""

    path: Path
    name: str
    version: str
    requires: tuple[Requirement, ...]

    @property
    def sha256(self) -> str:
        """Digest of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def needs(self, target: Target, extra: str = "") -> list[Requirement]:
        """Requirements that hold on the board, those of one extra included."""
        values = [{**target.environment, "extra": each} for each in {"", extra}]
        return [
            requirement
            for requirement in self.requires
            if requirement.marker is None
            or any(requirement.marker.evaluate(dict(each)) for each in values)
        ]


def read_wheel(path: Path) -> Wheel:
    """Name, version and requirements of a wheel file.

    Raises:
        DebError: It is no wheel.
    """
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
        with ZipFile(path) as archive:
            (inside,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            headers = HeaderParser().parsestr(archive.read(inside).decode())
    except (ValueError, BadZipFile, OSError) as error:
        raise DebError(
            f"expected a wheel at {path}, got {error}; build or fetch it anew"
        ) from error
    required = tuple(Requirement(text) for text in headers.get_all("Requires-Dist") or ())
    return Wheel(path, str(name), str(version), required)


def settle(own: Wheel, target: Target, fetch: Fetch) -> list[Wheel]:
    """Our wheel and all that it needs on a board, by name.

    Args:
        own: Our wheel.
        target: The board.
        fetch: Gets one wheel for each name, of a version allowed.

    Raises:
        DebError: Requirements keep changing, or `fetch` finds nothing.
    """
    wheels = {own.name: own}
    for _ in range(_ROUNDS_CAP):
        wants = _wanted(wheels.values(), own, target)
        missing = {
            name: versions
            for name, versions in wants.items()
            if name not in wheels or wheels[name].version not in versions
        }
        if not missing:
            return [wheels[name] for name in sorted({*wants, own.name})]
        wheels.update({wheel.name: wheel for wheel in fetch(target, missing)})
    raise DebError(f"expected requirements of {target} to settle, they go round: {sorted(wants)}")


def _wanted(wheels: Iterable[Wheel], own: Wheel, target: Target) -> dict[str, SpecifierSet]:
    found: dict[str, SpecifierSet] = {}
    for wheel in wheels:
        for requirement in wheel.needs(target, EXTRA if wheel is own else ""):
            name = str(canonicalize_name(requirement.name))
            if name not in target.from_debian:
                found[name] = found.get(name, SpecifierSet()) & requirement.specifier
    return found


class PipIndex:
    """Fetches wheels by name through pip, with whatever index pip is configured for."""

    def __init__(self, pip: Sequence[str], folder: Path) -> None:
        """Keep wheels of one run.

        Args:
            pip: How to run pip.
            folder: Where wheels are put.
        """
        self._pip = list(pip)
        self._folder = folder

    def fetch(self, target: Target, wants: Wants) -> list[Wheel]:
        """One wheel for each name.

        Raises:
            DebError: pip finds none that suits the board.
        """
        folder = self._folder / f"{target.arch}-{target.python}"
        folder.mkdir(parents=True, exist_ok=True)
        lines = sorted(f"{name}{versions}" for name, versions in wants.items())
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            options = ["--quiet", "--no-deps", "--dest", fresh, *target.wheel_options]
            run([*self._pip, "download", *options, *lines], f"wheels for {target}: {lines}")
            return [read_wheel(path.replace(folder / path.name)) for path in _wheels_in(fresh)]


def build_own(pip: Sequence[str], project: Path, folder: Path) -> Wheel:
    """Our wheel, built from a copy, so that no stale file of an earlier build gets in.

    Raises:
        DebError: It cannot be built.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as copy:
        for name in _OURS:
            _copy(project / name, Path(copy, name))
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            run([*pip, "wheel", "--quiet", "--no-deps", "-w", fresh, copy], "our own wheel")
            (path,) = _wheels_in(fresh)
            return read_wheel(path.replace(folder / path.name))


def run(command: Sequence[str], purpose: str) -> None:
    """Run a tool.

    Raises:
        DebError: It is missing or fails; the text holds what it said last.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise DebError(f"expected {command[0]} to run, got {error}; install it") from error
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise DebError(f"expected {purpose}, {command[0]} ended with {done.returncode}:\n{said}")


def _wheels_in(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("*.whl"))


def _copy(source: Path, copy: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, copy)
