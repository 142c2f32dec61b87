"""The main loop: reads the inbox, keeps the worker busy, and tells the host how things are.

Nothing here waits for anything but the inbox. Leaves messages to `intake`, jobs and deployments to
their desks, long work to the worker, and the building of all these to `assembly`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec

from firmware_bridge.agent.deploy_desk import Step
from firmware_bridge.agent.inbox import Stop
from firmware_bridge.agent.intake import Intake
from firmware_bridge.agent.measuring import JobOrder
from firmware_bridge.agent.parts import Parts
from firmware_bridge.agent.worker import Cancelled, Finished
from firmware_bridge.bench.supervise import RuntimeProbe
from firmware_bridge.store.database import JournalDamagedError
from firmware_bridge.wire.errors import BridgeError, StoreError, WireError
from firmware_bridge.wire.link import Connected, Disconnected, Received
from firmware_bridge.wire.messages import (
    Ack,
    CancelJob,
    Cert,
    DeviceStatus,
    HostState,
    Inspect,
    JobFailed,
    MeasureJob,
    Measurement,
    Message,
    Resync,
    State,
    Wish,
)
from firmware_bridge.wire.topics import Address
from firmware_bridge.wire.values import CHUNK_BYTES, KIB

if TYPE_CHECKING:  # loaded by who needs them only: an idle daemon shall weigh little
    from firmware_bridge.agent.errands import Errand

TICK_S = 1.0
MAX_UNWRITTEN = 16
WORKER_CLOSE_S = 15.0
PROBE = "runtime probe"
CHUNK_LEVEL = "/blob/"
UNCONTESTED_S = 300.0
FAULT_PAUSE_S = 1.0
TAKEN_OVER = "another client has connected under this id; give every board an --id of its own"

P = ParamSpec("P")

_log = logging.getLogger(__name__)


class Daemon:
    """One device: from its birth message to its farewell."""

    def __init__(self, parts: Parts, clock: Callable[[], float] = time.monotonic) -> None:
        self._use = parts
        self._clock = clock
        self._intake = Intake(parts.topics, parts.device_id, parts.mailbox, self._on_message)
        self._stopping = False
        self._connected = False
        self._connected_s = 0.0
        self._resumed = False
        self._paused_until_s = 0.0
        self._probed = self._probe_ended = False
        self._host = HostState(online=False, sess=0)
        self._job_id: str | None = None
        self._step: Step | None = None
        self._errand: Errand | None = None
        self._unfiled: tuple[str, Measurement | JobFailed] | None = None
        self._unwritten: deque[Received] = deque(maxlen=MAX_UNWRITTEN)
        self._said: State | None = None
        self._next_tick_s = 0.0

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker, as far as the main loop has heard."""
        return self._connected

    def run(self) -> None:
        """Serve until a Stop arrives in the inbox."""
        use = self._use
        use.link.subscribe(*use.topics.device_filters(use.device_id))
        use.link.open(use.inbox.put, lambda: use.post.will(use.presence.next_session()))
        use.watchdog.begin(self._clock())
        try:
            while not self._stopping:
                self._guarded(self._keep_busy)
                event = use.inbox.take(TICK_S)
                self._guarded(self._handle, event)
                if not self._is_chunk(event) or self._clock() >= self._next_tick_s:
                    self._guarded(self._tick)
        finally:
            self._shut_down()

    def _is_chunk(self, event: object) -> bool:
        """Whether it is one of the many messages that change nothing in what there is to say."""
        return isinstance(event, Received) and CHUNK_LEVEL in event.topic

    def _handle(self, event: object) -> None:
        if isinstance(event, Received):
            self._take_in(event)
        elif isinstance(event, Finished):
            self._on_finished(event)
        elif isinstance(event, Connected):
            self._on_connected(event)
        elif isinstance(event, Disconnected):
            self._connected = False
            _log.warning("no connection: %s", event.reason)
            if event.taken_over:
                self._use.presence.troubles.standing["twin"] = TAKEN_OVER
        elif isinstance(event, Stop):
            self._stopping = True

    def _take_in(self, received: Received) -> None:
        """Hand a message on; one that a full disk keeps from being written down is kept here."""
        try:
            self._intake.take(received)
        except StoreError:
            self._unwritten.append(received)
            raise

    def _catch_up(self) -> None:
        """Take in what came while nothing could be written down."""
        while self._unwritten:
            self._intake.take(self._unwritten[0])
            self._unwritten.popleft()
            self._use.presence.troubles.standing.pop("store", None)

    def _guarded(self, action: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Do one thing; whatever is wrong with it is reported and does not end the daemon."""
        troubles = self._use.presence.troubles
        try:
            action(*args, **kwargs)
        except WireError as error:
            _log.warning("dropped: %s", error)
            troubles.drop(str(error))
        except JournalDamagedError:
            raise  # the next start sets it aside; going on would only forget more
        except StoreError as error:
            _log.error("store: %s", error)
            troubles.standing["store"] = str(error)
        except (BridgeError, OSError) as error:
            _log.error("%s", error)
            troubles.standing["agent"] = str(error)
        except Exception as error:
            _log.exception("a fault of the agent itself")
            troubles.standing["agent"] = f"internal: {type(error).__name__}: {error}"

    def _on_connected(self, event: Connected) -> None:
        self._connected, self._connected_s = True, self._clock()
        limit, needed = event.max_packet_bytes, CHUNK_BYTES + KIB
        standing = self._use.presence.troubles.standing
        standing.pop("packet", None)
        if limit is not None and limit < needed:
            standing["packet"] = (
                f"expected a broker that takes packets of {needed} B, got a limit of {limit} B; "
                "raise max_packet_size in its configuration"
            )
        _log.info("connected, session %s", self._use.presence.sess)
        self._say_everything()

    def _say_everything(self) -> None:
        self._said = None
        self._say_state()
        self._say_facts()
        self._use.answers.resend(self._clock())

    def _on_message(self, address: Address, message: Message, payload: bytes) -> None:
        use = self._use
        if isinstance(message, MeasureJob):
            use.jobs.receive(address.tail[0], message, payload)
        elif isinstance(message, CancelJob):
            use.jobs.cancel(address.tail[0], self._job_id, use.worker.cancel)
        elif isinstance(message, Ack):
            use.answers.acknowledged(address.tail[0], message)
        elif isinstance(message, Wish):
            self._on_wish(address.tail[0], message, payload)
        elif isinstance(message, Resync):
            self._say_everything()
        elif isinstance(message, HostState):
            self._on_host(message)
        elif isinstance(message, Cert) and use.renewal is not None:
            use.renewal.offer(message.pem)
        elif isinstance(message, Inspect) and use.inspection is not None:
            use.inspection.asked(message.nonce)

    def _on_wish(self, slot: str, wish: Wish, payload: bytes) -> None:
        use = self._use
        if not use.deployments.receive(slot, wish, payload, self._step, use.worker.cancel):
            use.presence.troubles.drop(f"a wish for slot {slot}: all slots are taken")

    def _on_host(self, host: HostState) -> None:
        returned = host.online and (not self._host.online or host.sess != self._host.sess)
        self._host = host
        if returned:
            self._use.answers.resend(self._clock())

    def _keep_busy(self) -> None:
        """Give the idle worker the next thing: deployments before jobs."""
        use = self._use
        if not self._resumed:  # tried until the disk takes it; nothing begins before
            use.jobs.resume()
            self._resumed = True
        if use.worker.busy or self._unfiled is not None or self._clock() < self._paused_until_s:
            return
        if not self._probed:
            use.worker.start(PROBE, use.probe_runtime)
            return
        if self._start_errand():
            return
        self._step = use.deployments.next_step()
        if self._step is not None:
            use.worker.start(f"{self._step.kind} {self._step.slot}", self._step.run)
            self._say_state()  # at once: short work is over before the next tick
            return
        found = use.jobs.next_order()
        if found is not None:
            self._start_job(*found)
            self._say_state()

    def _start_errand(self) -> bool:
        for errand in self._use.errands:
            task = errand.next_task(self._clock())
            if task is not None:
                self._errand = errand
                self._use.worker.start(errand.name, task)
                return True
        return False

    def _start_job(self, job_id: str, order: JobOrder) -> None:
        self._use.presence.troubles.standing.pop("store", None)  # the journal took its start
        self._job_id = job_id
        self._use.worker.start(f"job {job_id}", lambda: self._use.job_runner.run(order))

    def _on_finished(self, finished: Finished) -> None:
        self._use.worker.collect()
        self._note_fault(finished)
        if finished.name == PROBE:
            self._learn_runtime(finished.value)
        elif self._errand is not None:
            errand, self._errand = self._errand, None
            self._end_errand(errand, finished)
        elif self._step is not None:
            step, self._step = self._step, None
            self._use.deployments.finished(step.slot)
        elif self._job_id is not None and isinstance(finished.value, (Measurement, JobFailed)):
            self._unfiled = (self._job_id, finished.value)
            self._job_id = None
            self._file()

    def _note_fault(self, finished: Finished) -> None:
        """What ended a task is trouble, until the next one ends well."""
        standing = self._use.presence.troubles.standing
        if finished.error is None:
            standing.pop("agent", None)
        if finished.error is None or isinstance(finished.error, Cancelled):
            return
        self._paused_until_s = self._clock() + FAULT_PAUSE_S  # what fails at once must not spin
        if isinstance(finished.error, StoreError):
            standing["store"] = f"{finished.name}: {finished.error}"
        else:
            standing["agent"] = f"{finished.name}: {finished.error}"

    def _learn_runtime(self, probe: object) -> None:
        """Remember what the probe found, and say it; facts go out even if it failed."""
        if isinstance(probe, RuntimeProbe):
            self._probed = True
            if probe.label is None:
                self._use.presence.troubles.standing["runtime"] = probe.flaw or "none works"
            self._use.journal.set_last_runtime(probe.label or "")
        self._probe_ended = True
        self._say_facts()

    def _end_errand(self, errand: Errand, finished: Finished) -> None:
        errand.finished(finished.value, finished.error, self._clock())
        standing = self._use.presence.troubles.standing
        standing.pop(errand.name, None)
        if errand.trouble is not None:
            standing[errand.name] = errand.trouble

    def _file(self) -> None:
        """Write a result down; on a full disk it waits here and is tried again every tick."""
        if self._unfiled is not None:
            self._use.jobs.finish(*self._unfiled)
            self._unfiled = None
            self._use.presence.troubles.standing.pop("store", None)

    def _tick(self) -> None:
        now_s, use = self._clock(), self._use
        use.watchdog.tick(now_s)
        if now_s >= self._next_tick_s:
            self._next_tick_s = now_s + TICK_S
            use.idle.tick(busy=use.worker.busy)
            if self._connected and now_s > self._connected_s + UNCONTESTED_S:
                use.presence.troubles.standing.pop("twin", None)
            mine = (self._look_at_the_store, self._file, self._catch_up, use.jobs.expire_waiting)
            chores = (*mine, use.deployments.tick, *use.chores)
            for chore in chores:  # one that fails keeps none of the others from being done
                self._guarded(chore)
            use.answers.tick(now_s, self._connected and self._host.online)
        self._say_state()

    def _look_at_the_store(self) -> None:
        """After trouble with the disk: take it back as soon as a change goes through."""
        standing = self._use.presence.troubles.standing
        if "store" in standing:
            self._use.journal.prove_room()
            standing.pop("store", None)

    def _say_state(self) -> None:
        """Publish the state if it is not what was published last."""
        if self._use.inbox.dropped:
            flood = f"{self._use.inbox.dropped} messages came too fast"
            self._use.presence.troubles.standing["flood"] = flood
        state = self._use.presence.state(self._status(), self._use.holds())
        if self._connected and state != self._said:
            self._use.post.state(state)
            self._said = state
        self._use.watchdog.notifier.status(self._in_words(state))

    def _in_words(self, state: State) -> str:
        link = "connected" if self._connected else "no connection to the broker"
        return f"{state.status}, {link}" + (f"; {state.error}" if state.error else "")

    def _say_facts(self) -> None:
        """What this device is, once its runtime is known: without one it would look broken."""
        runtime = self._use.journal.last_runtime()
        if self._connected and (runtime or self._probe_ended):
            self._use.post.facts(self._use.presence.facts(runtime, self._use.keyids))

    def _status(self) -> DeviceStatus:
        if self._job_id is not None:
            return "measuring"
        return "deploying" if self._step is not None else "idle"

    def _shut_down(self) -> None:
        """Stop the worker, keep what it has finished, say farewell."""
        use = self._use
        use.watchdog.notifier.stopping()
        if not use.worker.close(WORKER_CLOSE_S):
            _log.warning("the worker did not stop within %s s", WORKER_CLOSE_S)
        with suppress(JournalDamagedError):  # then there is nothing to keep a result in
            while (event := use.inbox.take(0)) is not None:
                if isinstance(event, Finished) and isinstance(event.value, Measurement):
                    self._guarded(self._on_finished, event)
        # said even if this loop has not heard yet that the link is up: a clean end fires no will,
        # and the host would take the device for present. A link that is down drops it.
        use.post.state(use.presence.farewell())
        use.link.close()
