"""The one table that says in our words why a broker could not be reached, or said no.

Sockets, TLS and MQTT reason codes (MQTT 5, section 2.4; 3.1.1 codes arrive translated) come
in, a cause and an advice go out. Trying again is left to ``mqtt``.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

UNSUPPORTED_VERSION = 0x84
SESSION_TAKEN_OVER = 0x8E


@dataclass(frozen=True)
class Trouble:
    """Why there is no connection.

    Attributes:
        cause: What happened.
        advice: What a person can do about it.
        refused: The broker itself said no.
        code: MQTT reason code of a refusal, 0 if there is none.
    """

    cause: str
    advice: str
    refused: bool = False
    code: int = 0

    def __str__(self) -> str:
        return f"{self.cause} ({self.advice})"


NOT_YET = Trouble("no answer yet", "wait longer, or check address and network")
NO_CONNACK = Trouble("no MQTT answer", "check that an MQTT broker listens on that port")
CLOSED_EARLY = Trouble(
    "a connection closed before the MQTT answer", "check the port, and mqtt:// against mqtts://"
)
SUBSCRIBE_REFUSED = Trouble("a refused subscription", "check the broker's access rules", True)

# exception -> (cause, advice); the first match counts, so that narrow ones stand first
_EXCEPTIONS: tuple[tuple[type[BaseException], str, str], ...] = (
    (ConnectionRefusedError, "connection refused", "start the broker or check the port"),
    (ConnectionResetError, "connection reset", "check that a broker listens there"),
    (socket.gaierror, "unknown host name", "check the name and the DNS of this machine"),
    (TimeoutError, "no answer", "check address, firewall and route"),
    (
        ssl.SSLCertVerificationError,
        "a certificate that is not accepted",
        "check this machine's clock, then the CA file",
    ),
    (ssl.SSLError, "failed TLS negotiation", "check mqtts:// against the broker's port"),
    (OSError, "a network error", "check address and network"),
    (ValueError, "a refused setting", "check the broker URL and the will"),
)

_REFUSALS = {
    UNSUPPORTED_VERSION: "it speaks neither MQTT 5 nor 3.1.1; use another broker",
    0x85: "choose another client id",
    0x86: "check user name and password",
    0x87: "check the broker's access rules for this user",
    0x88: "the broker is overloaded or starting; wait",
    0x89: "the broker is busy; wait",
    0x8A: "this client is banned; ask the broker's operator",
    0x8C: "check how the broker authenticates clients",
    SESSION_TAKEN_OVER: "another client uses this client id; give each its own",
    0x95: "raise max_packet_size at the broker",
    0x97: "raise the broker's quota",
    0x9F: "the broker limits connection attempts; wait",
}


def from_exception(error: BaseException) -> Trouble:
    """Say in our words what a foreign exception means."""
    for kind, cause, advice in _EXCEPTIONS:
        if isinstance(error, kind):
            return Trouble(f"{cause}: {error}", advice)
    return Trouble(f"{type(error).__name__}: {error}", "report it; this should not happen")


def from_reason_code(code: int, name: str) -> Trouble:
    """Say in our words why the broker refused or ended a connection."""
    advice = _REFUSALS.get(code, "ask the broker's operator, or read its log")
    return Trouble(f"refusal 0x{code:02x}, {name}", advice, refused=True, code=code)
