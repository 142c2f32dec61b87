"""Runs mosquitto as a child and has it read its rules again when somebody was revoked.

The file `running` is locked for as long as it runs, so that another process can tell it to reload
without taking a stranger's process number for its own. Leaves the files to `folder`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from edgenas.site.errors import SiteError

CONFIGURATION, LOCK = "mosquitto.conf", "running"
_SEARCHED = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin:/usr/bin:/usr/local/bin"
_SIGNALS = {signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
_AGAIN_S = 2.0
_LONG_S = 3600.0
_STOP_S = 20.0


def find_mosquitto() -> str:
    """The program.

    Raises:
        SiteError: It is not installed.
    """
    path = os.pathsep.join((os.environ.get("PATH", ""), _SEARCHED))
    program = shutil.which("mosquitto", path=path)
    if program is None:
        raise SiteError(
            "expected mosquitto to be installed, found none; install it (Debian: apt install "
            "mosquitto), or copy the broker folder to the machine that has it"
        )
    return program


def run(folder: Path) -> int:
    """Run mosquitto from a broker folder until SIGTERM or SIGINT; SIGHUP reloads its rules.

    Call it from the main thread.

    Returns:
        0 after such a signal, else mosquitto's own exit status.

    Raises:
        SiteError: It is not installed, or runs from this folder already.
    """
    program = find_mosquitto()
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        _hold(lock, folder)
        command = [program, "-c", str(folder / CONFIGURATION)]
        with subprocess.Popen(command, preexec_fn=_as_mosquitto_expects) as child:
            return _attend(child)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(lock)


def reload(folder: Path) -> bool:
    """Have the mosquitto that `run` started here read its files again; False if none runs."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(descriptor, 32).decode("ascii", "replace").strip()
        if text.isdigit():  # not yet written: it has not started, and will read the new files
            os.kill(int(text), signal.SIGHUP)
        return True
    finally:
        os.close(descriptor)
    return False


def _hold(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SiteError(
            f"expected no broker to run from {folder} yet, one does; stop it first"
        ) from error
    os.truncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _as_mosquitto_expects() -> None:
    """In the child: nothing blocked, and a SIGHUP that comes too early is no death."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _attend(child: subprocess.Popen[bytes]) -> int:
    """Pass signals on until the child has ended.

    A reload is said twice: while it starts, mosquitto has read its files already and does not hear
    the signal yet.
    """
    again_s: float | None = time.monotonic() + _AGAIN_S
    while True:
        left_s = _LONG_S if again_s is None else max(0.0, again_s - time.monotonic())
        told = signal.sigtimedwait(_SIGNALS, left_s)
        number = None if told is None else told.si_signo
        if number in (signal.SIGTERM, signal.SIGINT):
            _stop(child)
            return 0
        if child.poll() is not None:
            return child.returncode
        if number == signal.SIGHUP or (number is None and again_s is not None):
            child.send_signal(signal.SIGHUP)
            again_s = time.monotonic() + _AGAIN_S if number == signal.SIGHUP else None


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
