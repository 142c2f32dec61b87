"""Many simulated devices in one process, each with a real link of its own to a real broker.

    python -m benchmarks.simulated_fleet --broker URL --fleet NAME --first 0 --count 100 --key FILE

is what `SimulatedFleet` starts, several times for a large fleet. It writes a line of JSON once all
its devices have joined, another whenever it is asked for one by a line on its input, and ends with
its input. With `--token TOKEN --keys DIR` every device first makes a key there, is enrolled by the
daemon's own code, and talks TLS with its certificate. Leaves what a device does to
`simulated_device`.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import os
import queue
import random
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

from benchmarks.record import ROOT
from benchmarks.simulated_device import SimulatedDevice
from firmware_bridge.enroll_online import KEY_NAME, Asking, join, place_certificate
from firmware_bridge.wire.backoff import Backoff
from firmware_bridge.wire.enrolment import parse_token
from firmware_bridge.wire.link import LinkEvent
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.signing import load_verify_key
from firmware_bridge.wire.tls import TlsFiles

A_PROCESS = 250  # devices; one Python thread is enough for what they have to decide
_CONNECTING_AT_ONCE = 50
_JOINING_AT_ONCE = 2  # threads a process; an enrolment server talks to 32 boards at a time
_END = object()
_REPORT = object()


def device_name(number: int) -> str:
    """Id of the device of that number."""
    return f"sim-{number:06d}"


class Crowd:
    """The devices of this process and the one thread on which they think."""

    def __init__(
        self,
        url: str,
        fleet: str,
        names: Sequence[str],
        key: Path,
        seed: int,
        contexts: Mapping[str, ssl.SSLContext],
    ) -> None:
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.devices: list[SimulatedDevice] = []
        self._links: list[MqttLink] = []
        rng = random.Random(seed)
        keys = dict([load_verify_key(key)])
        for name in names:
            backoff = Backoff(random.Random(rng.random()))
            link = MqttLink(url, name, backoff=backoff, tls=contexts.get(name))
            device = SimulatedDevice(name, fleet, link, keys, self._later, time.monotonic)
            link.subscribe(*device.filters())
            self.devices.append(device)
            self._links.append(link)

    def run(self) -> None:
        """Connect, and work until the input ends."""
        Thread(target=self._read_orders, name="orders", daemon=True).start()
        Thread(target=self._connect, name="connecting", daemon=True).start()
        while (item := self._next()) is not _END:
            if item is _REPORT:
                print(json.dumps(self._report()), flush=True)
            elif item is not None:
                device, event = item
                device.hear(event)
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()

    def _connect(self) -> None:
        """Some at a time: a storm of reconnects is another measurement."""
        pairs = list(zip(self.devices, self._links, strict=True))
        for start in range(0, len(pairs), _CONNECTING_AT_ONCE):
            some = pairs[start : start + _CONNECTING_AT_ONCE]
            for device, link in some:
                link.open(self._sink_of(device), device.will)
            for _, link in some:
                link.wait_connected(600.0)

    def _sink_of(self, device: SimulatedDevice) -> Callable[[LinkEvent], None]:
        return lambda event: self._inbox.put((device, event))

    def _read_orders(self) -> None:
        for _ in sys.stdin:
            self._inbox.put(_REPORT)
        self._inbox.put(_END)

    def _next(self) -> Any:
        """The next thing that came in, None if a timer is due before."""
        timeout_s = None
        if self._timers:
            timeout_s = max(0.0, self._timers[0][0] - time.monotonic())
        try:
            return self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _later(self, at_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (at_s, next(self._numbers), call))

    def _report(self) -> dict[str, Any]:
        return {
            device.device_id: {
                "runs": {name: slot.active for name, slot in device.slots.items()},
                "taken": device.tally.taken,
                "bytes_pulled": device.tally.bytes_pulled,
                "reports_again": device.tally.reports_again,
                "unacknowledged": device.unacknowledged,
            }
            for device in self.devices
        }


@dataclass(frozen=True)
class Told:
    """What a simulated device says of itself when it is asked past the broker."""

    runs: dict[str, str | None]
    taken: list[str]
    bytes_pulled: int
    reports_again: int
    unacknowledged: int


@dataclass(frozen=True)
class Joining:
    """How devices come by certificates.

    Attributes:
        token: An invitation for all of them.
        keys: Folder for their keys.
    """

    token: str
    keys: Path

    def words(self) -> list[str]:
        """As options."""
        return ["--token", self.token, "--keys", str(self.keys)]


class SimulatedFleet:
    """Processes full of devices, all enrolled when the block begins; a context manager."""

    def __init__(
        self,
        url: str,
        fleet: str,
        count: int,
        key: Path,
        seed: int = 0,
        joining: Joining | None = None,
    ) -> None:
        """Prepare.

        Args:
            url: Broker.
            fleet: Name of the fleet.
            count: How many devices.
            key: Public key that they trust.
            seed: Of everything random.
            joining: How they come by certificates; None for a broker without TLS.
        """
        joined = [] if joining is None else joining.words()
        self.names = [device_name(number) for number in range(count)]
        self._children: list[subprocess.Popen[str]] = []
        self._commands = [
            [
                *(sys.executable, "-m", "benchmarks.simulated_fleet", "--broker", url),
                *("--fleet", fleet, "--first", str(first), "--key", str(key)),
                *("--count", str(min(A_PROCESS, count - first)), "--seed", str(seed + first)),
                *joined,
            ]
            for first in range(0, count, A_PROCESS)
        ]

    def __enter__(self) -> Self:
        for command in self._commands:
            self._children.append(
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        for child in self._children:
            self._line(child)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._children:
            child.kill()
        for child in self._children:
            child.communicate()

    def ask(self) -> dict[str, Told]:
        """What every device says of itself now.

        Raises:
            RuntimeError: A process has ended.
        """
        found: dict[str, Told] = {}
        for child in self._children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
            found |= {name: Told(**told) for name, told in self._line(child).items()}
        return found

    @staticmethod
    def _line(child: subprocess.Popen[str]) -> dict[str, Any]:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise RuntimeError("a process of simulated devices has ended; read its output")
        told: dict[str, Any] = json.loads(line)
        return told


def main() -> None:
    """Be a part of a fleet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--broker", required=True)
    parser.add_argument("--fleet", required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--token", default="")
    parser.add_argument("--keys", type=Path)
    options = parser.parse_args()
    names = [device_name(number) for number in range(options.first, options.first + options.count)]
    contexts: dict[str, ssl.SSLContext] = {}
    if options.token:
        with ThreadPoolExecutor(_JOINING_AT_ONCE) as pool:
            ways = pool.map(lambda name: _join(options.token, name, options.keys / name), names)
            contexts = dict(zip(names, ways, strict=True))
    crowd = Crowd(options.broker, options.fleet, names, options.key, options.seed, contexts)
    print(json.dumps({"joined": len(names)}), flush=True)
    crowd.run()
    os._exit(0)  # hundreds of links would each flush for seconds; nothing here is worth keeping


def _join(token: str, name: str, folder: Path) -> ssl.SSLContext:
    """Be enrolled as a board is; its name stands for its serial number."""
    folder.mkdir(parents=True)
    reply = join(parse_token(token), Asking(name, name, folder), lambda _: None)
    authority = folder / "ca.pem"
    authority.write_text(reply.ca, encoding="ascii")
    certificate = place_certificate(folder, reply.certificate)
    context = TlsFiles(authority, certificate, folder / KEY_NAME).context()
    assert context is not None
    return context


if __name__ == "__main__":
    main()
