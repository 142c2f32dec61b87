"""What the daemon costs a board that has nothing to do: resident memory and processor time.

    python -m benchmarks.daemon_idle [--minutes 5] [--settle-s 30]

The real daemon runs as an installed one would (an environment of its own without development hooks,
bytecode compiled before, a service manager's socket and watchdog), connected to a real broker
(mosquitto where it is installed, the embedded one otherwise) where a host has said that it is
online. After `--settle-s`, `VmRSS` and PSS of the daemon are read from /proc every five seconds for
`--minutes`, and its processor time (user and system, /proc/PID/stat) is taken over that whole span.
The figures are the highest VmRSS, in MB of 10^6 B as the target is, and the share of one core. The
variants are informational: `-OO` runs without docstrings and assertions, `enrolled` has come in by
a token and talks TLS to a mosquitto that `edgenas broker init` has set up: OpenSSL is in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import socket
import ssl
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.brokers import MOSQUITTO, running_broker
from benchmarks.own_site import OwnSite
from benchmarks.record import RESULTS, ROOT, Figure, write_result
from benchmarks.rollout_runs import RunFolder
from edgenas.site.access import SiteAccess
from firmware_bridge.enroll_settings import read_environment
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.messages import HostState
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.topics import Topics

FLEET, DEVICE = "idle", "idle-1"
VARIANTS: dict[str, tuple[str, ...]] = {"plain": (), "without docstrings (-OO)": ("-OO",)}
ENROLLED = "enrolled (TLS)"
EVERY_S = 5.0
RSS_TARGET_MB, CPU_TARGET_PCT = 30.0, 0.3
ONLINE_S = 60.0
WATCHDOG_US = 60_000_000
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Reading:
    """What /proc says of the daemon at one moment: bytes, and seconds of processor time."""

    rss_bytes: int
    anon_bytes: int
    pss_bytes: int
    cpu_s: float


def main() -> None:
    """Measure every variant, write the result."""
    options = _arguments()
    raw: dict[str, object] = {"load_before": os.getloadavg()}
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="edgenas-idle-") as scratch:
        python = _environment(Path(scratch) / "venv")
        for name, flags in VARIANTS.items():
            folder = Path(scratch) / name.split()[0]
            folder.mkdir()
            with running_broker(folder) as (kind, url), _host(url):
                told = {"EDGENAS_BROKER": url, "EDGENAS_ID": DEVICE, "EDGENAS_FLEET": FLEET}
                readings, span_s = _watched(python, flags, told, folder, options)
            figures += _figures(name, readings, span_s)
            raw[name] = {"broker": kind, "span_s": span_s, "readings": list(map(asdict, readings))}
        if MOSQUITTO is not None:
            readings, span_s = _enrolled(python, Path(scratch), options)
            figures += _figures(ENROLLED, readings, span_s)
            raw[ENROLLED] = {"span_s": span_s, "readings": list(map(asdict, readings))}
    raw["load_after"] = os.getloadavg()
    write_result("daemon_idle", figures, {}, raw, options.results)


def _environment(folder: Path) -> Path:
    """A Python that finds the project and its requirements, and loads nothing else at its start."""
    venv.create(folder, with_pip=False)
    (purelib,) = folder.glob("lib/python*/site-packages")
    paths = [str(ROOT), sysconfig.get_path("purelib")]
    (purelib / "edgenas.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")
    return folder / "bin" / "python"


@contextlib.contextmanager
def _host(url: str, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    link = MqttLink(url, "idle-host", tls=tls)
    link.open(lambda event: None)
    try:
        link.wait_connected(ONLINE_S)
        state = encode(HostState(online=True, sess=1))
        link.publish(Topics(FLEET).host_state(), state, retain=True)
        yield
    finally:
        link.close()


def _enrolled(
    python: Path, scratch: Path, options: argparse.Namespace
) -> tuple[list[Reading], float]:
    """The same of a daemon that a token has brought in."""
    folder = scratch / "enrolled"
    folder.mkdir()
    with OwnSite(folder) as site:
        run = RunFolder(folder / "run", site.url, FLEET, tls=site.tls)
        with site.invitation(run, uses=1) as invitation:
            words = ["enroll", "-", "--id", DEVICE, "--config-dir", str(folder / "etc")]
            command = [str(python), "-m", "firmware_bridge.cli", *words]
            command += ["--state-dir", str(folder / "state")]
            subprocess.run(command, input=invitation.token, text=True, check=True)
        told = read_environment((folder / "etc" / "agent.env").read_text(encoding="utf-8"))
        with _host(site.url, SiteAccess(site.tls).host()):
            return _watched(python, (), told, folder, options)


def _watched(
    python: Path,
    flags: Sequence[str],
    told: Mapping[str, str],
    folder: Path,
    options: argparse.Namespace,
) -> tuple[list[Reading], float]:
    """Readings of a daemon's second life; the first compiles the bytecode."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(ONLINE_S)
        for life in ("compile", "measure"):
            child = _start(python, flags, told, folder)
            try:
                _wait_connected(manager)
                if life == "measure":
                    return _read_for(child.pid, options.settle_s, 60 * options.minutes)
            finally:
                child.terminate()
                child.wait(ONLINE_S)
    raise AssertionError("unreachable")


def _start(
    python: Path, flags: Sequence[str], told: Mapping[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    command = [str(python), *flags, "-m", "firmware_bridge.cli", "run"]
    command += ["--state-dir", str(folder / "state"), "--lock", str(folder / "lock")]
    environment = {
        **told,
        "PATH": os.environ["PATH"],
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        "NOTIFY_SOCKET": str(folder / "notify"),
        "WATCHDOG_USEC": str(WATCHDOG_US),
    }
    with (folder / "device.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd="/")


def _wait_connected(manager: socket.socket) -> None:
    """Wait until the daemon says that it is connected and has nothing to do."""
    deadline_s = time.monotonic() + ONLINE_S
    while manager.recv(4096) != b"STATUS=idle, connected":
        if time.monotonic() > deadline_s:
            raise RuntimeError("expected the daemon to come online; read its log")


def _read_for(pid: int, settle_s: float, span_s: float) -> tuple[list[Reading], float]:
    time.sleep(settle_s)
    started_s, readings = time.monotonic(), [_read(pid)]
    while time.monotonic() - started_s < span_s:
        time.sleep(EVERY_S)
        readings.append(_read(pid))
    return readings, time.monotonic() - started_s


def _read(pid: int) -> Reading:
    proc = Path(f"/proc/{pid}")
    status = (proc / "status").read_text(encoding="ascii", errors="replace")
    rollup = (proc / "smaps_rollup").read_text(encoding="ascii")
    fields = (proc / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return Reading(
        rss_bytes=_kib(status, "VmRSS"),
        anon_bytes=_kib(status, "RssAnon"),
        pss_bytes=_kib(rollup, "Pss"),
        cpu_s=(int(fields[11]) + int(fields[12])) / TICKS,
    )


def _kib(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"expected {name} in what the kernel says, got none; is this Linux?")
    return int(found[1]) * 1024


def _figures(name: str, readings: Sequence[Reading], span_s: float) -> list[Figure]:
    rss_mb = max(reading.rss_bytes for reading in readings) / 1e6
    pss_mb = statistics.median(reading.pss_bytes for reading in readings) / 1e6
    cpu_pct = 100 * (readings[-1].cpu_s - readings[0].cpu_s) / span_s
    return [
        Figure(f"resident memory, {name}", rss_mb, "MB", RSS_TARGET_MB, "<="),
        Figure(f"proportional share (PSS), {name}", pss_mb, "MB", RSS_TARGET_MB, "<="),
        Figure(f"processor time, {name}", cpu_pct, "% of a core", CPU_TARGET_PCT, "<="),
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--settle-s", type=float, default=30.0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the result")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.platform != "linux":
        raise SystemExit("expected Linux: the figures are read from /proc")
    main()
