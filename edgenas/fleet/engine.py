"""What makes the host run: the link, the inbox's thread, the desks, and the one lock they share.

The lock is never held while waiting and the link's thread only enqueues, so nothing can lock up
between callers, inbox and link. Leaves what callers can ask for to `host`.
"""

import threading
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeVar, cast

from edgenas.fleet.allowance import Allowance
from edgenas.fleet.clock import Clock
from edgenas.fleet.deploy_desk import DeployDesk
from edgenas.fleet.enrolment_desk import EnrolmentDesk
from edgenas.fleet.errors import FleetStoppedError
from edgenas.fleet.inbox import Inbox
from edgenas.fleet.job_desk import JobDesk
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.post import Post
from edgenas.fleet.reception import Desks, Reception
from edgenas.fleet.roster import Roster
from edgenas.fleet.serving import BlobDesk
from edgenas.fleet.shelf import BlobShelf
from edgenas.fleet.timers import HostTimers
from edgenas.fleet.ways_back import WaysBack
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.errors import PacketLimitError
from firmware_bridge.wire.link import Connected, Disconnected, Link, LinkEvent, Received, Will
from firmware_bridge.wire.messages import HostState
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import KIB

_SESS_PER_START = 1_000_000
LOOK_S = 5.0

T = TypeVar("T")


class FleetEngine:
    """Runs from `open` to `shut`; callers hold `changed` while they use `desks`.

    Attributes:
        changed: The lock; notified when something that callers wait for may have changed.
        desks: Everybody who decides something.
        reception: Takes messages in.
    """

    def __init__(
        self,
        link: Link,
        fleet: str,
        shelf: BlobShelf,
        journal: FleetJournal,
        clock: Clock,
        timers: HostTimers,
        enrolment: EnrolmentDesk | None = None,
    ) -> None:
        """Take up what the journal holds; nothing is sent before `open`.

        Raises:
            FleetJournalError: The journal is about another fleet or cannot be read.
        """
        journal.bind(fleet)
        self._fleet = fleet
        self._link = link
        self._topics = Topics(fleet)
        self._sess = journal.count_start(clock.wall_ms()) * _SESS_PER_START
        self._packet_bytes = shelf.chunk_bytes + KIB
        self.changed = threading.Condition()
        post = Post(link, self._topics)
        self.desks = _make_desks(post, shelf, journal, clock, timers, enrolment)
        self.reception = Reception(self._topics, self.desks, self.changed)
        self._journal = journal
        self._clock = clock
        self._look_s = clock.monotonic_s()
        self._accompanied = True
        self._inbox = Inbox(self._handle, self._tick, self._fail, clock)
        self._opened = False
        self._greeted = False
        self._failure: Exception | None = None

    def open(self, timeout_s: float) -> None:
        """Connect, say that the host is there, and start to take messages in.

        Raises:
            BrokerUnreachableError: No connection in time; says where, why and what to do.
            FleetStoppedError: The broker does not take packets as large as a chunk.
        """
        self._opened = True
        self._inbox.start()
        try:
            self._link.subscribe(*self._topics.host_filters())
            self._link.open(self._inbox.put, self._next_will)
            self._link.wait_connected(timeout_s)
            self.wait_for(lambda: self._greeted or None, timeout_s)
        except BaseException:
            self.shut()
            raise

    def shut(self) -> None:
        """Say that the host is gone and end the threads; may be repeated."""
        if not self._opened:
            return
        self._opened = False
        self._inbox.stop()
        if self._greeted:
            self.desks.post.host_state(HostState(online=False, sess=self._sess))
        self._link.close()

    def wake(self) -> None:
        """Say that a deadline may have come closer."""
        self._inbox.wake()

    def wait_for(self, look: Callable[[], T | None], timeout_s: float) -> T | None:
        """Call `look` under the lock whenever something changed, until it finds something.

        Returns:
            What it found, or None if the time is over.

        Raises:
            FleetStoppedError: The host cannot go on.
        """
        deadline_s = time.monotonic() + timeout_s
        with self.changed:
            while True:
                self.check_alive()
                if (found := look()) is not None:
                    return found
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return None
                self.changed.wait(left_s)

    def check_alive(self) -> None:
        """Refuse to go on after a failure, or while closed.

        Raises:
            FleetStoppedError: The cause is in the text.
        """
        if self._failure is not None:
            raise FleetStoppedError(
                f"the host of fleet {self._fleet!r} has stopped: {self._failure}"
            ) from self._failure
        if not self._opened:
            raise FleetStoppedError("expected an open host, got a closed one; call open() first")

    def _handle(self, events: Sequence[LinkEvent]) -> None:
        for is_message, together in groupby(events, lambda event: isinstance(event, Received)):
            if is_message:
                self.reception.take(cast("list[Received]", list(together)))
            else:
                for event in together:
                    self._hear_link(event)

    def _hear_link(self, event: LinkEvent) -> None:
        if isinstance(event, Disconnected) and event.taken_over:
            self._give_way()
        elif isinstance(event, Connected):
            self._check_packet_limit(event.max_packet_bytes)
            with self.changed:
                self.desks.post.host_state(HostState(online=True, sess=self._sess))
                for device_id in self.desks.roster.doubt_all():
                    self.desks.post.resync(device_id)
                self._greeted = True
                self.changed.notify_all()

    def _tick(self) -> float | None:
        parts = (self.desks.roster, self.desks.jobs, self.desks.deployments)
        with self.changed:
            changed = [self._look_around(), *(part.tick() for part in parts)]
            if any(changed):
                self.changed.notify_all()
            dues = [self._look_s, *(part.next_due_s() for part in parts)]
        return min((due for due in dues if due is not None), default=None)

    def _look_around(self) -> bool:
        """Now and then, see what other processes on this journal have done, if there are any."""
        now_s = self._clock.monotonic_s()
        if now_s < self._look_s:
            return False
        self._look_s = now_s + LOOK_S
        before, self._accompanied = self._accompanied, self._journal.workers.others()
        if not (before or self._accompanied):
            return False
        return any([self.desks.jobs.refresh(), self.desks.deployments.refresh()])

    def _give_way(self) -> None:
        """Two hosts of one fleet would throw each other off the broker for ever: the older ends.

        Raises:
            FleetStoppedError: Always.
        """
        self._greeted = False  # the other one speaks for the host now
        self._link.close()
        raise FleetStoppedError(
            f"expected to be the only host of fleet {self._fleet!r}, another one has connected; "
            "let one end before the next begins, or give each its own --fleet with its devices"
        )

    def _check_packet_limit(self, limit_bytes: int | None) -> None:
        if limit_bytes is not None and limit_bytes < self._packet_bytes:
            raise PacketLimitError("any device's blob topic", limit_bytes, self._packet_bytes)

    def _fail(self, error: Exception) -> None:
        with self.changed:
            self._failure = error
            self.changed.notify_all()

    def _next_will(self) -> Will:
        """Called by the link before each attempt to connect: a new session, a new Will."""
        self._sess += 1
        gone = HostState(online=False, sess=self._sess)
        return Will(self._topics.host_state(), encode(gone))


def _make_desks(
    post: Post,
    shelf: BlobShelf,
    journal: FleetJournal,
    clock: Clock,
    timers: HostTimers,
    enrolment: EnrolmentDesk | None,
) -> Desks:
    roster = Roster(journal, clock, timers)
    deployments = DeployDesk(journal, post, roster, clock, timers)
    return Desks(
        journal=journal,
        roster=roster,
        jobs=JobDesk(journal, post, roster, clock, timers),
        deployments=deployments,
        blobs=BlobDesk(shelf, post, clock),
        ways_back=WaysBack(journal, deployments.active, clock),
        allowance=Allowance(journal.devices, clock),
        post=post,
        clock=clock,
        enrolment=enrolment,
    )
