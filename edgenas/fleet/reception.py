"""Reads what devices send and hands it to the desk it is for; drops and counts what is not sound.

Runs on the inbox's thread and takes the host's lock for what the desks decide, but not while it
serves blobs. Leaves every decision to the desks.
"""

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from edgenas.fleet.allowance import Allowance
from edgenas.fleet.clock import Clock
from edgenas.fleet.deploy_desk import DeployDesk
from edgenas.fleet.device_log import STRAYS_CAP
from edgenas.fleet.enrolment_desk import EnrolmentDesk
from edgenas.fleet.errors import FleetJournalError
from edgenas.fleet.job_desk import JobDesk
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.post import Post
from edgenas.fleet.presence import Change
from edgenas.fleet.roster import Roster
from edgenas.fleet.serving import BlobDesk
from edgenas.fleet.ways_back import WaysBack
from firmware_bridge.wire.codec import Envelope, decode
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.link import Received
from firmware_bridge.wire.messages import (
    BlobRequest,
    Csr,
    DeployReport,
    Event,
    Facts,
    JobFailed,
    Measurement,
    State,
)
from firmware_bridge.wire.topics import Address, Topics
from firmware_bridge.wire.values import CONTROL_CAP_BYTES, RESULT_CAP_BYTES

_log = logging.getLogger(__name__)

TOLD_CAP = 1000
WHY_CAP = 500

_FOR_OTHERS = frozenset({"head", "inventory"})  # retained, for whoever merges or checks them
_KINDS: dict[str, tuple[type, ...]] = {
    "state": (State,),
    "facts": (Facts,),
    "event": (Event,),
    "result": (Measurement, JobFailed, DeployReport),
    "blob": (BlobRequest,),
    "csr": (Csr,),
}


@dataclass(frozen=True, slots=True)
class Desks:
    """Everybody who decides something, and what they share."""

    journal: FleetJournal
    roster: Roster
    jobs: JobDesk
    deployments: DeployDesk
    blobs: BlobDesk
    ways_back: WaysBack
    allowance: Allowance
    post: Post
    clock: Clock
    enrolment: EnrolmentDesk | None = None


@dataclass(frozen=True, slots=True)
class _Sound:
    """A message that could be read."""

    address: Address
    envelope: Envelope
    received: Received


class Reception:
    """Takes messages in, in their order.

    Attributes:
        dropped: How many messages of each device were not sound; topics of nobody count as `?`.
    """

    def __init__(self, topics: Topics, desks: Desks, changed: threading.Condition) -> None:
        self._topics = topics
        self._desks = desks
        self._changed = changed
        self.dropped: Counter[str] = Counter()
        self._told: set[tuple[str, str]] = set()
        self._crowded: set[str] = set()  # no more stray answers of theirs are kept

    def take(self, together: Sequence[Received]) -> None:
        """Read messages and hand them on.

        What follows from those between two requests for blobs becomes durable at once, and only
        then is anything sent that answers them.
        """
        run: list[_Sound] = []
        for received in together:
            sound = self._sound(received)
            if sound is None:
                continue
            request = sound.envelope.message
            if isinstance(request, BlobRequest):
                self._decide(run)
                run = []
                with self._apart(sound.address):
                    self._serve(sound.address.device, request)
            else:
                run.append(sound)
        self._decide(run)

    def _decide(self, run: Sequence[_Sound]) -> None:
        if not run:
            return
        with self._changed:
            answered = [s.address.tail[0] for s in run if s.address.family == "result"]
            with (
                self._desks.post.held(),
                self._desks.journal.transaction(),
                self._desks.jobs.together(answered),
            ):
                for sound in run:
                    with self._apart(sound.address):
                        self._hand_on(sound.address, sound.envelope, sound.received)
            self._changed.notify_all()

    @contextmanager
    def _apart(self, address: Address) -> Iterator[None]:
        """Whatever goes wrong with one message, all others are taken in all the same.

        What a desk made durable for it before that stays, as does what the desk remembers. A
        journal that takes no change is no message's fault: nothing could be acknowledged any more.
        """
        try:
            yield
        except FleetJournalError:
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            self._drop(address, why)
            _log.debug("device %s", address.device, exc_info=True)
            self._tell(address, why)

    def _tell(self, address: Address, why: str) -> None:
        """Write down that a message broke something: once for a device and what it was about."""
        told = (address.device, address.family)
        if told in self._told or len(self._told) >= TOLD_CAP:
            return
        self._told.add(told)
        detail = {"about": address.family, "why": why[:WHY_CAP]}
        at_ms = self._desks.clock.wall_ms()
        audit = self._desks.journal.audit
        audit.add("message.dropped", address.device, at_ms, detail, by_itself=True)

    def _sound(self, received: Received) -> _Sound | None:
        """A message with its parts, None if there is nothing to do about it."""
        address = self._topics.parse(received.topic)
        if address is None or address.direction != "up":
            self.dropped["?"] += 1
            return None
        if address.family in _FOR_OTHERS or not received.payload:
            return None  # what is empty was cleared
        envelope = self._read(address, received.payload)
        return None if envelope is None else _Sound(address, envelope, received)

    def _read(self, address: Address, payload: bytes) -> Envelope | None:
        cap_bytes = RESULT_CAP_BYTES if address.family == "result" else CONTROL_CAP_BYTES
        try:
            envelope = decode(payload, cap_bytes)
        except WireError as error:
            self._drop(address, str(error))
            return None
        if not isinstance(envelope.message, _KINDS[address.family]):
            self._drop(address, f"a {envelope.kind} message does not belong there")
            return None
        return envelope

    def _drop(self, address: Address, why: str) -> None:
        self.dropped[address.device] += 1
        _log.warning("device %s: %s message dropped: %s", address.device, address.family, why)

    def _serve(self, device_id: str, request: BlobRequest) -> None:
        desks, digest = self._desks, request.digest
        with self._changed:
            allowed = desks.deployments.blob(device_id, digest)
            candidate = allowed is None
            if candidate and not self._over_budget(device_id, digest):
                allowed = desks.jobs.blob(device_id, digest)
            if allowed is None and desks.journal.workers.others():
                if desks.jobs.is_elsewhere(device_id, digest):
                    return  # the process whose job it is serves it
                desks.deployments.refresh()  # the wish may be younger than the last look around
                allowed = desks.deployments.blob(device_id, digest)
                candidate = allowed is None
            if allowed is not None and not candidate and not desks.blobs.has(allowed):
                desks.deployments.excuse(device_id)
        sent = desks.blobs.answer(device_id, request, allowed, wished=not candidate)
        if candidate and sent:
            desks.allowance.spend(device_id, sent)

    def _over_budget(self, device_id: str, digest: str) -> bool:
        """Whether a device gets no more candidates today; ends the jobs that ask for one."""
        allowance, jobs = self._desks.allowance, self._desks.jobs
        if not allowance.used_up(device_id):
            return False
        if jobs.refuse_bytes(device_id, digest, allowance.budget_bytes):
            self._changed.notify_all()
        return True

    def _hand_on(self, address: Address, envelope: Envelope, received: Received) -> None:
        message, device_id = envelope.message, address.device
        if isinstance(message, State):
            boot_id = None if envelope.t is None else envelope.t.boot_id
            self._hear_state(device_id, message, boot_id, live=not received.retained)
        elif isinstance(message, Facts):
            self._desks.roster.hear_facts(device_id, message)
        elif isinstance(message, Csr):
            self._hear_csr(device_id, message)
        elif isinstance(message, Event):
            self._hear_event(device_id, address.tail[0], message)
        elif isinstance(message, Measurement | JobFailed | DeployReport):
            self._hear_result(device_id, address.tail[0], message, received.payload)

    def _hear_state(self, device_id: str, state: State, boot_id: str | None, *, live: bool) -> None:
        roster = self._desks.roster
        before = roster.view(device_id).install_id
        change = roster.hear_state(device_id, state, boot_id, live=live)
        if state.online:
            self._desks.deployments.hear_slots(device_id)
        if change is Change.PRESUMED:
            self._desks.post.resync(device_id)
        elif change is Change.BIRTH:
            new_install = before not in (None, state.install_id)
            self._desks.jobs.born(device_id, new_install=new_install)
            self._desks.deployments.born(device_id)

    def _hear_csr(self, device_id: str, csr: Csr) -> None:
        enrolment = self._desks.enrolment
        if enrolment is None:
            _log.warning(
                "device %s asks for a new certificate, and the authority is not here; run "
                "`edgenas fleet serve --tls DIR` where it is",
                device_id,
            )
            return
        quarantined = self._desks.roster.view(device_id).quarantined
        pem = enrolment.renew(device_id, csr.pem, quarantined=quarantined)
        if pem is not None:
            self._desks.post.cert(device_id, pem)

    def _hear_event(self, device_id: str, work_id: str, event: Event) -> None:
        if self._desks.jobs.knows(work_id):
            self._desks.jobs.hear_event(device_id, work_id, event)
        elif self._desks.deployments.knows(work_id):
            self._desks.deployments.hear_event(device_id, work_id, event)

    def _hear_result(
        self,
        device_id: str,
        work_id: str,
        result: Measurement | JobFailed | DeployReport,
        body: bytes,
    ) -> None:
        jobs, deployments = self._desks.jobs, self._desks.deployments
        if isinstance(result, DeployReport):
            if deployments.knows(work_id):
                deployments.hear_report(device_id, work_id, result, body)
                return
        elif jobs.knows(work_id):
            jobs.hear_answer(device_id, work_id, result, body)
            return
        # Nobody here asked: keep it, and say so, or the device would send it for ever.
        self._keep_stray(device_id, work_id, body)
        self._desks.post.ack(device_id, work_id, result.attempt, result.rev)

    def _keep_stray(self, device_id: str, work_id: str, body: bytes) -> None:
        log, at_ms = self._desks.journal.devices, self._desks.clock.wall_ms()
        if device_id in self._crowded or log.add_stray(device_id, work_id, body, at_ms):
            return
        self._crowded.add(device_id)
        _log.warning(
            "device %s: expected at most %d answers that nobody here asked for, got more; "
            "they are acknowledged, and not kept",
            *(device_id, STRAYS_CAP),
        )
