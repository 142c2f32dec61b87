"""How far releases had gone when a board was enrolled: what a new journal must not fall behind.

A board that is enrolled anew has forgotten which release it took last; whoever repeats an older
one, signed and not yet expired, must still be refused. Leaves which counters to the host and
keeping them to the device.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from firmware_bridge.wire.jsontext import parse
from firmware_bridge.wire.shape import plain, read
from firmware_bridge.wire.values import KIB, check_count, check_name, check_range, check_sha256

COUNTERS_CAP = 4  # as many slots as a device has
TEXT_CAP_BYTES = 4 * KIB


@dataclass(frozen=True, kw_only=True)
class SlotCounter:
    """The release that a slot had reached.

    Attributes:
        slot: Name of the slot.
        counter: Its release counter: what has a lower one is refused.
        manifest_sha256: Digest of the one manifest that may have this very counter; None if only
            greater ones may come.
    """

    slot: str
    counter: int
    manifest_sha256: str | None = None

    def __post_init__(self) -> None:
        check_name(self.slot, "slot")
        check_count("counter", self.counter)
        if self.manifest_sha256 is not None:
            check_sha256(self.manifest_sha256)


@dataclass(frozen=True)
class _Text:
    counters: tuple[SlotCounter, ...]

    def __post_init__(self) -> None:
        check_range("counters", len(self.counters), 0, COUNTERS_CAP)


def encode_counters(counters: Sequence[SlotCounter]) -> bytes:
    """The counters as the device keeps them."""
    return json.dumps(plain(_Text(tuple(counters)))).encode()


def read_counters(raw: bytes) -> tuple[SlotCounter, ...]:
    """Read what `encode_counters` wrote.

    Raises:
        WireError: Too long, no such JSON, or a value breaks its rule.
    """
    return read(_Text, parse(raw, TEXT_CAP_BYTES, "counters"), "counters", "file").counters
