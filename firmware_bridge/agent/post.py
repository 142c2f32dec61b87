"""Says things to the host: the right topic, QoS, retain flag and expiry for every message kind.

Leaves what to say, and when to say it again, to the callers. Usable from any thread.
"""

import logging
from collections.abc import Callable

from firmware_bridge.store.outbox import Answer
from firmware_bridge.wire.codec import Stamp, encode
from firmware_bridge.wire.errors import LinkClosedError, PacketLimitError
from firmware_bridge.wire.link import Link, Will
from firmware_bridge.wire.messages import BlobRequest, Csr, Event, Facts, SignedInventory, State
from firmware_bridge.wire.topics import Topics

BLOB_REQUEST_EXPIRY_S = 30
CSR_EXPIRY_S = 3600

_log = logging.getLogger(__name__)


class Post:
    """The outgoing half of one device."""

    def __init__(
        self, link: Link, topics: Topics, device_id: str, stamp: Callable[[], Stamp]
    ) -> None:
        self._link = link
        self._topics = topics
        self._device_id = device_id
        self._stamp = stamp

    def state(self, state: State) -> None:
        """Publish presence and slots."""
        payload = encode(state, self._stamp())
        self._send(self._topics.state(self._device_id), payload, retain=True)

    def will(self, state: State) -> Will:
        """The message that the broker publishes if this device vanishes."""
        return Will(self._topics.state(self._device_id), encode(state))

    def facts(self, facts: Facts) -> None:
        """Publish what the device is."""
        payload = encode(facts, self._stamp())
        self._send(self._topics.facts(self._device_id), payload, retain=True)

    def head(self, slot: str, message: bytes) -> None:
        """Publish what was learnt for a slot, as it was handed out."""
        self._send(self._topics.head(self._device_id, slot), message, retain=True)

    def inventory(self, inventory: SignedInventory) -> None:
        """Publish what this board runs."""
        topic, payload = self._topics.inventory(self._device_id), encode(inventory, self._stamp())
        self._send(topic, payload, retain=True)

    def event(self, work_id: str, event: Event) -> None:
        """Publish how far a job or deployment is."""
        self._send(self._topics.event(self._device_id, work_id), encode(event, self._stamp()))

    def answer(self, answer: Answer) -> None:
        """Publish a result as it lies in the outbox."""
        self._send(self._topics.result(self._device_id, answer.answer_id), answer.payload)

    def ask(self, request: BlobRequest) -> None:
        """Ask for chunks; lost while offline, which the pull repairs."""
        topic, payload = self._topics.blob_request(self._device_id), encode(request, self._stamp())
        self._send(topic, payload, qos=0, expiry_s=BLOB_REQUEST_EXPIRY_S)

    def csr(self, pem: str) -> None:
        """Ask for a new certificate."""
        topic, payload = self._topics.csr(self._device_id), encode(Csr(pem=pem), self._stamp())
        self._send(topic, payload, expiry_s=CSR_EXPIRY_S)

    def encoded(self, message: object) -> bytes:
        """The bytes of a result, stamped now."""
        return encode(message, self._stamp())  # type: ignore[arg-type]

    def _send(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
    ) -> None:
        try:
            self._link.publish(topic, payload, qos=qos, retain=retain, expiry_s=expiry_s)
        except LinkClosedError:
            _log.info("not sent to %s: not connected yet", topic)
        except PacketLimitError as error:
            _log.error("not sent to %s: %s", topic, error)
