"""Decides whether an address is safe for a broker without TLS, passwords and access rules.

Any other address needs a word of its own from whoever starts it.

Opening the socket is left to `server`.
"""

import ipaddress
import socket

from edgenas.broker.errors import BrokerStartError, NotLoopbackError


def loopback_address(host: str) -> str:
    """Returns the numeric loopback address `host` stands for; only that one may be bound.

    Raises:
        NotLoopbackError: `host` is, or may resolve to, anything but loopback.
    """
    if not host:
        raise NotLoopbackError(host, "an empty host means every interface")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotLoopbackError(host, f"it does not resolve: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            raise NotLoopbackError(host, f"that is {address}")
    return next((address for address in addresses if ":" not in address), addresses[0])


def open_address(host: str) -> str:
    """The numeric address `host` stands for, whichever it is; everything, for an empty host.

    Raises:
        BrokerStartError: it does not resolve.
    """
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise BrokerStartError(f"expected an address of this machine, got {host!r}: {error}") from (
            error
        )
    return str(found[0][4][0])


def broker_url(address: str, port: int) -> str:
    """Returns the URL clients use."""
    return f"mqtt://[{address}]:{port}" if ":" in address else f"mqtt://{address}:{port}"
