"""Device daemons as child processes of this machine, for trying out and for measuring the host.

They are the real daemon over the real broker, in a session of their own, with their output in a log
file and on a leash, so that none outlives this process. Leaves boards elsewhere to whoever installs
the daemon there.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import firmware_bridge
from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.errors import DevicesMissingError, LocalDeviceError
from edgenas.fleet.host import FleetHost
from edgenas.fleet.leash import Leash
from firmware_bridge.wire.values import check_device_id

_LOG_TAIL_BYTES = 4096
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, kw_only=True)
class LocalDeviceSpec:
    """One daemon on this machine.

    Attributes:
        device_id: Its id.
        broker_url: `mqtt://host:port`; travels in the environment, for it may hold a password.
        fleet: Fleet name.
        state_dir: Its directory; a daemon started there again goes on where it was.
        log_path: File that its output is appended to.
        threads: Threads for its self-tests.
        profile: Name of its board profile.
        verify_keys: Public keys it takes releases from; none means that it takes no release.
        measure: Whether it takes measuring jobs.
        probation_s: Seconds it watches a new model for; 0 is a single probe.
        lock_path: Machine-wide measuring lock, None for the default place.
        python: How to start Python, for instance another version or below an emulator.
    """

    device_id: str
    broker_url: str
    fleet: str
    state_dir: Path
    log_path: Path
    threads: int = 1
    profile: str = "generic"
    verify_keys: tuple[Path, ...] = ()
    measure: bool = True
    probation_s: float = 0.0
    lock_path: Path | None = None
    python: tuple[str, ...] = (sys.executable,)

    def __post_init__(self) -> None:
        check_device_id(self.device_id)

    def argv(self) -> list[str]:
        """The command line; it holds no secret."""
        options = {
            "--fleet": self.fleet,
            "--id": self.device_id,
            "--state-dir": str(self.state_dir),
            "--threads": str(self.threads),
            "--profile": self.profile,
            "--probation-s": str(self.probation_s),
        }
        if self.lock_path is not None:
            options["--lock"] = str(self.lock_path)
        words = [word for option in options.items() for word in option]
        keys = [word for key in self.verify_keys for word in ("--verify-key", str(key))]
        measure = "--measure" if self.measure else "--no-measure"
        return [*self.python, "-m", "firmware_bridge.cli", "run", *words, *keys, measure]


class LocalDevice:
    """One running daemon; use it as a context manager or call `start` and `stop`."""

    def __init__(self, spec: LocalDeviceSpec) -> None:
        self.spec = spec
        self._child: subprocess.Popen[bytes] | None = None
        self._leash: Leash | None = None

    @property
    def pid(self) -> int:
        """Process id of the running daemon.

        Raises:
            LocalDeviceError: It does not run.
        """
        if self._child is None:
            raise LocalDeviceError(f"expected device {self.spec.device_id} to run; start it first")
        return self._child.pid

    def start(self) -> None:
        """Start the daemon; returns before it is online.

        Raises:
            LocalDeviceError: It runs already, or the process cannot be started.
        """
        if self._child is not None:
            raise LocalDeviceError(f"expected device {self.spec.device_id} not to run yet")
        leash = Leash()
        try:
            self._child = self._spawn(leash)
        except OSError as error:
            os.close(leash.stdin)
            leash.release()
            raise LocalDeviceError(
                f"expected to start {self.spec.argv()[0]} for device {self.spec.device_id}, "
                f"got {error}; check the interpreter and the directory of the log"
            ) from error
        leash.attach(self._child.pid)
        self._leash = leash

    def check(self) -> None:
        """Make sure that the daemon still runs.

        Raises:
            LocalDeviceError: It has ended; the text holds the end of its log.
        """
        if self._child is None or self._child.poll() is None:
            return
        raise LocalDeviceError(
            f"expected device {self.spec.device_id} to run, but it ended with status "
            f"{self._child.returncode}; its log {self.spec.log_path} ends:\n{self.log_tail()}"
        )

    def terminate(self) -> None:
        """Ask the daemon to end, without waiting."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the daemon: ask, wait, then kill it with all that it started; may be repeated."""
        self.terminate()
        self._reap(timeout_s)

    def kill(self) -> None:
        """Kill the daemon at once, as a power cut would."""
        self._reap(0.0)

    def log_tail(self) -> str:
        """The end of its log."""
        try:
            with self.spec.log_path.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
                return log.read().decode(errors="replace").strip()
        except OSError as error:
            return f"(no log: {error})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _spawn(self, leash: Leash) -> subprocess.Popen[bytes]:
        self.spec.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.spec.log_path.open("ab") as log:
            return subprocess.Popen(
                self.spec.argv(),
                stdin=leash.stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(self.spec.broker_url),
                start_new_session=True,
            )

    def _reap(self, timeout_s: float) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.returncode is None:
            _wait_ended(child.pid, timeout_s)
            # Not reaped yet, so the id is still its own: this ends what it may have left, too.
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        if self._leash is not None:
            self._leash.release()


class LocalFleet:
    """Several daemons that start and stop together; a context manager."""

    def __init__(self, specs: Iterable[LocalDeviceSpec]) -> None:
        self.devices: Sequence[LocalDevice] = tuple(LocalDevice(spec) for spec in specs)
        self._started = ExitStack()

    def __enter__(self) -> Self:
        try:
            for device in self.devices:
                self._started.callback(device.stop)
                device.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End all daemons side by side."""
        for device in self.devices:
            device.terminate()
        self._started.close()

    def wait_online(self, host: FleetHost, timeout_s: float) -> list[DeviceView]:
        """Wait until the host sees every daemon; notices at once if one has died instead.

        Raises:
            LocalDeviceError: A daemon has ended; the text holds the end of its log.
            DevicesMissingError: One runs but did not come online in time.
        """
        deadline_s = time.monotonic() + timeout_s
        ids = [device.spec.device_id for device in self.devices]
        while True:
            for device in self.devices:
                device.check()
            left_s = deadline_s - time.monotonic()
            try:
                return host.wait_for_devices(ids, min(_LOOK_EVERY_S, max(left_s, 0.0)))
            except DevicesMissingError:
                if left_s <= 0:
                    raise


def _environment(broker_url: str) -> dict[str, str]:
    """This process's environment, the broker's address, and the package if it is a checkout."""
    environment = {**os.environ, "EDGENAS_BROKER": broker_url, "PYTHONUNBUFFERED": "1"}
    root = Path(firmware_bridge.__file__).resolve().parents[1]
    if root.name not in ("site-packages", "dist-packages"):
        before = os.environ.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([str(root), *([before] if before else [])])
    return environment


def _wait_ended(pid: int, timeout_s: float) -> bool:
    """Wait until the child has ended, without reaping it."""
    descriptor = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(round(timeout_s * 1000)))
    finally:
        os.close(descriptor)
