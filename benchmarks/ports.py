"""Loopback ports for servers that benchmarks start.

From a range below the one that outgoing connections are given: a client that tries such a port in
vain again and again is sooner or later given it as its own.
"""

from __future__ import annotations

import socket

_FIRST_PORT, _PORTS = 20_000, 8_000


def free_port() -> int:
    """A port on which nobody listens.

    Raises:
        RuntimeError: There is none.
    """
    for port in range(_FIRST_PORT, _FIRST_PORT + _PORTS):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("expected a free loopback port, found none")


def listens(port: int) -> bool:
    """Whether somebody does."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True
