"""Machine-wide lock around everything that times, so that two measurements never share the CPUs.

Holds an advisory ``flock`` on one file. The kernel drops it when the holder dies, however it
dies, so nothing here has to clean up after a crash. The host takes the same lock around its own
heavy work on the same machine. It leaves to others what is done under the lock and what a waiting
caller tells its user.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from firmware_bridge.wire.errors import BridgeError

POLL_S = 0.05
_HOLDER_BYTES = 128


class MachineLockError(BridgeError):
    """The measuring lock could not be taken.

    ├── LockBusyError       somebody else held it for the whole waiting time
    ├── LockCancelledError  the caller withdrew while waiting
    └── LockUnusableError   the lock file cannot be opened
    """


class LockBusyError(MachineLockError):
    """Another process held the lock until the deadline; ``holder`` is its note about itself."""

    def __init__(self, path: Path, timeout_s: float, holder: str) -> None:
        super().__init__(
            f"expected the measuring lock {path} within {timeout_s:g} s, it is still held by "
            f"{holder or 'an unnamed process'}; wait for that measurement or use another lock file"
        )
        self.path = path
        self.holder = holder


class LockCancelledError(MachineLockError):
    """The caller's ``cancelled`` turned true before the lock was free."""


class LockUnusableError(MachineLockError):
    """The lock file cannot be opened or is not a plain file of ours."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"expected {path} to be a lock file that this user may write, got: {reason}; "
            "remove it or name another file with EDGENAS_MEASURE_LOCK or --lock"
        )
        self.path = path


def default_lock_path(environ: Mapping[str, str]) -> Path:
    """This user's lock: ``EDGENAS_MEASURE_LOCK``, else a file in the temporary directory."""
    named = environ.get("EDGENAS_MEASURE_LOCK")
    if named:
        return Path(named)
    return Path(tempfile.gettempdir()) / f"edgenas-measure-{os.getuid()}.lock"


def _never() -> bool:
    return False


class MachineLock:
    """An exclusive lock shared by all processes (and threads) that name the same file.

    Args:
        path: The lock file; created with mode 0600, never removed. Beside it is ``<path>.next``,
            which is held by the one that gets the lock next.
        clock: Monotonic seconds.
        pause: Sleeps for the given seconds between two tries.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.path = path
        self._clock = clock
        self._pause = pause

    @contextlib.contextmanager
    def hold(self, timeout_s: float, cancelled: Callable[[], bool] = _never) -> Iterator[float]:
        """Holds the lock for the ``with`` block and yields the seconds spent waiting for it.

        Raises:
            LockBusyError: The lock stayed taken for ``timeout_s``.
            LockCancelledError: ``cancelled()`` turned true while waiting.
            LockUnusableError: The file cannot be used.
        """
        descriptor = _open_lock_file(self.path)
        try:
            waited_s = self._wait(descriptor, timeout_s, cancelled)
            _sign(descriptor)
            yield waited_s
        finally:
            os.close(descriptor)

    def _wait(self, descriptor: int, timeout_s: float, cancelled: Callable[[], bool]) -> float:
        """Waits for the turn, then for the lock.

        Only one waits for the lock at a time, and all others for their turn. Without that, a
        holder that lets go and takes the lock again at once would win every time against those
        who look only now and then.
        """
        started = self._clock()
        turn = _open_lock_file(self.path.with_name(f"{self.path.name}.next"))
        try:
            for wanted in (turn, descriptor):
                while not _try_lock(wanted):
                    if cancelled():
                        raise LockCancelledError(f"cancelled while waiting for {self.path}")
                    if self._clock() - started >= timeout_s:
                        raise LockBusyError(self.path, timeout_s, _holder(descriptor))
                    self._pause(POLL_S)
        finally:
            os.close(turn)
        return self._clock() - started


def _open_lock_file(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise LockUnusableError(path, error.strerror or str(error)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise LockUnusableError(path, "not a plain file")
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(descriptor: int) -> None:
    """Leaves the holder's process id in the file, for whoever waits; only a hint, never trusted."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()}\n".encode(), 0)


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, _HOLDER_BYTES, 0).decode("utf-8", "replace").strip()
