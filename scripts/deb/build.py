"""`make deb`: the Debian packages of the device, for every board or for those named.

    python -m scripts.deb.build [--arch arm64]... [--python 311]... [--out build/deb]

Needs neither root nor an emulator: nothing of another architecture is executed. A package whose
inputs have not changed is not built again.
"""

import argparse
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path

import tomllib

from scripts.deb import tree
from scripts.deb.targets import MACHINES, PYTHONS, DebError, Target, targets
from scripts.deb.wheels import PipIndex, Wheel, build_own, run, settle

PROJECT = Path(__file__).resolve().parents[2]
_COMPRESSION = "xz"
_LEVEL = "1"  # 15 % larger than the default level and six times as quick


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is asked for; returns 0, or 1 with the reason on stderr."""
    given = _parser().parse_args(arguments)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    try:
        wanted = targets(given.arch or MACHINES, given.python or PYTHONS)
        _fix_time(PROJECT / "packaging/debian/changelog")
        own = build_own(pip, PROJECT, given.cache)
        index = PipIndex(pip, given.cache)
        for target in wanted:
            wheels = settle(own, target, index.fetch)
            print(build(target, wheels, PROJECT / "packaging", given.out, given.compression))
    except DebError as error:
        print(f"make deb: {error}", file=sys.stderr)
        return 1
    return 0


def build(
    target: Target, wheels: Sequence[Wheel], packaging: Path, out: Path, compression: str
) -> Path:
    """Pack one package; returns its file, the one there is if nothing has changed.

    Raises:
        DebError: dpkg-deb is missing or fails, or a wheel is not what it should be.
    """
    version = f"{_project_version()}+py{target.python}"
    package = out / f"{tree.PACKAGE}_{version}_{target.arch}.deb"
    stamp = package.with_suffix(".inputs")
    inputs = digest(target, wheels, packaging, compression + _LEVEL)
    if package.exists() and stamp.exists() and stamp.read_text() == inputs:
        return package
    out.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        root = Path(folder, "root")
        root.mkdir()
        tree.lay_out(root, target, wheels, packaging)
        tree.control(root, target, version, packaging)
        epoch = changelog_epoch((packaging / "debian/changelog").read_text())
        _settle_modes(root, epoch)
        made = Path(folder, package.name)
        options = ["--root-owner-group", "--uniform-compression", f"-Z{compression}", f"-z{_LEVEL}"]
        tool = ["env", f"SOURCE_DATE_EPOCH={epoch}", "dpkg-deb", *options]
        run([*tool, "--build", str(root), str(made)], f"a package for {target}")
        made.replace(package)
    stamp.write_text(inputs)
    return package


def digest(target: Target, wheels: Iterable[Wheel], packaging: Path, compression: str) -> str:
    """One number for everything that a package is made of."""
    sources = [*packaging.rglob("*"), *Path(__file__).parent.glob("*.py")]
    files = sorted(path for path in sources if path.is_file())
    lines = [str(target), compression, tree.wheel_list(wheels)]
    lines += [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def changelog_epoch(text: str) -> int:
    """Seconds since the epoch of a changelog's newest entry.

    Raises:
        DebError: There is none.
    """
    found = re.search(r"^ -- .*>  (.+)$", text, re.MULTILINE)
    if found is None:
        raise DebError("expected a line ' -- name <address>  date' in the changelog, got none")
    return int(parsedate_to_datetime(found.group(1)).timestamp())


def _fix_time(changelog: Path) -> None:
    """Make the tools write the changelog's time: the same inputs give the same bytes."""
    os.environ["SOURCE_DATE_EPOCH"] = str(changelog_epoch(changelog.read_text()))


def _settle_modes(root: Path, epoch: int) -> None:
    """Modes and times that do not depend on who builds, and when."""
    for path in [root, *root.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _project_version() -> str:
    with (PROJECT / "pyproject.toml").open("rb") as stream:
        return str(tomllib.load(stream)["project"]["version"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts.deb.build", description=__doc__)
    add = parser.add_argument
    add("--arch", action="append", help=f"one of {', '.join(MACHINES)} (default all)")
    add("--python", action="append", help=f"one of {', '.join(PYTHONS)} (default all)")
    add("--out", type=Path, default=PROJECT / "build/deb", help="where packages go")
    add("--cache", type=Path, default=PROJECT / "build/wheels", help="where wheels go")
    add("--compression", default=_COMPRESSION, help="of dpkg-deb: xz, zstd, gzip or none")
    return parser


if __name__ == "__main__":
    sys.exit(main())
