"""What goes into a package is decided for the board, not for the machine that builds it.

Wheels here are made by the tests; that real ones install and run is shown in test_installed.
"""

import stat
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from scripts.deb import tree
from scripts.deb.build import build, changelog_epoch
from scripts.deb.targets import DebError, Target, targets
from scripts.deb.wheels import Wants, Wheel, read_wheel, settle
from tests.packaging.roots import PROJECT

ARM64, ARMHF = Target("arm64", "311"), Target("armhf", "311")
RUNTIMES = (
    'rt64>=2.1; platform_machine != "armv7l" and extra == "device"',
    'rt32<3; platform_machine == "armv7l" and extra == "device"',
    'numpy>=1.23,<2; platform_machine == "armv7l" and extra == "device"',
    "paho>=2",
    "cryptography>=38",
    'host-only>=1; extra == "host"',
)


def wheel(
    folder: Path, name: str, version: str, requires: tuple[str, ...] = (), **files: str
) -> Wheel:
    """A wheel file of one module and what is given besides, `__` in a name standing for `/`."""
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    wanted = "".join(f"Requires-Dist: {each}\n" for each in requires)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wanted}"
    with ZipFile(path, "w") as archive:
        archive.writestr(f"{name.replace('-', '_')}-{version}.dist-info/METADATA", metadata)
        archive.writestr(f"{name.replace('-', '_')}.py", "VALUE = 1\n")
        for place, content in files.items():
            archive.writestr(place.replace("__", "/"), content)
    return read_wheel(path)


class Index:
    """Wheels to fetch, newest last; notes what was asked for."""

    def __init__(self, *wheels: Wheel) -> None:
        self._wheels = wheels
        self.asked: list[dict[str, str]] = []

    def fetch(self, target: Target, wants: Wants) -> list[Wheel]:
        self.asked.append({name: str(versions) for name, versions in wants.items()})
        return [
            [each for each in self._wheels if each.name == name and each.version in versions][-1]
            for name, versions in wants.items()
        ]


@pytest.fixture
def own(tmp_path: Path) -> Wheel:
    return wheel(tmp_path, "edgenas", "0.1.0", RUNTIMES)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(
        wheel(tmp_path, "rt64", "2.3.0", ("numpy>=1.23", "tiny<2")),
        wheel(tmp_path, "rt32", "2.14.0", ("numpy>=1.23",)),
        wheel(tmp_path, "numpy", "1.26.4"),
        wheel(tmp_path, "numpy", "2.2.6"),
        wheel(tmp_path, "tiny", "1.0", ('old-typing; python_version < "3.11"',)),
        wheel(tmp_path, "tiny", "2.0"),
        wheel(tmp_path, "old-typing", "4.0"),
        wheel(tmp_path, "paho", "2.2.0"),
        wheel(tmp_path, "cryptography", "50.0.0", ("cffi>=2",)),
        wheel(tmp_path, "cffi", "2.1.1"),
    )


def names(wheels: list[Wheel]) -> list[str]:
    return [f"{each.name} {each.version}" for each in wheels]


def test_markers_are_read_for_the_board(own: Wheel, index: Index) -> None:
    found = names(settle(own, ARM64, index.fetch))
    assert found == [
        *("cffi 2.1.1", "cryptography 50.0.0", "edgenas 0.1.0", "numpy 2.2.6", "paho 2.2.0"),
        *("rt64 2.3.0", "tiny 1.0"),
    ]
    older = names(settle(own, Target("arm64", "310"), index.fetch))
    assert older == sorted([*found, "old-typing 4.0"])


def test_a_32_bit_board_takes_numpy_and_cryptography_from_its_distribution(
    own: Wheel, index: Index
) -> None:
    assert names(settle(own, ARMHF, index.fetch)) == ["edgenas 0.1.0", "paho 2.2.0", "rt32 2.14.0"]
    assert "python3-numpy (<< 1:2)" in ARMHF.depends
    assert "python3-cryptography (>= 38)" in ARMHF.depends
    assert "numpy" not in ARM64.depends


def test_a_package_is_for_one_python(own: Wheel) -> None:
    assert "python3 (>= 3.11), python3 (<< 3.12)" in ARM64.depends
    assert "--python-version=3.11" in ARM64.wheel_options
    # pip takes a wheel for an older glibc only if that level is named, too
    assert {"--platform=manylinux_2_27_aarch64", "--platform=manylinux2014_aarch64"} <= set(
        ARM64.wheel_options
    )


def test_a_requirement_learnt_late_changes_what_was_fetched(tmp_path: Path) -> None:
    own = wheel(tmp_path, "edgenas", "0.1.0", ("tiny", "strict"))
    index = Index(
        wheel(tmp_path, "tiny", "1.0"),
        wheel(tmp_path, "tiny", "2.0"),
        wheel(tmp_path, "strict", "1.0", ("tiny<2",)),
    )
    assert names(settle(own, ARM64, index.fetch)) == ["edgenas 0.1.0", "strict 1.0", "tiny 1.0"]
    assert len(index.asked) == 2


def test_requirements_that_never_settle_are_an_error(own: Wheel, tmp_path: Path) -> None:
    wrong = wheel(tmp_path, "paho", "1.0")
    with pytest.raises(DebError, match="paho"):
        settle(own, ARM64, lambda target, wants: [wrong])


@pytest.mark.parametrize(
    ("archs", "pythons"), [(["mips"], ["311"]), (["arm64"], ["39"]), (["armhf"], ["313"])]
)
def test_what_cannot_be_built_is_refused(archs: list[str], pythons: list[str]) -> None:
    with pytest.raises(DebError, match=r"expected"):
        targets(archs, pythons)


def test_32_bit_boards_have_one_python_and_the_others_four() -> None:
    found = targets(["amd64", "arm64", "armhf"], ["3.10", "311", "312", "313"])
    assert len(found) == 9
    assert [str(each) for each in found if each.arch == "armhf"] == ["armhf with Python 3.11"]


@pytest.mark.parametrize("name", ["..__..__etc__passwd", "__etc__passwd"])
def test_a_wheel_that_would_write_elsewhere_is_refused(
    own: Wheel, tmp_path: Path, name: str
) -> None:
    bad = wheel(tmp_path, "bad", "1.0", (), **{name: "x"})
    with pytest.raises(DebError, match="site-packages"):
        tree.lay_out(tmp_path / "root", ARM64, [own, bad], PROJECT / "packaging")
    assert not (tmp_path / "etc").exists()


def test_a_package_holds_an_environment_and_nothing_of_the_host(tmp_path: Path) -> None:
    wheels = [
        wheel(tmp_path, "edgenas", "0.1.0", (), edgenas__cli__main="", firmware_bridge__cli=""),
        wheel(tmp_path, "numpy", "2.0", (), numpy__tests__big="", numpy__core=""),
    ]
    package = build(ARM64, wheels, PROJECT / "packaging", tmp_path / "deb", "gzip")
    listed = subprocess.run(
        ["dpkg-deb", "--contents", str(package)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    paths = [line.split()[5] for line in listed]
    site = "./opt/edgenas/lib/python3.11/site-packages"
    assert f"{site}/firmware_bridge/cli" in paths
    assert f"{site}/numpy/core" in paths
    assert not [path for path in paths if "/edgenas/cli" in path or "/tests/" in path]
    assert all("root/root" in line for line in listed)
    assert "./opt/edgenas/bin/python3" in paths
    (link,) = (line for line in listed if "./usr/bin/edgenas-device" in line)
    assert link.endswith("-> /opt/edgenas/bin/edgenas-device")


def test_what_an_owner_adds_is_found_and_replaces_nothing(own: Wheel, tmp_path: Path) -> None:
    """Read by Python itself, as it reads the environment of a board."""
    ours = wheel(tmp_path, "numpy", "2.0")
    root = tmp_path / "root"
    tree.lay_out(root, ARM64, [own, ours], PROJECT / "packaging")
    home = root / "opt/edgenas"
    site, added = home / "lib/python3.11/site-packages", home / tree.ADDED
    asked = f"import site; site.addsitedir({str(site)!r}); import numpy; import onnxruntime; "
    asked += "print(numpy.VALUE, onnxruntime.built_by)"
    command = [sys.executable, "-I", "-S", "-c", asked]
    absent = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "No module named 'onnxruntime'" in absent.stderr
    for name, content in (("onnxruntime", "built_by = 'NVIDIA'"), ("numpy", "VALUE = 2")):
        (added / name).mkdir(parents=True)
        (added / name / "__init__.py").write_text(content)
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["1", "NVIDIA"]


def test_the_same_inputs_give_the_same_bytes_and_are_not_packed_again(
    own: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    first = build(ARM64, [own], PROJECT / "packaging", tmp_path / "one", "gzip")
    stamp = first.stat().st_mtime_ns
    assert build(ARM64, [own], PROJECT / "packaging", tmp_path / "one", "gzip") == first
    assert first.stat().st_mtime_ns == stamp
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "8")  # another day: only the changelog counts
    other = build(ARM64, [own], PROJECT / "packaging", tmp_path / "two", "gzip")
    assert other.read_bytes() == first.read_bytes()


def test_maintainer_scripts_are_whole_and_executable(own: Wheel, tmp_path: Path) -> None:
    root = tmp_path / "root"
    tree.lay_out(root, ARM64, [own], PROJECT / "packaging")
    tree.control(root, ARM64, "0.1.0+py311", PROJECT / "packaging")
    for name in ("postinst", "prerm", "postrm"):
        script = root / "DEBIAN" / name
        assert stat.S_IMODE(script.stat().st_mode) == 0o755
        assert "@" not in script.read_text().replace("$@", "")
    assert "Architecture: arm64" in (root / "DEBIAN/control").read_text()
    listed = (root / "usr/share/doc/edgenas-device/wheels.txt").read_text()
    assert listed == f"{own.sha256}  {own.path.name}\n"


def test_templates_and_changelogs_that_say_too_little_are_refused() -> None:
    with pytest.raises(DebError, match="@COLOUR@"):
        tree.filled("@ARCH@ @COLOUR@", {"ARCH": "arm64"})
    with pytest.raises(DebError, match="changelog"):
        changelog_epoch("edgenas-device (0.1.0) unstable")
