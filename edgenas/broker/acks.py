"""The PUBACKs that one publishing connection is owed, in the order its messages came.

A PUBACK leaves once no subscriber's queue holds it back and all before it have left (MQTT 5
section 4.6 asks for that order). Which queue holds back what is left to `outbox`.
"""

from collections import deque
from collections.abc import Callable

from edgenas.broker.reasons import Reason


class PendingAck:
    """One owed PUBACK; it starts with one hold, which the router lets go when it has routed."""

    __slots__ = ("_holds", "_line", "cancelled", "cost_bytes", "packet_id", "reason")

    def __init__(self, line: "AckLine", packet_id: int, cost_bytes: int) -> None:
        """Belongs to `line`; made by `AckLine.open` only."""
        self._line = line
        self._holds = 1
        self.packet_id = packet_id
        self.cost_bytes = cost_bytes
        self.reason: int = Reason.SUCCESS
        self.cancelled = False

    @property
    def held(self) -> bool:
        """Whether something still holds this PUBACK back."""
        return self._holds > 0

    def hold(self) -> None:
        """Adds one reason to wait."""
        self._holds += 1

    def release(self) -> None:
        """Takes one reason to wait away; the last one sends."""
        self._holds -= 1
        if not self._holds and not self.cancelled:
            self._line.flush()


class AckLine:
    """The queue of owed PUBACKs of one connection."""

    def __init__(self, send: Callable[[int, int], None]) -> None:
        """Takes what sends a PUBACK: `send(packet_id, reason)`."""
        self._send = send
        self._pending: deque[PendingAck] = deque()
        self._identifiers: set[int] = set()
        self.pending_bytes = 0

    def __len__(self) -> int:
        """Owed PUBACKs."""
        return len(self._pending)

    def __contains__(self, packet_id: int) -> bool:
        """Whether this identifier is still in use by the publisher."""
        return packet_id in self._identifiers

    def open(self, packet_id: int, cost_bytes: int) -> PendingAck:
        """Notes that a message of `cost_bytes` came and its PUBACK is owed."""
        ack = PendingAck(self, packet_id, cost_bytes)
        self._pending.append(ack)
        self._identifiers.add(packet_id)
        self.pending_bytes += cost_bytes
        return ack

    def flush(self) -> None:
        """Sends what may leave, oldest first."""
        while self._pending and not self._pending[0].held:
            ack = self._pending.popleft()
            self._identifiers.discard(ack.packet_id)
            self.pending_bytes -= ack.cost_bytes
            self._send(ack.packet_id, ack.reason)

    def cancel(self) -> None:
        """Gives up all owed PUBACKs: the publisher is gone and will send these messages again."""
        for ack in self._pending:
            ack.cancelled = True
        self._pending.clear()
        self._identifiers.clear()
        self.pending_bytes = 0
