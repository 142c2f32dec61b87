"""A small MQTT broker for the demo and the tests, on loopback only; standard library only.

MQTT 3.1.1 and the part of MQTT 5 that edgenas uses, QoS 0 and 1, retained messages, Wills, sessions
with offline queues. It never drops a message it has acknowledged, except by that message's own
expiry or the end of the subscriber's session. TLS, access rules, persistence across restarts and
QoS 2 are left out by design: for anything beyond this machine, run mosquitto.
"""

from edgenas.broker.errors import BrokerError, BrokerStartError, NotLoopbackError
from edgenas.broker.outbox import QueueLimits
from edgenas.broker.server import serve
from edgenas.broker.settings import BrokerSettings
from edgenas.broker.thread import BrokerThread

__all__ = [
    "BrokerError",
    "BrokerSettings",
    "BrokerStartError",
    "BrokerThread",
    "NotLoopbackError",
    "QueueLimits",
    "serve",
]
