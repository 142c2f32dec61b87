"""What shall go wrong, drawn from a seed: pure.

A fault strikes when the rollout has come to a certain position of its records, so that a schedule
means the same on a fast machine and on a slow one; daemons that kill themselves do so at a moment
of their own (see `firmware_bridge.faults`). Leaves striking to `chaos_site`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "broker_killed",
    "broker_forgets",
    "host_killed",
    "daemon_killed",
    "power_cut",
    "killed_at_moment",
    "power_cut_at_moment",
    "disk_full",
    "host_clock",
    "device_clock",
]
KINDS: tuple[Kind, ...] = (
    *("broker_killed", "broker_forgets", "host_killed", "daemon_killed", "power_cut"),
    *("killed_at_moment", "power_cut_at_moment", "disk_full", "host_clock", "device_clock"),
)
# Ordered in the environment of a daemon, so that it has to be there from its start on.
AT_MOMENTS: tuple[Kind, ...] = ("killed_at_moment", "power_cut_at_moment", "disk_full")
OF_A_DEVICE: tuple[Kind, ...] = (*AT_MOMENTS, "daemon_killed", "power_cut", "device_clock")
ENDINGS = ("another rollout", "rollback")
_MOST_FAULTS = 3
_EVENTS_A_DEVICE = 10
_JUMP_S = 60 * 86_400.0  # releases are valid for longer


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: What.
        at: Position of the rollout's records, or moment of the daemon's life.
        device: Number of the device, None for host and broker.
        seconds: How far a clock jumps.
        moments: How long a disk is full.
    """

    kind: Kind
    at: int
    device: int | None = None
    seconds: float = 0.0
    moments: int = 0


@dataclass(frozen=True)
class Mischief:
    """What somebody between the two does to messages all the time, as shares of all.

    Attributes:
        again: Sent twice in a row.
        late: Sent once more after others have passed.
        corrupt: Requests for chunks that are answered with other bytes first.
    """

    again: float
    late: float
    corrupt: float


@dataclass(frozen=True)
class Schedule:
    """One run.

    Attributes:
        seed: What it was drawn from.
        first: Faults during a rollout to devices that have nothing.
        ending: What happens then.
        then: Faults meanwhile.
        mischief: What is done to messages.
    """

    seed: int
    first: tuple[Fault, ...]
    ending: str
    then: tuple[Fault, ...]
    mischief: Mischief


def draw(seed: int, devices: int, moments: int) -> Schedule:
    """The schedule of a seed.

    Args:
        seed: Any number; `KINDS` take turns by it, so that some hundred hold plenty of each.
        devices: How many devices there are.
        moments: Moments in the life of a daemon that starts and is shipped a model to.
    """
    rng = random.Random(f"chaos {seed}")
    sure = KINDS[seed % len(KINDS)]
    first = [_fault(rng, sure, devices, moments), *_some(rng, devices, moments)]
    then = _some(rng, devices, moments)
    mischief = Mischief(*(rng.choice((0.0, 0.1, 0.3)) for _ in range(3)))
    return Schedule(seed, _sound(first), rng.choice(ENDINGS), _sound(then), mischief)


def _some(rng: random.Random, devices: int, moments: int) -> list[Fault]:
    count = rng.randrange(_MOST_FAULTS)
    return [_fault(rng, rng.choice(KINDS), devices, moments) for _ in range(count)]


def _sound(faults: list[Fault]) -> tuple[Fault, ...]:
    """A daemon takes one order of moments at a time."""
    kept: dict[object, Fault] = {}
    for number, fault in enumerate(faults):
        ordered = fault.kind in AT_MOMENTS
        kept.setdefault(("order", fault.device) if ordered else number, fault)
    return tuple(kept.values())


def _fault(rng: random.Random, kind: Kind, devices: int, moments: int) -> Fault:
    by_moment = kind in AT_MOMENTS
    return Fault(
        kind,
        at=rng.randint(1, moments if by_moment else _EVENTS_A_DEVICE * devices),
        device=rng.randrange(devices) if kind in OF_A_DEVICE else None,
        seconds=rng.uniform(-_JUMP_S, _JUMP_S) if kind.endswith("clock") else 0.0,
        moments=rng.randint(1, 40) if kind == "disk_full" else 0,
    )
