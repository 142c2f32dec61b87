"""Real daemons on this machine as a fleet for the benchmarks, and models that they can run.

Leaves what is rolled out to them, and what is done to them meanwhile, to the benchmarks.
"""

from __future__ import annotations

import os
from pathlib import Path

from edgenas.fleet.host import FleetHost
from edgenas.fleet.keys import KeyFiles
from edgenas.fleet.local import LocalDeviceSpec, LocalFleet
from edgenas.rollout.planning import Parcel
from firmware_bridge.bench.stub import STUB_INPUT, STUB_MODEL
from firmware_bridge.wire.release import Limits, Role, Trial

PROFILE = "generic"


def daemons_of(path: Path, url: str, fleet: str, count: int, keys: KeyFiles) -> LocalFleet:
    """Daemons that are not started yet; their state is in `path / <id>`."""
    return LocalFleet(spec_of(path, url, fleet, f"real-{n:03d}", keys) for n in range(count))


def spec_of(path: Path, url: str, fleet: str, device_id: str, keys: KeyFiles) -> LocalDeviceSpec:
    """One daemon, with a lock of its own: what they measure here is of no interest."""
    return LocalDeviceSpec(
        device_id=device_id,
        broker_url=url,
        fleet=fleet,
        state_dir=path / device_id,
        log_path=path / f"{device_id}.log",
        verify_keys=keys.verify,
        lock_path=path / f"{device_id}.lock",
        measure=False,
    )


def stub_parcel(host: FleetHost, name: str, number: int = 0) -> Parcel:
    """A model of one operation that works, in bytes of its own, and limits that it keeps."""
    contents: dict[Role, bytes] = {
        "model": STUB_MODEL + bytes(number),
        "probe_input": STUB_INPUT,
        "probe_output": STUB_INPUT,
    }
    return Parcel(
        name=name,
        profile=PROFILE,
        files={role: host.shelf.add_bytes(content) for role, content in contents.items()},
        limits=Limits(peak_max_bytes=1 << 30, ratio_max=1000.0),
        trial=Trial(1, (), 1000, 512 << 20),
    )


def running(path: Path, device_id: str, slot: str = "main") -> str | None:
    """The bundle that an application on the device would open now, None for an empty slot."""
    current = path / device_id / "slots" / slot / "current"
    return Path(os.readlink(current)).name if current.is_symlink() else None
