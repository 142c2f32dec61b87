"""Lays out the files of one package: an environment for the board's Python, and what goes with it.

A virtual environment is three things, which need no running Python to be made: `pyvenv.cfg`, a link
to the interpreter, and unpacked wheels. Leaves choosing wheels to `wheels` and packing to `build`.
"""

import gzip
import hashlib
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

from scripts.deb.targets import DebError, Target
from scripts.deb.wheels import Wheel

PACKAGE = "edgenas-device"
_HOME = "opt/edgenas"
_DOC = f"usr/share/doc/{PACKAGE}"
_UNITS = ("edgenas-device.service", "edgenas-device-recover.service")
_SCRIPTS = ("postinst", "prerm", "postrm")
# Where an owner adds what no package can bring, such as NVIDIA's onnxruntime. Beside `lib`, so that
# upgrades keep it; looked at last, so that it replaces nothing of ours.
ADDED = "added"
_ADDED_PTH = "edgenas-added.pth"
# What no board runs: the host's half of our own wheel, and the test suites of others.
_LEFT_OUT = re.compile(r"^edgenas/|^device_profiles/|/tests/")
_LAUNCHER = """\
#!/opt/edgenas/bin/python3
import sys

from firmware_bridge.cli import main

sys.exit(main())
"""


def lay_out(root: Path, target: Target, wheels: Iterable[Wheel], packaging: Path) -> None:
    """Fill `root` with everything that the package installs.

    Args:
        root: Empty folder.
        target: The board.
        wheels: Our wheel and all that it needs.
        packaging: The project's `packaging/`.

    Raises:
        DebError: A wheel would write outside its place.
    """
    chosen = list(wheels)
    _environment(root, target, chosen)
    _link(root / "usr/bin" / PACKAGE, f"/{_HOME}/bin/{PACKAGE}")
    for unit in _UNITS:
        _file(root / "usr/lib/systemd/system" / unit, (packaging / unit).read_bytes())
    (root / "etc/edgenas").mkdir(parents=True)
    debian = packaging / "debian"
    _file(root / _DOC / "copyright", (debian / "copyright").read_bytes())
    changelog = gzip.compress((debian / "changelog").read_bytes(), mtime=0)
    _file(root / _DOC / "changelog.gz", changelog)
    _file(root / _DOC / "examples/agent.env", (packaging / "agent.env").read_bytes())
    _file(root / _DOC / "wheels.txt", wheel_list(chosen).encode())
    overrides = (debian / "lintian-overrides").read_bytes()
    _file(root / "usr/share/lintian/overrides" / PACKAGE, overrides)


def control(root: Path, target: Target, version: str, packaging: Path) -> None:
    """Write `root/DEBIAN`: control, checksums, and the maintainer scripts for this Python."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    sums = [
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}" for path in files
    ]
    fields = {
        "VERSION": version,
        "ARCH": target.arch,
        "DEPENDS": target.depends,
        "PYTHON": target.dotted,
        "SIZE": str(sum(path.stat().st_size for path in files) // 1024),
    }
    place, debian = root / "DEBIAN", packaging / "debian"
    _file(place / "control", filled((debian / "control").read_text(), fields).encode())
    _file(place / "md5sums", "".join(f"{line}\n" for line in sums).encode())
    for script in _SCRIPTS:
        _file(place / script, filled((debian / script).read_text(), fields).encode(), mode=0o755)


def filled(template: str, fields: Mapping[str, str]) -> str:
    """The template with each `@NAME@` replaced.

    Raises:
        DebError: It names something unknown.
    """
    for name, value in fields.items():
        template = template.replace(f"@{name}@", value)
    left = re.search(r"@[A-Z]+@", template)
    if left:
        raise DebError(f"expected one of {sorted(fields)} in a template, got {left.group()}")
    return template


def wheel_list(wheels: Iterable[Wheel]) -> str:
    """Which wheels are inside, one a line, with their digests."""
    return "".join(f"{each.sha256}  {each.path.name}\n" for each in wheels)


def _environment(root: Path, target: Target, wheels: Iterable[Wheel]) -> None:
    home = root / _HOME
    system_site = "true" if target.from_debian else "false"
    lines = ["home = /usr/bin", f"include-system-site-packages = {system_site}"]
    lines.append(f"version = {target.dotted}")
    _file(home / "pyvenv.cfg", "".join(f"{line}\n" for line in lines).encode())
    _link(home / "bin/python3", f"/usr/bin/python{target.dotted}")
    _file(home / "bin" / PACKAGE, _LAUNCHER.encode(), mode=0o755)
    site = home / f"lib/python{target.dotted}/site-packages"
    for wheel in wheels:
        _unpack(wheel, site)
    _file(site / _ADDED_PTH, f"../../../{ADDED}\n".encode())  # from here; no such folder, no matter


def _unpack(wheel: Wheel, site: Path) -> None:
    with ZipFile(wheel.path) as archive:
        for entry in archive.infolist():
            inside = _place(entry.filename)
            if inside is None or entry.is_dir():
                continue
            target = site / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("xb") as copy:
                shutil.copyfileobj(source, copy)
            target.chmod(0o644)


def _place(name: str) -> str | None:
    """Where a member of a wheel goes below site-packages; None if it is left out."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DebError(f"expected only names below site-packages in a wheel, got {name!r}")
    if path.parts[0].endswith(".data"):
        inside = path.parts[1] in ("purelib", "platlib")
        return str(PurePosixPath(*path.parts[2:])) if inside else None
    return None if _LEFT_OUT.search(name) else name


def _file(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
