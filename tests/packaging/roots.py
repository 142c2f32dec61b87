"""Debian roots to install packages in: made once with mmdebstrap, copied for each test.

A command in a root runs in namespaces of its own, so that its mounts, and every process it leaves,
go when it ends; the network is this machine's. For another architecture the kernel hands programs
to qemu-user. What happens in a root is left to the tests.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
ROOTS = PROJECT / "build/roots"
BUILD_TIMEOUT_S = 1800.0
COMMAND_TIMEOUT_S = 600.0

# `max`, qemu's own default, computes wrong numbers once a runtime believes in its extensions.
CPUS = {"arm64": "cortex-a72", "armhf": "cortex-a7"}
EMULATORS = {"arm64": "qemu-aarch64", "armhf": "qemu-arm"}
PACKAGES = {
    "amd64": ("python3", "adduser", "libstdc++6"),
    "arm64": ("python3", "adduser", "libstdc++6"),
    "armhf": ("python3", "adduser", "libstdc++6", "python3-numpy", "python3-cryptography"),
}
# What a runtime looks at to choose its kernels; the host's own would make it choose x86 ones.
_PROCESSOR = {
    "arm64": "processor\t: {n}\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"
    "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\n"
    "CPU revision\t: 3\n\n",
    "armhf": "processor\t: {n}\nmodel name\t: ARMv7 Processor rev 5 (v7l)\n"
    "Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae\n"
    "CPU implementer\t: 0x41\nCPU architecture: 7\nCPU variant\t: 0x0\nCPU part\t: 0xc07\n"
    "CPU revision\t: 5\n\n",
}
_MIRRORS_OF_APT = ("apt-get", "indextargets", "--format", "$(REPO_URI)")
_ENTER = """
set -e
root=$1; shift
mount --make-rprivate /
mount -t proc proc "$root/proc"
[ ! -e "$root.cpuinfo" ] || mount --bind "$root.cpuinfo" "$root/proc/cpuinfo"
exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Root:
    """A Debian file system that commands can be run in.

    Attributes:
        path: Its folder.
        arch: Debian's name of its architecture.
    """

    path: Path
    arch: str

    def argv(self, *command: str, user: str | None = None) -> list[str]:
        """A command line that runs `command` inside; its children end with it."""
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER, "sh"]
        return [*enter, str(self.path), *become, *command]

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Environment for `argv`: nothing of this machine's but the emulated processor."""
        chosen = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        if self.arch in CPUS:
            chosen["QEMU_CPU"] = CPUS[self.arch]
        return {**chosen, "DEBIAN_FRONTEND": "noninteractive", **(more or {})}

    def run(self, *command: str, good: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command as root; fails the test if it ends badly, unless that is allowed."""
        done = subprocess.run(
            self.argv(*command),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert not good or done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        return done

    def files(self) -> set[str]:
        """Every path inside."""
        return {str(path.relative_to(self.path)) for path in self.path.rglob("*")}


def skip_unless_possible(arch: str) -> None:
    """Skip where this machine cannot run a root of that architecture, and say why."""
    if os.geteuid() != 0:
        pytest.skip("needs root: chroot, mount and unshare")
    missing = [each for each in ("mmdebstrap", "unshare", "chroot") if shutil.which(each) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    native = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if arch != native:
        emulator = Path("/proc/sys/fs/binfmt_misc", EMULATORS.get(arch, "none"))
        if not emulator.exists():
            pytest.skip(
                f"{arch} does not run here: install qemu-user-static and binfmt-support; in a "
                "container also mount binfmt_misc and run update-binfmts --enable"
            )


def base_root(arch: str, suite: str = "bookworm") -> Path:
    """The root of that architecture as it was made; kept below `build/`.

    A mirror is named by MIRROR, else it is the one that apt uses here.
    """
    place = ROOTS / f"{suite}-{arch}"
    if not place.exists():
        ROOTS.mkdir(parents=True, exist_ok=True)
        half = ROOTS / f"{suite}-{arch}.part"
        shutil.rmtree(half, ignore_errors=True)
        command = ["mmdebstrap", "--quiet", f"--arch={arch}", "--variant=minbase"]
        command += [f"--include={','.join(PACKAGES[arch])}", suite, str(half), mirror()]
        environment = {**os.environ, **({"QEMU_CPU": CPUS[arch]} if arch in CPUS else {})}
        subprocess.run(command, env=environment, check=True, timeout=BUILD_TIMEOUT_S)
        half.rename(place)
    return place


def copy_root(base: Path, arch: str, place: Path) -> Root:
    """A fresh root to spoil."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(place)], check=True)
    if arch in _PROCESSOR:
        processors = "".join(_PROCESSOR[arch].format(n=n) for n in range(4))
        place.with_name(f"{place.name}.cpuinfo").write_text(processors)
    return Root(place, arch)


def mirror() -> str:
    """The Debian mirror to make roots from: MIRROR, else the one that apt uses here."""
    named = os.environ.get("MIRROR")
    if named:
        return named
    listed = subprocess.run(
        [*_MIRRORS_OF_APT, "Created-By: Packages", "Label: Debian"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if not listed:
        pytest.skip("apt knows no Debian mirror here; name one with MIRROR")
    return listed[0]
