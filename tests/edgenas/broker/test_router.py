"""The broker's rules without sockets, under a clock that is turned by hand."""

from collections.abc import Callable

from edgenas.broker.acks import AckLine
from edgenas.broker.messages import Delivery, Message
from edgenas.broker.outbox import QueueLimits
from edgenas.broker.packets import V5, Connect, Subscription, Will
from edgenas.broker.properties import Prop, Value
from edgenas.broker.reasons import Reason
from edgenas.broker.router import Router
from edgenas.broker.session import Session


class HandTimer:
    """A timer that `HandClock` fires."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.due, self.callback, self.stopped = when, callback, False

    def cancel(self) -> None:
        self.stopped = True


class HandClock:
    """Time that stands still until `advance`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[HandTimer] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> HandTimer:
        timer = HandTimer(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [t for t in self.timers if t.due <= end and not t.stopped]:
            first = min(due, key=lambda timer: timer.due)
            self.timers.remove(first)
            self.now = first.due
            first.callback()
        self.now = end


class RecordingOutlet:
    """A connected client that notes what it gets."""

    def __init__(self, router: Router, window: int = 10) -> None:
        self.router, self.window, self.writable = router, window, True
        self.got: list[tuple[str, int | None, bool]] = []
        self.ended: Reason | None = None
        self.session: Session | None = None

    def deliver(self, delivery: Delivery, packet_id: int | None, *, dup: bool) -> bool:
        self.got.append((delivery.message.payload.decode(), packet_id, dup))
        return True

    def supersede(self, reason: Reason) -> None:
        self.ended = reason
        assert self.session is not None
        self.router.detach(self.session, publish_will=True)

    @property
    def payloads(self) -> list[str]:
        return [payload for payload, _, _ in self.got]


class Bench:
    """A router with its clock, and short words for what tests do to it."""

    def __init__(self, limits: QueueLimits | None = None) -> None:
        self.clock = HandClock()
        self.router = Router(self.clock, limits or QueueLimits())
        self.acked: list[int] = []
        self.line = AckLine(lambda packet_id, _reason: self.acked.append(packet_id))

    def join(
        self,
        client_id: str,
        *,
        expiry_s: int = 600,
        clean: bool = False,
        will_delay_s: int | None = None,
        window: int = 10,
    ) -> tuple[RecordingOutlet, Session]:
        will = None
        if will_delay_s is not None:
            properties: dict[Prop, Value] = {Prop.WILL_DELAY: will_delay_s}
            will = Will("will", client_id.encode(), 1, properties=properties)
        expiry: dict[Prop, Value] = {Prop.SESSION_EXPIRY: expiry_s}
        connect = Connect(client_id, V5, clean_start=clean, will=will, properties=expiry)
        outlet = RecordingOutlet(self.router, window)
        session, _ = self.router.attach(connect, outlet)
        outlet.session = session
        session.resume(outlet)
        return outlet, session

    def lose(self, session: Session) -> None:
        self.router.detach(session, publish_will=True)

    def publish(self, packet_id: int, *, topic: str = "t", expires_in_s: float = 1e9) -> None:
        expires_at = self.clock.now + expires_in_s
        message = Message(topic, b"%d" % packet_id, 1, False, "pub", expires_at)
        self.router.publish(message, self.line.open(packet_id, message.cost_bytes))

    def watch(self, topic_filter: str) -> RecordingOutlet:
        outlet, session = self.join("watcher")
        self.router.subscribe(session, Subscription(topic_filter, 1))
        return outlet


def test_will_comes_after_its_delay_and_not_before() -> None:
    bench = Bench()
    watcher = bench.watch("will")
    _, session = bench.join("dev", will_delay_s=10)
    bench.lose(session)
    bench.clock.advance(9.9)
    assert watcher.payloads == []
    bench.clock.advance(0.2)
    assert watcher.payloads == ["dev"]
    bench.clock.advance(10_000)
    assert watcher.payloads == ["dev"]


def test_will_comes_when_the_session_ends_first() -> None:
    bench = Bench()
    watcher = bench.watch("will")
    _, session = bench.join("dev", expiry_s=5, will_delay_s=10)
    bench.lose(session)
    bench.clock.advance(5.1)
    assert watcher.payloads == ["dev"]


def test_resuming_in_time_cancels_will_and_expiry() -> None:
    bench = Bench()
    watcher = bench.watch("will")
    _, session = bench.join("dev", expiry_s=20, will_delay_s=10)
    bench.lose(session)
    bench.clock.advance(9)
    _, resumed = bench.join("dev", expiry_s=20)
    assert resumed is session
    bench.clock.advance(1000)
    assert watcher.payloads == []


def test_clean_start_publishes_the_will_of_the_session_it_ends() -> None:
    bench = Bench()
    watcher = bench.watch("will")
    _, session = bench.join("dev", will_delay_s=10)
    bench.lose(session)
    _, fresh = bench.join("dev", clean=True)
    assert fresh is not session
    assert watcher.payloads == ["dev"]


def test_take_over_ends_the_first_connection_only() -> None:
    bench = Bench()
    first, session = bench.join("dev")
    second, same = bench.join("dev")
    assert first.ended is Reason.SESSION_TAKEN_OVER
    assert second.ended is None
    assert same is session


def test_session_expiry_frees_what_it_held() -> None:
    bench = Bench(QueueLimits(messages=1))
    _, session = bench.join("dev", expiry_s=30)
    bench.router.subscribe(session, Subscription("t", 1))
    bench.lose(session)
    bench.publish(1)
    bench.publish(2)
    assert bench.acked == [1]
    bench.clock.advance(31)
    assert bench.acked == [1, 2]
    bench.publish(3)
    assert bench.acked == [1, 2, 3]


def test_full_queue_holds_acknowledgements_back_in_order() -> None:
    bench = Bench(QueueLimits(messages=2))
    _, session = bench.join("dev")
    bench.router.subscribe(session, Subscription("t", 1))
    bench.lose(session)
    for packet_id in (1, 2, 3, 4):
        bench.publish(packet_id)
    bench.publish(5, topic="nobody")
    assert bench.acked == [1, 2]
    outlet, _ = bench.join("dev", window=1)
    assert outlet.payloads == ["1"]
    session.acknowledged(1)
    assert bench.acked == [1, 2, 3]
    session.acknowledged(2)
    assert bench.acked == [1, 2, 3, 4, 5]
    for packet_id in (3, 4):
        session.acknowledged(packet_id)
    assert outlet.payloads == ["1", "2", "3", "4"]


def test_queue_is_bounded_in_bytes_too_but_always_takes_one_message() -> None:
    bench = Bench(QueueLimits(bytes=1))
    _, session = bench.join("dev")
    bench.router.subscribe(session, Subscription("t", 1))
    bench.lose(session)
    bench.publish(1)
    bench.publish(2)
    assert bench.acked == [1]


def test_publisher_that_goes_takes_its_waiting_messages_with_it() -> None:
    bench = Bench(QueueLimits(messages=1))
    _, session = bench.join("dev")
    bench.router.subscribe(session, Subscription("t", 1))
    bench.lose(session)
    bench.publish(1)
    bench.publish(2)
    bench.line.cancel()
    bench.router.forget_cancelled()
    assert session.outbox.waiting == 0
    outlet, _ = bench.join("dev")
    session.acknowledged(1)
    assert outlet.payloads == ["1"]
    assert bench.acked == [1]


def test_expired_messages_make_room_for_waiting_ones() -> None:
    bench = Bench(QueueLimits(messages=1))
    _, session = bench.join("dev")
    bench.router.subscribe(session, Subscription("t", 1))
    bench.lose(session)
    bench.publish(1, expires_in_s=5)
    bench.publish(2)
    bench.clock.advance(4)
    assert bench.acked == [1]
    bench.clock.advance(2.5)
    assert bench.acked == [1, 2]
    outlet, _ = bench.join("dev")
    assert outlet.payloads == ["2"]


def test_one_copy_for_overlapping_subscriptions_at_the_highest_qos() -> None:
    bench = Bench()
    outlet, session = bench.join("dev")
    bench.router.subscribe(session, Subscription("#", 0))
    bench.router.subscribe(session, Subscription("t", 1))
    bench.publish(1)
    assert outlet.got == [("1", 1, False)]


def test_slow_client_is_sent_no_more_until_it_is_writable() -> None:
    bench = Bench()
    outlet, session = bench.join("dev")
    bench.router.subscribe(session, Subscription("t", 1))
    outlet.writable = False
    bench.publish(1)
    assert outlet.payloads == []
    assert bench.acked == [1]
    outlet.writable = True
    session.pump()
    assert outlet.payloads == ["1"]


def test_expired_retained_message_is_gone() -> None:
    bench = Bench()
    _, session = bench.join("dev")
    expires_at = bench.clock.now + 5
    bench.router.publish(Message("t", b"x", 0, True, "pub", expires_at))
    assert len(bench.router.subscribe(session, Subscription("t")).retained) == 1
    bench.clock.advance(6)
    assert bench.router.subscribe(session, Subscription("t")).retained == ()


def test_shared_and_broken_filters_are_refused_with_their_reason() -> None:
    bench = Bench()
    _, session = bench.join("dev")
    reasons = [
        bench.router.subscribe(session, Subscription(f)).reason for f in ("$share/g/t", "a/#/b")
    ]
    assert reasons == [
        Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
        Reason.TOPIC_FILTER_INVALID,
    ]
