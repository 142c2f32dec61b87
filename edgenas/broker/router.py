"""The broker's rules: sessions, subscriptions, retained messages, Wills, routing.

Knows neither sockets nor packets on the wire; `connection` translates. Time comes from an injected
clock. Nothing is shared between routers.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edgenas.broker import messages, properties, topics
from edgenas.broker.acks import PendingAck
from edgenas.broker.errors import PacketError
from edgenas.broker.messages import MAX_QOS, Delivery, Message
from edgenas.broker.outbox import QueueLimits
from edgenas.broker.packets import V5, Connect, Subscription
from edgenas.broker.properties import Prop
from edgenas.broker.reasons import Reason
from edgenas.broker.session import Clock, Outlet, Session
from edgenas.broker.topics import TopicTree

_NEVER = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What became of one subscription: its answer and the retained messages it brings."""

    reason: Reason
    retained: tuple[Delivery, ...] = ()


class Router:
    """All state of one broker."""

    def __init__(self, clock: Clock, limits: QueueLimits) -> None:
        """Starts without sessions and retained messages."""
        self._clock = clock
        self._limits = limits
        self._sessions: dict[str, Session] = {}
        self._subscribers: TopicTree[dict[str, Subscription]] = TopicTree()
        self._retained: TopicTree[Message] = TopicTree()

    def attach(self, connect: Connect, outlet: Outlet) -> tuple[Session, bool]:
        """Finds or makes the session of a CONNECT, taking it over from an older connection.

        Returns the session and whether it was present. The caller answers with CONNACK and then
        calls `Session.resume`.
        """
        known = self._sessions.get(connect.client_id)
        if known is not None and known.outlet is not None:
            known.outlet.supersede(Reason.SESSION_TAKEN_OVER)
            known = self._sessions.get(connect.client_id)
        if known is not None and connect.clean_start:
            self._end(known)
            known = None
        session = known or Session(connect.client_id, self._limits, self._clock)
        self._sessions[connect.client_id] = session
        session.disarm()
        session.outlet = outlet
        session.will = connect.will
        session.expiry_s = _session_expiry_s(connect)
        return session, known is not None

    def detach(self, session: Session, *, publish_will: bool) -> None:
        """Takes a connection from its session; the Will and the session end when they are due."""
        session.outlet = None
        if not publish_will:
            session.will = None
        if not session.expiry_s:
            self._end(session)
            return
        if session.will is not None:
            delay_s = properties.number(session.will.properties, Prop.WILL_DELAY, 0)
            if delay_s:
                session.after(delay_s, lambda: self._publish_will(session))
            else:
                self._publish_will(session)
        if session.expiry_s != math.inf:
            session.after(session.expiry_s, lambda: self._end(session))

    def change_expiry(self, session: Session, announced_s: int) -> None:
        """Takes the Session Expiry of a DISCONNECT.

        Raises:
            PacketError: a session that was to end with its connection cannot be prolonged.
        """
        if announced_s and not session.expiry_s:
            raise PacketError("expected Session Expiry 0, as it was 0 in CONNECT")
        session.expiry_s = _expiry_s(announced_s)

    def subscribe(self, session: Session, wanted: Subscription) -> Subscribed:
        """Adds or replaces one subscription; QoS 2 is granted as 1."""
        if wanted.topic_filter.startswith("$share/"):
            return Subscribed(Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED)
        if topics.filter_problem(wanted.topic_filter) is not None:
            return Subscribed(Reason.TOPIC_FILTER_INVALID)
        is_new = wanted.topic_filter not in session.subscriptions
        session.subscriptions[wanted.topic_filter] = wanted
        subscribers = self._subscribers.get(wanted.topic_filter)
        if subscribers is None:
            subscribers = {}
            self._subscribers.put(wanted.topic_filter, subscribers)
        subscribers[session.client_id] = wanted
        send = wanted.retain_handling == 0 or (wanted.retain_handling == 1 and is_new)
        retained = tuple(self._retained_for(wanted)) if send else ()
        return Subscribed(Reason(min(wanted.qos, MAX_QOS)), retained)

    def unsubscribe(self, session: Session, topic_filter: str) -> Reason:
        """Removes one subscription."""
        if session.subscriptions.pop(topic_filter, None) is None:
            return Reason.NO_SUBSCRIPTION_EXISTED
        self._forget_subscriber(session, topic_filter)
        return Reason.SUCCESS

    def publish(self, message: Message, ack: PendingAck | None = None) -> None:
        """Routes a message and sends its PUBACK once every subscriber's queue has taken it."""
        if message.retain:
            self._retain(message)
        takers = self._takers(message)
        for client_id, (qos, retain) in takers.items():
            self._sessions[client_id].deliver(Delivery(message, qos, retain), ack)
        if ack is not None:
            ack.reason = Reason.SUCCESS if takers else Reason.NO_MATCHING_SUBSCRIBERS
            ack.release()

    def forget_cancelled(self) -> None:
        """Drops waiting messages of publishers that have gone."""
        for session in self._sessions.values():
            session.outbox.prune()

    def close(self) -> None:
        """Ends every session without publishing Wills, because the broker stops."""
        for session in self._sessions.values():
            session.outlet = None
            session.will = None
            session.close()
        self._sessions.clear()

    def _takers(self, message: Message) -> dict[str, tuple[int, bool]]:
        """Returns for each client that gets the message once its QoS and retain flag."""
        takers: dict[str, tuple[int, bool]] = {}
        for subscribers in self._subscribers.filters_matching(message.topic):
            for client_id, wanted in subscribers.items():
                if wanted.no_local and client_id == message.publisher:
                    continue
                qos = min(message.qos, wanted.qos)
                retain = message.retain and wanted.retain_as_published
                known = takers.get(client_id)
                if known is not None:
                    qos, retain = max(known[0], qos), known[1] or retain
                takers[client_id] = (qos, retain)
        return takers

    def _retain(self, message: Message) -> None:
        if message.payload:
            self._retained.put(message.topic, message)
        else:
            self._retained.remove(message.topic)

    def _retained_for(self, wanted: Subscription) -> Iterable[Delivery]:
        now = self._clock.time()
        for message in list(self._retained.topics_matched(wanted.topic_filter)):
            if message.expires_at <= now:
                self._retained.remove(message.topic)
            else:
                yield Delivery(message, min(message.qos, wanted.qos, MAX_QOS), retain=True)

    def _publish_will(self, session: Session) -> None:
        will, session.will = session.will, None
        if will is not None:
            self.publish(messages.accept(will, session.client_id, self._clock.time()))

    def _end(self, session: Session) -> None:
        """Ends a session; a Will still delayed is published now (MQTT 5 section 3.1.2.5)."""
        del self._sessions[session.client_id]
        for topic_filter in session.subscriptions:
            self._forget_subscriber(session, topic_filter)
        session.subscriptions.clear()
        session.close()
        self._publish_will(session)

    def _forget_subscriber(self, session: Session, topic_filter: str) -> None:
        subscribers = self._subscribers.get(topic_filter)
        if subscribers is not None:
            subscribers.pop(session.client_id, None)
            if not subscribers:
                self._subscribers.remove(topic_filter)


def _session_expiry_s(connect: Connect) -> float:
    """Returns how long the session outlives its connection; 3.1.1 knows only 0 and for ever."""
    if connect.version != V5:
        return 0.0 if connect.clean_start else math.inf
    return _expiry_s(properties.number(connect.properties, Prop.SESSION_EXPIRY, 0))


def _expiry_s(announced: int) -> float:
    return math.inf if announced == _NEVER else float(announced)
