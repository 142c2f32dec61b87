"""A device of which everything on the wire is real, and nothing else.

It is born, verifies signatures, pulls blobs by the daemon's own rules of the window, checks their
digests, reports every step and the end, and repeats what the host has not acknowledged. It has no
disk, no runtime and no application: what it says of its trial is made up. Many of them share one
thread, so nothing here waits. Leaves links and the thread to `simulated_fleet`, and what a device
survives to the real daemon.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from firmware_bridge.agent.window import Window
from firmware_bridge.wire.blobs import ChunkMap
from firmware_bridge.wire.codec import Stamp, decode, encode
from firmware_bridge.wire.errors import SignatureInvalidError
from firmware_bridge.wire.link import Connected, Link, LinkEvent, Received, Will
from firmware_bridge.wire.measured import Leg
from firmware_bridge.wire.messages import (
    Ack,
    BlobRefused,
    BlobRequest,
    DeployOutcome,
    DeployReport,
    Event,
    EventState,
    Facts,
    Measurement,
    Message,
    Resync,
    SlotState,
    State,
    Wish,
)
from firmware_bridge.wire.release import PAYLOAD_TYPE, ReleaseManifest
from firmware_bridge.wire.signing import verify
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import BlobRef, new_id

PROFILE = "simulated"
RESEND_S = 60.0
EMPTY = SlotState(None, None, "IDLE", 0, 0)
Later = Callable[[float, Callable[[], None]], None]
Clock = Callable[[], float]


@dataclass
class _Pull:
    """A blob under way."""

    ref: BlobRef
    chunks: ChunkMap
    window: Window
    content: bytearray


@dataclass
class _Work:
    """A deployment under way; `files` are still to be pulled."""

    deployment: str
    manifest: ReleaseManifest
    files: list[BlobRef]
    slot: str
    hold: bool
    staged: bool = False
    pull: _Pull | None = None


@dataclass
class Tally:
    """What a device has done.

    Attributes:
        taken: Deployments that it carried out, in order; one that is there twice was done twice.
        bytes_pulled: Bytes of chunks that it had not yet.
        reports_again: Reports that it had to repeat.
    """

    taken: list[str] = field(default_factory=list)
    bytes_pulled: int = 0
    reports_again: int = 0


class SimulatedDevice:
    """One device; every method is called on the same thread.

    Attributes:
        device_id: Its id.
        slots: What it runs.
        tally: What it has done.
    """

    def __init__(
        self,
        device_id: str,
        fleet: str,
        link: Link,
        keys: Mapping[str, bytes],
        later: Later,
        clock: Clock,
    ) -> None:
        """Nothing is sent before the first event.

        Args:
            device_id: Its id.
            fleet: Name of the fleet.
            link: Its link, not open yet.
            keys: Keys that it trusts releases from.
            later: Calls a function on this thread, at a monotonic second.
            clock: Monotonic seconds.
        """
        self.device_id = device_id
        self.slots: dict[str, SlotState] = {}
        self.tally = Tally()
        self._topics = Topics(fleet)
        self._link = link
        self._keys = keys
        self._later = later
        self._clock = clock
        self._install_id, self._boot_id = new_id(), new_id()
        self._connects = 0
        self._revs: dict[str, int] = {}
        self._reports: dict[str, DeployReport] = {}
        self._unacked: dict[str, None] = {}
        self._work: _Work | None = None

    @property
    def unacknowledged(self) -> int:
        """Reports that the host has not acknowledged."""
        return len(self._unacked)

    def filters(self) -> list[str]:
        """What its link has to ask for."""
        return self._topics.device_filters(self.device_id)

    def will(self) -> Will:
        """The will of the next connection; called by the link."""
        self._connects += 1
        gone = State(online=False, sess=self._sess(), install_id=self._install_id)
        return Will(self._topics.state(self.device_id), encode(gone))

    def hear(self, event: LinkEvent) -> None:
        """Something came in."""
        if isinstance(event, Connected):
            self._be_born()
        elif isinstance(event, Received):
            address = self._topics.parse(event.topic)
            if address is None or address.direction == "host":
                return
            if address.family == "blob":
                self._take_chunk(address.tail[0], int(address.tail[1]), event.payload)
            else:
                self._take(address.tail, decode(event.payload).message)

    def _take(self, tail: tuple[str, ...], message: Message) -> None:
        if isinstance(message, Ack):
            self._unacked.pop(tail[0], None)
        elif isinstance(message, Resync):
            self._be_born()
        elif isinstance(message, Wish):
            self._take_wish(tail[0], message)
        elif isinstance(message, BlobRefused):
            self._take_refusal(tail[0], message)

    def _sess(self) -> int:
        return 1_000_000 + self._connects

    def _say(self, topic: str, message: Message, *, retain: bool = False, qos: int = 1) -> None:
        stamp = Stamp(self._boot_id, round(self._clock() * 1e6), 0, False)
        self._link.publish(topic, encode(message, stamp), retain=retain, qos=qos)

    def _be_born(self) -> None:
        facts = Facts(
            profile=PROFILE,
            fingerprint={"board": PROFILE, "runtime": "none 0"},
            ram_bytes=1 << 30,
            disk_free_bytes=1 << 30,
            measure=False,
            can_verify=True,
            keyids=tuple(self._keys),
        )
        self._say(self._topics.facts(self.device_id), facts, retain=True)
        self._say_state()
        for deployment in list(self._unacked):
            self.tally.reports_again += 1
            self._send_report(deployment)

    def _say_state(self) -> None:
        state = State(
            online=True,
            sess=self._sess(),
            install_id=self._install_id,
            slots=dict(self.slots),
            status="idle" if self._work is None else "deploying",
        )
        self._say(self._topics.state(self.device_id), state, retain=True)

    def _say_step(self, deployment: str, state: EventState) -> None:
        event = Event(attempt=1, rev=self._next_rev(deployment), state=state)
        self._say(self._topics.event(self.device_id, deployment), event)

    def _send_report(self, deployment: str) -> None:
        topic = self._topics.result(self.device_id, deployment)
        self._say(topic, self._reports[deployment])
        if deployment in self._unacked:
            self._later(self._clock() + RESEND_S, lambda: self._send_again(deployment))

    def _send_again(self, deployment: str) -> None:
        if deployment in self._unacked:
            self.tally.reports_again += 1
            self._send_report(deployment)

    def _next_rev(self, deployment: str) -> int:
        self._revs[deployment] = self._revs.get(deployment, 0) + 1
        return self._revs[deployment]

    def _take_wish(self, slot: str, wish: Wish) -> None:
        known = self.slots.get(slot, EMPTY)
        if wish.rev <= known.wish_rev:
            return
        self.slots[slot] = replace(known, wish_rev=wish.rev)
        work = self._work
        if work is not None and work.deployment == wish.deployment:
            work.hold = wish.hold
            self._go_on(work)
        else:
            if work is not None:
                self._end("CANCELLED" if wish.release is None else "SUPERSEDED")
            self._begin(slot, wish)
        self._say_state()

    def _begin(self, slot: str, wish: Wish) -> None:
        if wish.release is None or wish.deployment is None:
            return
        if wish.deployment in self._reports:
            self._send_report(wish.deployment)
            return
        try:
            raw = verify(wish.release, self._keys, PAYLOAD_TYPE)
        except SignatureInvalidError:
            self._answer(wish.deployment, slot, "REJECTED", "bad_signature")
            return
        manifest = ReleaseManifest.from_bytes(raw)
        refusal = self._refusal(slot, manifest)
        if refusal is not None:
            outcome: DeployOutcome = "SUCCEEDED" if refusal == "already_installed" else "REJECTED"
            self._answer(wish.deployment, slot, outcome, refusal)
            return
        files = [entry.blob() for entry in manifest.files]
        self._work = _Work(wish.deployment, manifest, files, slot, wish.hold)
        self._say_step(wish.deployment, "ACCEPTED")
        self._say_step(wish.deployment, "DOWNLOADING")
        self._go_on(self._work)

    def _refusal(self, slot: str, manifest: ReleaseManifest) -> str | None:
        """Why a release is not taken, None if it is."""
        known = self.slots[slot]
        if manifest.target.profile != PROFILE:
            return "wrong_target"
        if manifest.counter < known.counter:
            return "old_counter"
        if known.active == _bundle(manifest):
            return "already_installed"
        if manifest.mode == "back" and manifest.replaces_bundle != known.active:
            return "other_incumbent"
        return None

    def _go_on(self, work: _Work) -> None:
        if work.pull is not None:
            return
        if work.files:
            ref = work.files[0]
            chunks = ChunkMap(ref.size_bytes, ref.chunk_bytes)
            window = Window(chunks, self._clock())
            work.pull = _Pull(ref, chunks, window, bytearray(ref.size_bytes))
            self._ask()
            return
        if not work.staged:
            work.staged = True
            self._say_step(work.deployment, "VERIFYING")
            self._say_step(work.deployment, "STAGED")
        if not work.hold:
            self._say_step(work.deployment, "ACTIVATING")
            self._say_step(work.deployment, "PROBATION")
            self._end("SUCCEEDED")

    def _ask(self) -> None:
        """Ask for what may be asked for, and look again when the window wants to."""
        pull = None if self._work is None else self._work.pull
        if pull is None:
            return
        while (wanted := pull.window.next_request(self._clock())) is not None:
            request = BlobRequest(digest=pull.ref.sha256, first=wanted[0], want=wanted[1])
            self._say(self._topics.blob_request(self.device_id), request, qos=0)
        self._later(pull.window.next_moment_s(), lambda: self._ask_again(pull))

    def _ask_again(self, pull: _Pull) -> None:
        """The moment that a window wanted has come; nothing if the pull is over or got on."""
        if self._work is None or self._work.pull is not pull:
            return
        if pull.window.stalled:
            self._end("FAILED_NO_STATE_CHANGE", "stalled", retryable=True)
        elif self._clock() >= pull.window.next_moment_s():
            self._ask()

    def _take_refusal(self, digest: str, refused: BlobRefused) -> None:
        pull = None if self._work is None else self._work.pull
        if pull is None or pull.ref.sha256 != digest:
            return
        if refused.code != "WAIT":
            self._end("FAILED_NO_STATE_CHANGE", "blob_not_found")
            return
        pull.window.told_to_wait(refused.wait_ms, self._clock())
        self._later(pull.window.next_moment_s(), lambda: self._ask_again(pull))

    def _take_chunk(self, digest: str, offset: int, content: bytes) -> None:
        work = self._work
        pull = None if work is None else work.pull
        if work is None or pull is None or pull.ref.sha256 != digest:
            return
        if pull.chunks.mark(offset, len(content)):
            pull.content[offset : offset + len(content)] = content
            self.tally.bytes_pulled += len(content)
        pull.window.arrived(offset, self._clock())
        if not pull.chunks.complete:
            self._ask()
            return
        if hashlib.sha256(pull.content).hexdigest() != digest:
            self._end("FAILED_NO_STATE_CHANGE", "blob_corrupt")
            return
        work.files, work.pull = work.files[1:], None
        self._go_on(work)

    def _end(
        self, outcome: DeployOutcome, code: str | None = None, *, retryable: bool = False
    ) -> None:
        work, self._work = self._work, None
        assert work is not None
        if outcome == "SUCCEEDED":
            known = self.slots[work.slot]
            self.slots[work.slot] = replace(
                known,
                active=_bundle(work.manifest),
                previous=known.active,
                counter=work.manifest.counter,
                deployment=work.deployment,
            )
            self.tally.taken.append(work.deployment)
        trial = _trial() if work.staged else None
        self._answer(work.deployment, work.slot, outcome, code, retryable, trial)
        self._say_state()

    def _answer(
        self,
        deployment: str,
        slot: str,
        outcome: DeployOutcome,
        code: str | None,
        retryable: bool = False,
        trial: Measurement | None = None,
    ) -> None:
        known = self.slots[slot]
        self._reports[deployment] = DeployReport(
            attempt=1,
            rev=self._next_rev(deployment),
            outcome=outcome,
            code=code,
            retryable=retryable,
            active=known.active,
            previous=known.previous,
            counter=known.counter,
            trial=trial,
        )
        self._unacked[deployment] = None
        self._send_report(deployment)


def _bundle(manifest: ReleaseManifest) -> str | None:
    return manifest.bundle_id() if manifest.files else None


def _trial() -> Measurement:
    """A trial of the usual length that says nothing bad; made up."""
    samples = tuple(1_000_000 + 1_000 * number for number in range(20))
    legs = (Leg(0, "R", samples, 0, None, None, None), Leg(0, "C", samples, 0, None, None, None))
    return Measurement(
        attempt=1,
        rev=1,
        verdict="ok",
        fingerprint_sha256="f" * 64,
        legs=legs,
        memory={"peak_delta_bytes": 1 << 20},
    )
