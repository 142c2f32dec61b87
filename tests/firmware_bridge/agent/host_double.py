"""A host reduced to what a device needs: sends jobs and wishes, serves chunks, acknowledges.

Works over any link. Leaves queues, timers and journals to the real host and its own tests.
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from firmware_bridge.wire.blobs import chunk_offsets
from firmware_bridge.wire.codec import decode, encode
from firmware_bridge.wire.link import Connected, Link, LinkEvent, Received
from firmware_bridge.wire.messages import (
    Ack,
    BlobRefused,
    BlobRequest,
    DeployReport,
    Event,
    Facts,
    HostState,
    JobFailed,
    MeasureJob,
    Measurement,
    Message,
    Quiet,
    State,
    Wish,
)
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import BlobRef, new_id

FLEET = "lab"
DEVICE = "board-1"
DEADLINE_S = 40.0  # a safety net, not a measured bound
QUIET = Quiet(busy_pct=100.0, temp_delta_c=100.0, wait_ms=0, window_ms=0)

T = TypeVar("T")
Result = Measurement | JobFailed | DeployReport
# what becomes of a chunk on its way: (offset, data) -> data, or None to lose it
Road = Callable[[int, bytes], bytes | None]


def open_road(offset: int, data: bytes) -> bytes | None:
    """Every chunk arrives as it is."""
    return data


@dataclass
class HostDouble:
    """One host for one device.

    Attributes:
        blobs: Bytes that it can serve, by digest.
        refusals: What to answer instead of chunks, by digest; used up from the front.
        road: What happens to chunks on the way.
        acknowledges: Whether results are acknowledged.
        states, facts, events, results: What the device has said, in order.
        asked: Requests seen.
    """

    link: Link
    blobs: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    refusals: dict[str, list[BlobRefused]] = field(default_factory=dict)
    road: Road = open_road
    acknowledges: bool = True
    states: list[State] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)
    events: list[tuple[str, Event]] = field(default_factory=list)
    results: list[tuple[str, Result]] = field(default_factory=list)
    asked: list[BlobRequest] = field(default_factory=list)
    topics: Topics = field(default_factory=lambda: Topics(FLEET))
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def open(self) -> None:
        self.link.subscribe(*self.topics.host_filters())
        self.link.open(self._on_event)
        self.link.wait_connected(DEADLINE_S)

    def close(self) -> None:
        self.link.close()

    def add(self, data: bytes, chunk_bytes: int = 65536) -> BlobRef:
        ref = BlobRef(hashlib.sha256(data).hexdigest(), len(data), chunk_bytes)
        self.blobs[ref.sha256] = (data, chunk_bytes)
        return ref

    def job(self, model: BlobRef, **changes: object) -> MeasureJob:
        fields: dict[str, object] = {
            "model": model,
            "label": "test",
            "threads": 1,
            "min_samples": 20,
            "max_samples": 40,
            "min_time_ms": 0,
            "cap_ms": 20_000,
            "warmup_ms": 0,
            "min_rounds": 1,
            "memory_cap_bytes": 256 << 20,
            "quiet": QUIET,
            "ttl_ms": 300_000,
        }
        return MeasureJob(**{**fields, **changes})  # type: ignore[arg-type]

    def send_job(self, job: Message, job_id: str | None = None) -> str:
        job_id = job_id or new_id()
        self.link.publish(self.topics.job(DEVICE, job_id), encode(job))
        return job_id

    def send_wish(self, wish: Wish, slot: str = "main") -> None:
        self.link.publish(self.topics.wish(DEVICE, slot), encode(wish), retain=True)

    def announce(self, sess: int = 1) -> None:
        payload = encode(HostState(online=True, sess=sess))
        self.link.publish(self.topics.host_state(), payload, retain=True)

    def wait(self, find: Callable[[], T | None]) -> T:
        """Return what `find` finds, as soon as it does."""
        found: list[T] = []

        def look() -> bool:
            value = find()
            if value:
                found.append(value)
            return bool(value)

        with self._changed:
            assert self._changed.wait_for(look, DEADLINE_S), self.story()
        return found[0]

    def result(self, work_id: str, number: int = 1) -> Result:
        """The `number`-th answer to a job or deployment."""

        def find() -> list[Result]:
            return [result for known, result in self.results if known == work_id][number - 1 :]

        return self.wait(find)[0]

    def event(self, work_id: str, state: str) -> Event:
        return self.wait(
            lambda: next((e for i, e in self.events if i == work_id and e.state == state), None)
        )

    def state(self, wanted: Callable[[State], bool]) -> State:
        """The latest state, once it is as wanted."""
        return self.wait(
            lambda: self.states[-1] if self.states and wanted(self.states[-1]) else None
        )

    def story(self) -> str:
        told = [f"{i[:6]} {e.state}" for i, e in self.events]
        last = self.states[-1] if self.states else None
        return f"nothing like it came; events {told}, results {self.results}, last state {last}"

    def _on_event(self, event: LinkEvent) -> None:
        if isinstance(event, Received):
            address = self.topics.parse(event.topic)
            assert address is not None
            message = decode(event.payload).message
            with self._changed:
                self._take(address.tail[0] if address.tail else "", message)
                self._changed.notify_all()
        elif isinstance(event, Connected):
            with self._changed:
                self._changed.notify_all()

    def _take(self, work_id: str, message: Message) -> None:
        if isinstance(message, State):
            self.states.append(message)
        elif isinstance(message, Facts):
            self.facts.append(message)
        elif isinstance(message, Event):
            self.events.append((work_id, message))
        elif isinstance(message, BlobRequest):
            self.asked.append(message)
            self._serve(message)
        elif isinstance(message, (Measurement, JobFailed, DeployReport)):
            self.results.append((work_id, message))
            if self.acknowledges:
                ack = Ack(attempt=message.attempt, rev=message.rev)
                self.link.publish(self.topics.ack(DEVICE, work_id), encode(ack))

    def _serve(self, request: BlobRequest) -> None:
        waiting = self.refusals.get(request.digest)
        if waiting:
            refusal = encode(waiting.pop(0))
            self.link.publish(self.topics.refuse(DEVICE, request.digest), refusal)
            return
        data, chunk_bytes = self.blobs[request.digest]
        for offset in chunk_offsets(request, len(data), chunk_bytes):
            chunk = self.road(offset, data[offset : offset + chunk_bytes])
            if chunk is not None:
                topic = self.topics.chunk(DEVICE, request.digest, offset)
                self.link.publish(topic, chunk, qos=0)
