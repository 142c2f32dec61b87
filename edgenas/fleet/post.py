"""What the host sends: one method a kind, with the topic, QoS, retention and expiry agreed for it.

Leaves when to send, and whether, to the desks.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.errors import QueueFullError
from firmware_bridge.wire.link import Link
from firmware_bridge.wire.messages import (
    Ack,
    BlobRefused,
    CancelJob,
    Cert,
    HostState,
    MeasureJob,
    Resync,
    Wish,
)
from firmware_bridge.wire.topics import Topics

_ACK_EXPIRY_S = 3600
_BLOB_EXPIRY_S = 30
_RESYNC_EXPIRY_S = 60

_log = logging.getLogger(__name__)


class Post:
    """The outgoing side of one fleet; every method returns without waiting."""

    def __init__(self, link: Link, topics: Topics) -> None:
        self._link = link
        self._topics = topics
        self._held: list[Callable[[], None]] | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep back what is sent inside, until the end; drop it all on an exception.

        Put around a transaction, it lets nothing out that is not durable. Used under the host's
        lock, like everything that decides; blobs are not held. What the link has no room for is
        left out: it is durable, and asked for or sent again when its device is heard of next.
        """
        outer, self._held = self._held, [] if self._held is None else self._held
        try:
            yield
        finally:
            ready, self._held = self._held, outer
        if outer is None:
            for send in ready or ():
                _send_if_there_is_room(send)

    def _send(
        self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        def send() -> None:
            self._link.publish(topic, payload, retain=retain, expiry_s=expiry_s)

        if self._held is None:
            send()
        else:
            self._held.append(send)

    def host_state(self, state: HostState) -> None:
        """Say whether the host is there (retained)."""
        self._send(self._topics.host_state(), encode(state), retain=True)

    def job(self, device_id: str, job_id: str, job: MeasureJob) -> None:
        """Send a measuring job; the broker drops it when its lifetime is over."""
        expiry_s = math.ceil(job.ttl_ms / 1000)
        self._send(self._topics.job(device_id, job_id), encode(job), expiry_s=expiry_s)

    def cancel(self, device_id: str, job_id: str, expiry_s: int = _ACK_EXPIRY_S) -> None:
        """Take a measuring job back."""
        topic = self._topics.job(device_id, job_id)
        self._send(topic, encode(CancelJob()), expiry_s=expiry_s)

    def ack(self, device_id: str, work_id: str, attempt: int, rev: int) -> None:
        """Say that an answer is durable here."""
        topic = self._topics.ack(device_id, work_id)
        self._send(topic, encode(Ack(attempt=attempt, rev=rev)), expiry_s=_ACK_EXPIRY_S)

    def resync(self, device_id: str) -> None:
        """Ask for state, facts and unacknowledged answers again."""
        topic = self._topics.resync(device_id)
        self._send(topic, encode(Resync()), expiry_s=_RESYNC_EXPIRY_S)

    def cert(self, device_id: str, pem: str) -> None:
        """Send a device its new certificate."""
        topic = self._topics.cert(device_id)
        self._send(topic, encode(Cert(pem=pem)), expiry_s=_ACK_EXPIRY_S)

    def wish(self, device_id: str, slot: str, wish: Wish) -> None:
        """Say what a slot should hold (retained)."""
        self._send(self._topics.wish(device_id, slot), encode(wish), retain=True)

    def chunk(self, device_id: str, digest: str, offset: int, content: bytes) -> None:
        """Send raw bytes of a blob; the device asks again for what is lost."""
        topic = self._topics.chunk(device_id, digest, offset)
        self._link.publish(topic, content, qos=0, expiry_s=_BLOB_EXPIRY_S)

    def refuse(self, device_id: str, digest: str, refusal: BlobRefused) -> None:
        """Say that a blob will not come, or not yet."""
        topic = self._topics.refuse(device_id, digest)
        self._link.publish(topic, encode(refusal), expiry_s=_BLOB_EXPIRY_S)


def _send_if_there_is_room(send: Callable[[], None]) -> None:
    """Whoever talks faster than the broker takes the replies must not end the host."""
    try:
        send()
    except QueueFullError as error:
        _log.warning("not sent: %s", error)
