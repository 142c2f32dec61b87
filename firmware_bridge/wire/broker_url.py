"""Reads the address of a broker from a URL, and never shows the password in it.

Connecting is left to ``mqtt``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from firmware_bridge.wire.errors import InvalidValueError

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}

_CREDENTIALS = re.compile(r"//.*@")


@dataclass(frozen=True)
class BrokerAddress:
    """Where a broker listens; ``str()`` gives the URL without credentials.

    Attributes:
        host: Name or address.
        port: TCP port.
        tls: Encrypt (``mqtts``).
        username: User name, None for none.
        password: Password, None for none; not part of any text.
    """

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_broker_url(url: str) -> BrokerAddress:
    """Read ``mqtt://host:port`` or ``mqtts://user:password@host:port``.

    Without a port it is 1883, with TLS 8883.

    Raises:
        InvalidValueError: It is something else; the text leaves credentials out.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _not_a_broker(url) from error
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise _not_a_broker(url)
    if parts.path.strip("/") or parts.query or parts.fragment or port == 0:
        raise _not_a_broker(url)
    return BrokerAddress(
        host=parts.hostname,
        port=port or DEFAULT_PORTS[parts.scheme],
        tls=parts.scheme == "mqtts",
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def check_encrypted(address: BrokerAddress) -> None:
    """Refuse plain text where certificates were named: they would be passed over in silence.

    Raises:
        InvalidValueError: The address is not one of TLS.
    """
    if not address.tls:
        expected = "mqtts:// where certificates are named; leave them out for a broker without TLS"
        raise InvalidValueError("broker URL", expected, str(address))


def _not_a_broker(url: str) -> InvalidValueError:
    shown = _CREDENTIALS.sub("//***@", str(url))
    return InvalidValueError("broker URL", "mqtt://host:port or mqtts://host:port", shown)
