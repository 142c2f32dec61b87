"""A whole emulated machine: Debian with systemd as its first process, on an ARM processor.

Made once with mmdebstrap, then booted from a fresh disk image each time. What is tried in it is a
shell script that the machine runs when it is up; what the script prints comes out on the serial
console. This machine's loopback is 10.0.2.2 there. What is tried is left to the tests.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packaging.roots import BUILD_TIMEOUT_S, CPUS, ROOTS, mirror

HOST_ADDRESS = "10.0.2.2"
BOOT_TIMEOUT_S = 600.0
DISK_MIB = 1500
DONE = "=== done ==="
_PACKAGES = "systemd-sysv,iproute2,python3,libstdc++6,adduser,linux-image-cloud-arm64"
_INITRAMFS = (
    'd="$1/etc/initramfs-tools"; mkdir -p "$d/conf.d"; '
    'printf "MODULES=list\\nCOMPRESS=gzip\\n" >"$d/conf.d/zz"; '
    'printf "virtio_mmio\\nvirtio_pci\\nvirtio_blk\\next4\\n" >"$d/modules"'
)
_FSTAB = 'chroot "$1" passwd -d root; echo "/dev/vda / ext4 rw 0 1" >"$1/etc/fstab"'
_UNIT = """\
[Unit]
Description=what the test tries
After=multi-user.target
[Service]
Type=oneshot
EnvironmentFile=/try/settings
ExecStart=/bin/sh /try/script
ExecStopPost=/bin/echo "@DONE@"
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=file:/dev/console
StandardError=file:/dev/console
TimeoutStartSec=infinity
[Install]
WantedBy=default.target
"""


@dataclass(frozen=True)
class Machine:
    """A machine that runs; waiting for it is bounded by the test's own timeout.

    Attributes:
        process: qemu; its standard output is the serial console.
        log: Everything that came from it so far.
    """

    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        """The console so far."""
        return self.log.read_text(errors="replace").replace("\r", "")

    def wait_for(self, wanted: str) -> str:
        """Wait until the console shows `wanted`; returns all of it.

        Fails the test when the machine ends without it.
        """
        ended = False
        while wanted not in self.text():
            assert not ended, f"{wanted!r} never came:\n{self.text()[-4000:]}"
            try:
                self.process.wait(0.5)
                ended = True  # look once more: it may have said it last
            except subprocess.TimeoutExpired:
                continue
        return self.text()


def skip_unless_possible() -> None:
    """Skip where this machine cannot emulate another, and say why."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the image is made with mmdebstrap")
    tools = ("mmdebstrap", "mke2fs", "qemu-system-aarch64")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if not Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists():
        pytest.skip("arm64 programs do not run here: install qemu-user-static and binfmt-support")


def base_machine(suite: str = "bookworm") -> Path:
    """The file system of the machine as it was made; kept below `build/`."""
    place = ROOTS / f"machine-{suite}-arm64"
    if not place.exists():
        half = place.with_suffix(".part")
        shutil.rmtree(half, ignore_errors=True)
        command = ["mmdebstrap", "--quiet", "--arch=arm64", "--variant=minbase"]
        command += [f"--include={_PACKAGES}", f"--essential-hook={_INITRAMFS}"]
        command += [f"--customize-hook={_FSTAB}", suite, str(half), mirror()]
        environment = {**os.environ, "QEMU_CPU": CPUS["arm64"]}
        subprocess.run(command, env=environment, check=True, timeout=BUILD_TIMEOUT_S)
        half.rename(place)
    return place


@contextmanager
def boot(
    base: Path, folder: Path, script: Path, settings: Mapping[str, object], *files: Path
) -> Iterator[Machine]:
    """Boot a copy of the machine that has `files` below `/try` and runs `script` there.

    Args:
        base: Its file system.
        folder: For the disk and the console's log.
        script: For `sh`; what it prints is followed by `DONE`, however it ends.
        settings: Variables of the script.
        files: More files.
    """
    lines = "".join(f"{name}={value}\n" for name, value in settings.items())
    image = _image(base, folder, {"script": script.read_text(), "settings": lines}, files)
    (kernel,) = (base / "boot").glob("vmlinuz-*")
    (initrd,) = (base / "boot").glob("initrd.img-*")
    command = ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "2"]
    command += ["-m", "1024", "-accel", "tcg,thread=multi", "-nographic", "-no-reboot"]
    command += ["-kernel", str(kernel), "-initrd", str(initrd)]
    command += ["-append", "root=/dev/vda rw console=ttyAMA0 quiet net.ifnames=0"]
    command += ["-drive", f"file={image},if=none,id=d,format=raw,cache=unsafe"]
    command += ["-device", "virtio-blk-device,drive=d", "-netdev", "user,id=n0"]
    command += ["-device", "virtio-net-device,netdev=n0"]
    log = folder / "console.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
    try:
        yield Machine(process, log)
        process.wait(BOOT_TIMEOUT_S)
    finally:
        process.kill()
        process.wait()
        image.unlink()


def _image(base: Path, folder: Path, texts: Mapping[str, str], files: tuple[Path, ...]) -> Path:
    """A disk with the machine and what it shall try; no loop device is needed."""
    root, image = folder / "root", folder / "disk.img"
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True)
    place = root / "try"
    place.mkdir()
    for name, text in texts.items():
        (place / name).write_text(text)
    for file in files:
        shutil.copy(file, place)
    units = root / "etc/systemd/system"
    (units / "try.service").write_text(_UNIT.replace("@DONE@", DONE))
    wants = units / "default.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "try.service").symlink_to("../try.service")
    command = ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(image), f"{DISK_MIB}M"]
    subprocess.run(command, check=True)
    shutil.rmtree(root)
    return image
