"""A small honest device for tests: real messages over a real link, real pulls, a durable outbox.

What it measures is scripted; everything on the wire is not. One thread works off what the link
enqueues. Leaves the store, the child processes and the deployment checks of the real daemon out.
"""

import hashlib
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from firmware_bridge.wire.blobs import ChunkMap
from firmware_bridge.wire.codec import Stamp, decode, encode
from firmware_bridge.wire.errors import SignatureInvalidError
from firmware_bridge.wire.link import Connected, Link, LinkEvent, Received, Will
from firmware_bridge.wire.memory import MemoryBroker, MemoryLink
from firmware_bridge.wire.messages import (
    Ack,
    BlobRefused,
    BlobRequest,
    CancelJob,
    DeployReport,
    Event,
    EventState,
    Facts,
    FailureCode,
    JobFailed,
    MeasureJob,
    Measurement,
    Message,
    Resync,
    SlotState,
    State,
    Wish,
)
from firmware_bridge.wire.release import PAYLOAD_TYPE, ReleaseManifest
from firmware_bridge.wire.signing import verify
from firmware_bridge.wire.topics import Address, Topics
from firmware_bridge.wire.values import BlobRef, new_id
from tests.edgenas.fleet.scripted import failed, good_measurement, refused, success

REASK_S = 0.5  # a host that restarts has not seen the request
ASKS = 60  # a safety net: nothing else is lost on the in-memory link

Answer = Measurement | JobFailed
Script = Callable[[str, MeasureJob, bytes], Answer | None]
Report = Callable[[ReleaseManifest], DeployReport | None]


class PullFailed(Exception):
    """A blob did not come; `code` is what the device answers with."""

    def __init__(self, code: FailureCode) -> None:
        super().__init__(code)
        self.code: FailureCode = code


@dataclass
class Disk:
    """What survives a power cut."""

    install_id: str = field(default_factory=new_id)
    starts: int = 0
    open_jobs: dict[str, MeasureJob] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    answers: dict[str, Answer | DeployReport] = field(default_factory=dict)
    unacked: set[str] = field(default_factory=set)
    blobs: dict[str, bytes] = field(default_factory=dict)
    slots: dict[str, SlotState] = field(default_factory=dict)


class DeviceTwin:
    """A device that can be started, cut off the power and started again on the same disk."""

    def __init__(
        self,
        broker: MemoryBroker,
        fleet: str,
        device_id: str,
        *,
        measure: Script = good_measurement,
        deploy: Report = success,
        keys: Mapping[str, bytes] | None = None,
        slots: Mapping[str, SlotState] | None = None,
    ) -> None:
        self.device_id = device_id
        self.measure = measure
        self.deploy = deploy
        self.disk = Disk(slots=dict(slots or {}))
        self.boot_id = new_id()
        self.outstanding = 0
        self.most_outstanding = 0
        self.waited = 0
        self.received_jobs: list[str] = []
        self.received_cancels: list[str] = []
        self.wishes: list[Wish] = []
        self._broker = broker
        self._topics = Topics(fleet)
        self._keys = keys or {}
        self._link: Link | None = None
        self._thread: threading.Thread | None = None

    # -- life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Switch on; jobs cut off before begin again as their next attempt."""
        self.disk.starts += 1
        self._connects = 0
        self._revs: dict[str, int] = {}
        self._events: queue.SimpleQueue[LinkEvent | None] = queue.SimpleQueue()
        self._chunks: queue.SimpleQueue[Received | None] = queue.SimpleQueue()
        self._off = threading.Event()
        self.outstanding = 0
        self._link = MemoryLink(self._broker, self.device_id)
        self._link.subscribe(*self._topics.device_filters(self.device_id))
        self._link.open(self._sink, self._will)
        self._thread = threading.Thread(target=self._work, name=f"twin-{self.device_id}")
        self._thread.start()

    def cut_power(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Vanish: the broker publishes the Will, nothing is finished.

        Args:
            meanwhile: Called when the power is off, to let a script end that waits.
        """
        assert isinstance(self._link, MemoryLink)
        self._off.set()
        meanwhile()
        self._link.drop()
        self._end()

    def stop(self) -> None:
        """Shut down cleanly; may be repeated."""
        if self._thread is not None:
            self._off.set()
            self.say_state(online=False, reason="shutdown")
            self._end()

    def _end(self) -> None:
        assert self._link is not None
        assert self._thread is not None
        self._events.put(None)
        self._chunks.put(None)
        self._thread.join()
        self._link.close()
        self._thread = None

    def _sess(self) -> int:
        return self.disk.starts * 1_000_000 + self._connects

    def _will(self) -> Will:
        self._connects += 1
        gone = State(online=False, sess=self._sess(), install_id=self.disk.install_id)
        return Will(self._topics.state(self.device_id), encode(gone))

    def _sink(self, event: LinkEvent) -> None:
        address = self._topics.parse(event.topic) if isinstance(event, Received) else None
        if isinstance(event, Received) and address and address.family in ("blob", "refuse"):
            self._chunks.put(event)
            return
        self._events.put(event)
        if isinstance(event, Received) and address and address.family == "job":
            self._count_job(address.tail[0], decode(event.payload).message)

    def _count_job(self, job_id: str, message: Message) -> None:
        if isinstance(message, CancelJob):
            self.received_cancels.append(job_id)
        elif job_id not in self.received_jobs:
            self.received_jobs.append(job_id)
            self.outstanding += 1
            self.most_outstanding = max(self.most_outstanding, self.outstanding)

    def _work(self) -> None:
        for job_id in list(self.disk.open_jobs):
            self.disk.attempts[job_id] += 1
        while not self._off.is_set():
            if self.disk.open_jobs and self._events.empty() and self._connects:
                self._run(next(iter(self.disk.open_jobs)))
                continue
            event = self._events.get()
            if isinstance(event, Connected):
                self._birth()
            elif isinstance(event, Received):
                address = self._topics.parse(event.topic)
                if address is not None:
                    self._handle(address, decode(event.payload).message)

    # -- talking ----------------------------------------------------------------------------

    def say(self, topic: str, message: Message, *, retain: bool = False, qos: int = 1) -> None:
        """Publish a message with this boot's stamp."""
        assert self._link is not None
        stamp = Stamp(self.boot_id, 1, 1, True)
        self._link.publish(topic, encode(message, stamp), retain=retain, qos=qos)

    def say_state(self, *, online: bool = True, reason: str | None = None) -> None:
        """Publish the state, retained."""
        state = State(
            online=online,
            sess=self._sess(),
            install_id=self.disk.install_id,
            reason=reason,
            slots=dict(self.disk.slots),
        )
        self.say(self._topics.state(self.device_id), state, retain=True)

    def say_event(self, work_id: str, state: EventState) -> None:
        """Report progress with the next revision."""
        event = Event(attempt=self._attempt(work_id), rev=self._next_rev(work_id), state=state)
        self.say(self._topics.event(self.device_id, work_id), event)

    def answer(self, work_id: str, answer: Answer | DeployReport) -> None:
        """Put an answer into the outbox and send it."""
        stamped = replace(answer, attempt=self._attempt(work_id), rev=self._next_rev(work_id))
        self.disk.answers[work_id] = stamped
        self.disk.unacked.add(work_id)
        self.disk.open_jobs.pop(work_id, None)
        self.outstanding -= 1
        self.resend(work_id)

    def resend(self, work_id: str) -> None:
        """Send an answer as it is in the outbox."""
        self.say(self._topics.result(self.device_id, work_id), self.disk.answers[work_id])

    def _birth(self) -> None:
        facts = Facts(
            profile="twin",
            fingerprint={"board": "twin"},
            ram_bytes=1 << 30,
            disk_free_bytes=1 << 30,
            measure=True,
            can_verify=True,
        )
        self.say(self._topics.facts(self.device_id), facts, retain=True)
        self.say_state()
        for work_id in sorted(self.disk.unacked):
            self.resend(work_id)

    def _attempt(self, work_id: str) -> int:
        return self.disk.attempts.setdefault(work_id, 1)

    def _next_rev(self, work_id: str) -> int:
        self._revs[work_id] = self._revs.get(work_id, 0) + 1
        return self._revs[work_id]

    # -- working ----------------------------------------------------------------------------

    def _handle(self, address: Address, message: Message) -> None:
        if isinstance(message, Ack):
            self.disk.unacked.discard(address.tail[0])
        elif isinstance(message, Resync):
            self._birth()
        elif isinstance(message, MeasureJob):
            self._take_job(address.tail[0], message)
        elif isinstance(message, CancelJob) and address.tail[0] in self.disk.open_jobs:
            self.answer(address.tail[0], failed("CANCELLED"))
        elif isinstance(message, Wish):
            self._take_wish(address.tail[0], message)

    def _take_job(self, job_id: str, job: MeasureJob) -> None:
        if job_id in self.disk.answers:
            self.resend(job_id)
        elif job_id not in self.disk.open_jobs:
            self.disk.open_jobs[job_id] = job
            self.disk.attempts.setdefault(job_id, 1)

    def _run(self, job_id: str) -> None:
        job = self.disk.open_jobs[job_id]
        try:
            self.say_event(job_id, "PULLING")
            model = self.pull(job.model)
            for ref in (job.reference, job.golden.input if job.golden else None):
                if ref is not None:
                    self.pull(ref)
        except PullFailed as error:
            self.answer(job_id, failed(error.code))
            return
        self.say_event(job_id, "MEASURING")
        answer = self.measure(job_id, job, model)
        if self._off.is_set():
            return
        if answer is None:
            self.disk.open_jobs.pop(job_id)  # a device that forgets: it never answers
        else:
            self.answer(job_id, answer)

    def _take_wish(self, slot: str, wish: Wish) -> None:
        self.wishes.append(wish)
        known = self.disk.slots.get(slot, SlotState(None, None, "IDLE", 0, 0))
        if wish.rev <= known.wish_rev:
            return
        self.disk.slots[slot] = replace(known, wish_rev=wish.rev)
        self.say_state()
        if wish.release is None or wish.deployment is None or wish.hold:
            return
        try:
            self._deploy(slot, wish.deployment, wish.release)
        except SignatureInvalidError:
            self.answer(wish.deployment, refused("REJECTED", "signature"))
        except PullFailed as error:
            if not self._off.is_set():
                self.answer(wish.deployment, refused("FAILED_NO_STATE_CHANGE", error.code))

    def _deploy(self, slot: str, deployment: str, release: Mapping[str, object]) -> None:
        manifest = ReleaseManifest.from_bytes(verify(release, self._keys, PAYLOAD_TYPE))
        self.say_event(deployment, "ACCEPTED")
        self.say_event(deployment, "DOWNLOADING")
        for entry in manifest.files:
            self.pull(entry.blob())
        report = self.deploy(manifest)
        if report is None:
            return
        self.answer(deployment, report)
        known = self.disk.slots[slot]
        self.disk.slots[slot] = replace(known, active=report.active, counter=report.counter)
        self.say_state()

    def pull(self, ref: BlobRef) -> bytes:
        """Pull a blob chunk by chunk, window 4; once more if the digest is wrong.

        Raises:
            PullFailed: It did not come, or came wrong twice.
        """
        for _ in range(2):
            content = self._pull_once(ref)
            if hashlib.sha256(content).hexdigest() == ref.sha256:
                self.disk.blobs[ref.sha256] = content
                return content
        raise PullFailed("BLOB_CORRUPT")

    def _pull_once(self, ref: BlobRef) -> bytes:
        chunks, content = ChunkMap(ref.size_bytes, ref.chunk_bytes), bytearray(ref.size_bytes)
        asks = 0
        while (wanted := chunks.next_request()) is not None:
            request = BlobRequest(digest=ref.sha256, first=wanted[0], want=wanted[1])
            self.say(self._topics.blob_request(self.device_id), request, qos=0)
            for _ in range(bin(int(wanted[1], 16)).count("1")):
                found = self._next_chunk(ref)
                if found is None:
                    asks += 1
                    break
                offset, piece = found
                content[offset : offset + len(piece)] = piece
                chunks.mark(offset, len(piece))
            if asks > ASKS:
                raise PullFailed("STALLED")
        return bytes(content)

    def _next_chunk(self, ref: BlobRef) -> tuple[int, bytes] | None:
        """The next chunk's offset and bytes; None if none came for a while."""
        while True:
            try:
                received = self._chunks.get(timeout=REASK_S)
            except queue.Empty:
                return None
            if received is None:
                raise PullFailed("CANCELLED")
            address = self._topics.parse(received.topic)
            if address is None or address.tail[0] != ref.sha256:
                continue
            if address.family == "blob":
                return int(address.tail[1]), received.payload
            refused = decode(received.payload).message
            assert isinstance(refused, BlobRefused)
            if refused.code == "WAIT":
                self.waited += 1
                continue  # and ask again when the time is over
            raise PullFailed("NOT_ALLOWED" if refused.code == "NOT_ALLOWED" else "BLOB_NOT_FOUND")
