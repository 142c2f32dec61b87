"""One board in a root: its package, its enrolment, its daemon started as the unit starts it."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from firmware_bridge.enroll_settings import read_environment
from tests.packaging.roots import PROJECT, Root

DEVICE, FLEET = "board-1", "lab"
STOP_S = 60.0
UNIT = PROJECT / "packaging/edgenas-device.service"


@dataclass(frozen=True)
class Board:
    """A root with, or without, the package in it."""

    root: Root
    remembered: set[str] = field(default_factory=set)

    def remember(self, files: set[str]) -> None:
        """Keep what there was before the package."""
        self.remembered.update(files)

    def hand_over(self, file: Path, place: str) -> None:
        """Copy a file into the board."""
        shutil.copy(file, self.root.path / place.lstrip("/"))

    def add_setting(self, name: str, value: str) -> None:
        """Add a line to the settings, as a person would."""
        with (self.root.path / "etc/edgenas/agent.env").open("a") as stream:
            stream.write(f"{name}={value}\n")

    def install(self, package: Path) -> str:
        """Install without any network; returns what dpkg said."""
        shutil.copy(package, self.root.path / "tmp/package.deb")
        said = self.root.run("dpkg", "-i", "/tmp/package.deb")
        (self.root.path / "tmp/package.deb").unlink()
        return said.stdout + said.stderr

    def install_with_script(self, package: Path) -> str:
        """Install as `install.sh` does out of a folder; returns what it said."""
        (self.root.path / "tmp/packages").mkdir()
        for file in (package, PROJECT / "packaging/install.sh"):
            shutil.copy(file, self.root.path / "tmp/packages")
        said = self.root.run("sh", "/tmp/packages/install.sh")
        shutil.rmtree(self.root.path / "tmp/packages")
        return said.stdout + said.stderr

    def device(self, *arguments: str, good: bool = True) -> str:
        """Run `edgenas-device` as root; returns what it said."""
        said = self.root.run("edgenas-device", *arguments, good=good)
        return said.stdout + said.stderr

    @property
    def settings(self) -> dict[str, str]:
        """What the unit gives the daemon: its own variables, then those of enrolment."""
        lines = re.findall(r"^Environment=(.*)$", UNIT.read_text(), re.MULTILINE)
        own = dict(pair.split("=", 1) for line in lines for pair in line.split())
        enrolled = (self.root.path / "etc/edgenas/agent.env").read_text()
        return {**own, **read_environment(enrolled)}

    @property
    def active_model(self) -> bytes | None:
        """What an application would read."""
        place = self.root.path / "var/lib/edgenas/slots/main/current"
        if not place.is_symlink():
            return None
        return (place.parent / place.readlink() / "model.tflite").read_bytes()

    def make_directories(self) -> None:
        """What StateDirectory= and RuntimeDirectory= do."""
        for mode, place in (("0750", "/var/lib/edgenas"), ("0775", "/run/edgenas/inhibit.d")):
            self.root.run("install", "-d", "-o", "edgenas", "-g", "edgenas", "-m", mode, place)
        self.root.run("chown", "edgenas:edgenas", "/run/edgenas")

    @contextmanager
    def daemon(self, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """The daemon as its own user; SIGTERM at the end, and it must go cleanly."""
        self.make_directories()
        command = self.root.argv("/opt/edgenas/bin/edgenas-device", "run", user="edgenas")
        with log.open("ab") as stream:
            process = subprocess.Popen(
                command, env=self.root.environment(self.settings), stdout=stream, stderr=stream
            )
        try:
            yield process
        finally:
            self._stop(process)

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:  # unshare's child, which became the daemon
            subprocess.run(["kill", "-TERM", child], check=False)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
            raise
