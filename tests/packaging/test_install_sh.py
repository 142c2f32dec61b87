"""`packaging/install.sh`: cut off anywhere it does nothing; what it cannot do it says at once.

That it installs a package is shown on a board, see test_installed.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.roots import PROJECT

SCRIPT = PROJECT / "packaging/install.sh"
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]
# Every program that the script names, each of which would leave a trace here.
PROGRAMS = (
    *("apt-get", "basename", "cat", "dirname", "dpkg", "dpkg-deb", "edgenas-device", "env", "id"),
    *("ln", "mkdir", "python3", "realpath", "rm", "sed", "tr", "uname"),
)


def run(
    *arguments: str, shell: str = "sh", good: bool = False, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run the script as a user would."""
    done = subprocess.run(
        [shell, str(SCRIPT), *arguments],
        env={"PATH": os.environ["PATH"], **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode == 0) == good, done.stdout + done.stderr
    return done


@pytest.fixture
def traps(tmp_path: Path) -> Path:
    """A folder of programs that note their own name in `trace` and fail."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        program = folder / name
        program.write_text(f"#!/bin/sh\necho {name} >>{tmp_path}/trace\nexit 1\n")
        program.chmod(0o755)
    return folder


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_that_was_cut_off_does_nothing(shell: str, traps: Path, tmp_path: Path) -> None:
    script = SCRIPT.read_bytes()
    assert script.endswith(b'\n{ main "$@"; }\n')
    program = shutil.which(shell)
    assert program is not None
    cuts = [*range(0, len(script) - 200, 131), *range(len(script) - 200, len(script) - 1, 5)]
    cuts += range(len(script) - 20, len(script) - 1)
    half = tmp_path / "half.sh"
    for cut in cuts:
        half.write_bytes(script[:cut])
        done = subprocess.run(
            [program, str(half)],
            env={"PATH": str(traps)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "", f"after {cut} bytes it said {done.stdout}"
        assert not (tmp_path / "trace").exists(), f"after {cut} bytes it ran something"


def test_the_traps_would_have_noticed(traps: Path, tmp_path: Path) -> None:
    shell = shutil.which("sh")
    assert shell is not None
    subprocess.run([shell, str(SCRIPT)], env={"PATH": str(traps)}, capture_output=True, check=False)
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_an_armv6_board_is_refused_with_the_reason(shell: str, tmp_path: Path) -> None:
    said = run(str(tmp_path), shell=shell, EDGENAS_MACHINE="armv6l").stderr
    assert "armv6l" in said
    assert "Zero 2 W" in said


@pytest.mark.parametrize("machine", ["riscv64", "mips"])
def test_an_unknown_machine_is_refused(machine: str, tmp_path: Path) -> None:
    assert machine in run(str(tmp_path), EDGENAS_MACHINE=machine).stderr


def test_a_folder_without_a_package_says_which_one_is_missing(tmp_path: Path) -> None:
    said = run(str(tmp_path), EDGENAS_MACHINE="aarch64").stderr
    assert "_arm64.deb" in said
    assert "make deb" in said


def test_two_versions_in_a_folder_must_be_told_apart(tmp_path: Path) -> None:
    for version in ("0.1.0", "0.2.0"):
        (tmp_path / f"edgenas-{version}-py3-none-any.whl").touch()
    said = run(str(tmp_path), EDGENAS_METHOD="wheel", EDGENAS_MACHINE="aarch64").stderr
    assert "EDGENAS_VERSION" in said


def test_what_is_not_there_and_what_is_neither_are_refused(tmp_path: Path) -> None:
    assert "not there" in run(str(tmp_path / "none")).stderr
    other = tmp_path / "edgenas.zip"
    other.touch()
    assert "expected a .deb or a .whl" in run(str(other)).stderr
    assert "expected one file" in run("one", "two").stderr


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")
def test_a_package_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    cut = tmp_path / "edgenas-device.deb"
    cut.write_bytes(b"!<arch>\n")
    assert "cut off" in run(str(cut)).stderr


def test_the_system_is_named_out_of_os_release_without_running_it(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text(f'PRETTY_NAME="Board OS 7"\nID=$(touch {tmp_path}/ran)\n')
    other = tmp_path / "edgenas.zip"
    other.touch()
    said = run(str(other), EDGENAS_OS_RELEASE=str(release))
    assert "Board OS 7" in said.stdout
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keys", [(), ("a b.pub",), ("signing.pub", "spare.pub")])
def test_every_key_that_is_named_is_handed_on(keys: tuple[str, ...]) -> None:
    functions = SCRIPT.read_text().rpartition("{ main")[0]
    told = {"PATH": os.environ["PATH"], "EDGENAS_BROKER": "mqtt://b"}
    told["EDGENAS_VERIFY_KEY"] = ":".join(keys)
    functions = functions.replace('"$program" enroll', "printf '%s|'")
    words = ["sh", "-c", f"{functions}\nenroll edgenas-device"]
    said = subprocess.run(words, env=told, capture_output=True, text=True, check=True).stdout
    wanted = ["--broker", "mqtt://b"]
    for key in keys:
        wanted += ["--verify-key", key]
    assert said.split("|")[:-1] == wanted


def test_help_is_the_text_at_its_head() -> None:
    said = run("--help", good=True).stdout
    assert "EDGENAS_BROKER" in said
    assert "set -eu" not in said


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say() -> None:
    debian = PROJECT / "packaging/debian"
    scripts = [SCRIPT, *(debian / name for name in ("postinst", "prerm", "postrm"))]
    scripts += sorted((PROJECT / "scripts").glob("*.sh"))
    done = subprocess.run(
        ["shellcheck", *map(str, scripts)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
