"""The one place that spells topics.

Layout: ``edgenas/v1/<fleet>/up/<device>/...`` from a device, ``.../dn/<device>/...`` to it,
``.../host/state`` from the host. What is published there, with which QoS, is left to the
callers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.values import (
    check_device_id,
    check_id,
    check_name,
    check_range,
    check_sha256,
)

ROOT = "edgenas"
VERSION_LEVEL = "v1"

Direction = Literal["up", "dn", "host"]

# family -> how many levels may follow it
_UP_TAILS = {
    "state": 0,
    "facts": 0,
    "event": 1,
    "result": 1,
    "blob": 0,
    "csr": 0,
    "head": 1,
    "inventory": 0,
}
_DN_TAILS = {
    "wish": 1,
    "job": 1,
    "ack": 1,
    "blob": 2,
    "refuse": 1,
    "resync": 0,
    "cert": 0,
    "inspect": 0,
}
_TAILS = {"up": _UP_TAILS, "dn": _DN_TAILS}


@dataclass(frozen=True)
class Address:
    """A topic, taken apart.

    Attributes:
        direction: ``up`` from a device, ``dn`` to a device, ``host`` from the host.
        device: Device id; empty for direction ``host``.
        family: Level after the device, for example ``job`` or ``blob``.
        tail: Levels after the family, checked: id, slot, digest, or (digest, offset).
    """

    direction: Direction
    device: str
    family: str
    tail: tuple[str, ...] = ()


class Topics:
    """Spells and reads the topics of one fleet.

    Args:
        fleet: Fleet name, one topic level.

    Raises:
        InvalidValueError: ``fleet``, or an argument of any method, breaks its rule.
    """

    def __init__(self, fleet: str) -> None:
        self.fleet = check_name(fleet, "fleet")
        self._prefix = f"{ROOT}/{VERSION_LEVEL}/{fleet}"

    def state(self, device: str) -> str:
        """Presence and slots of a device (retained)."""
        return self._up(device, "state")

    def facts(self, device: str) -> str:
        """What a device says it is (retained)."""
        return self._up(device, "facts")

    def event(self, device: str, work_id: str) -> str:
        """Progress of one job or deployment."""
        return self._up(device, "event", check_id(work_id))

    def result(self, device: str, work_id: str) -> str:
        """The one answer to a job or deployment."""
        return self._up(device, "result", check_id(work_id))

    def blob_request(self, device: str) -> str:
        """Chunks that a device asks for."""
        return self._up(device, "blob")

    def head(self, device: str, slot: str) -> str:
        """What a device has learnt for a slot and handed out (retained)."""
        return self._up(device, "head", check_name(slot, "slot"))

    def inventory(self, device: str) -> str:
        """What a device runs, signed (retained)."""
        return self._up(device, "inventory")

    def wish(self, device: str, slot: str) -> str:
        """Desired state of one slot (retained)."""
        return self._dn(device, "wish", check_name(slot, "slot"))

    def job(self, device: str, job_id: str) -> str:
        """A measuring command, or its cancellation."""
        return self._dn(device, "job", check_id(job_id))

    def ack(self, device: str, work_id: str) -> str:
        """The host has stored a result."""
        return self._dn(device, "ack", check_id(work_id))

    def chunk(self, device: str, digest: str, offset: int) -> str:
        """Raw bytes of a blob from ``offset`` (B) on; the topic is the header."""
        check_range("offset", offset, 0)
        return self._dn(device, "blob", check_sha256(digest), str(offset))

    def refuse(self, device: str, digest: str) -> str:
        """The host will not, or not yet, send a blob."""
        return self._dn(device, "refuse", check_sha256(digest))

    def resync(self, device: str) -> str:
        """The host asks for state, facts and unacknowledged results again."""
        return self._dn(device, "resync")

    def inspect(self, device: str) -> str:
        """A device is asked for a new signed inventory."""
        return self._dn(device, "inspect")

    def csr(self, device: str) -> str:
        """A device asks for a new certificate."""
        return self._up(device, "csr")

    def cert(self, device: str) -> str:
        """A device's new certificate."""
        return self._dn(device, "cert")

    def host_state(self) -> str:
        """Presence of the host (retained)."""
        return f"{self._prefix}/host/state"

    def device_filters(self, device: str) -> list[str]:
        """Exact filters that a device subscribes to; never ``#``."""
        base = f"{self._prefix}/dn/{check_device_id(device)}"
        levels = ("/".join((family, *["+"] * count)) for family, count in _DN_TAILS.items())
        return [*(f"{base}/{level}" for level in levels), self.host_state()]

    def host_filters(self) -> list[str]:
        """Filters that the host subscribes to: all that devices send."""
        return [f"{self._prefix}/up/#"]

    def parse(self, topic: str) -> Address | None:
        """Take a topic apart; None if it is not one of this fleet's."""
        if topic == self.host_state():
            return Address("host", "", "state")
        head, _, rest = topic.partition(f"{self._prefix}/")
        levels = rest.split("/")
        if head or len(levels) < 3:
            return None
        direction, device, family, *tail = levels
        try:
            return _address(direction, device, family, tuple(tail))
        except InvalidValueError:
            return None

    def _up(self, device: str, *levels: str) -> str:
        return "/".join((self._prefix, "up", check_device_id(device), *levels))

    def _dn(self, device: str, *levels: str) -> str:
        return "/".join((self._prefix, "dn", check_device_id(device), *levels))


def _address(direction: str, device: str, family: str, tail: tuple[str, ...]) -> Address | None:
    if _TAILS.get(direction, {}).get(family) != len(tail):
        return None
    check_device_id(device)
    if direction == "dn":
        _check_tail(family, tail)
        return Address("dn", device, family, tail)
    for level in tail:
        check_name(level, "slot") if family == "head" else check_id(level)
    return Address("up", device, family, tail)


def _check_tail(family: str, tail: tuple[str, ...]) -> None:
    if family == "wish":
        check_name(tail[0], "slot")
    elif family in ("job", "ack"):
        check_id(tail[0])
    elif family in ("blob", "refuse"):
        check_sha256(tail[0])
    for offset in tail[1:]:
        if not (offset.isascii() and offset.isdigit() and len(offset) <= 12):
            raise InvalidValueError("offset", "a number of bytes", offset)
