"""Checks of the way to the broker, one step at a time: address, name, TCP, TLS.

The first step that fails is the finding; the later ones could only fail for the same reason. What
the broker says once reached is left to ``rights``.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing

from firmware_bridge.doctor.clock import SYNCHRONISE, say
from firmware_bridge.doctor.finding import Finding, flaw, ok
from firmware_bridge.wire.broker_url import BrokerAddress, check_encrypted, parse_broker_url
from firmware_bridge.wire.errors import InvalidValueError

TIMEOUT_S = 5.0
SOON_S = 30 * 86_400.0
# X509_V_ERR_* of OpenSSL
_NOT_YET_VALID = (9,)
_EXPIRED = (10,)
_WRONG_NAME = (62, 64)


def check_way(
    url: str, context: ssl.SSLContext | None = None, now_s: float | None = None
) -> Iterator[Finding]:
    """Findings of every step up to the first that fails.

    Args:
        url: The broker's.
        context: TLS settings; None takes the system's, as the daemon does.
        now_s: What the clock says, seconds since the epoch; None asks it.
    """
    try:
        address = parse_broker_url(url)
        if context is not None:
            check_encrypted(address)
    except InvalidValueError as error:
        yield flaw("broker", "broker-address", str(error), "correct --broker (EDGENAS_BROKER)")
        return
    name = _check_name(address)
    yield name
    if name.status == "fail":
        return
    try:
        connection = socket.create_connection((address.host, address.port), TIMEOUT_S)
    except OSError as error:
        yield _tcp_flaw(address, error)
        return
    with closing(connection):
        yield ok("tcp", f"{address.host}:{address.port} answers")
        if address.tls:
            now_s = time.time() if now_s is None else now_s
            yield _check_tls(connection, address, context or ssl.create_default_context(), now_s)


def judge_certificate(error: ssl.SSLCertVerificationError, host: str, now_s: float) -> Finding:
    """Why the broker's certificate was not accepted, told apart by what helps.

    Args:
        error: From the handshake.
        host: Name that was asked for.
        now_s: What the clock says, seconds since the epoch.
    """
    code, text = error.verify_code, error.verify_message
    if code in _NOT_YET_VALID:
        cause = f"the clock is wrong: at {say(now_s)} the broker's certificate is not yet valid"
        return flaw("tls", "clock-wrong", cause, SYNCHRONISE)
    if code in _EXPIRED:
        cause = f"the broker's certificate has expired; the clock says {say(now_s)}"
        return flaw("tls", "tls-expired", cause, "renew it at the broker, if that date is right")
    if code in _WRONG_NAME:
        cause = f"the broker's certificate is not for {host}: {text}"
        advice = "use the name in the certificate, or issue one that has this name"
        return flaw("tls", "tls-wrong-name", cause, advice)
    cause = f"the broker's certificate is not signed by an authority that is known here: {text}"
    advice = "name your authority's certificate with --tls-ca (EDGENAS_TLS_CA)"
    return flaw("tls", "tls-untrusted", cause, advice)


def _check_name(address: BrokerAddress) -> Finding:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        cause = f"{address.host} cannot be resolved: {error.strerror or error}"
        advice = "check the spelling and this board's DNS (resolvectl query), or use an address"
        return flaw("name", "name-unknown", cause, advice)
    addresses = sorted({str(each[4][0]) for each in found})
    return ok("name", f"{address.host} is {', '.join(addresses)}")


def _tcp_flaw(address: BrokerAddress, error: OSError) -> Finding:
    cause = f"no TCP connection to {address.host}:{address.port}: {error.strerror or error}"
    return flaw("tcp", "tcp-failed", cause, "check address, firewall and that the broker runs")


def _check_tls(
    connection: socket.socket, address: BrokerAddress, context: ssl.SSLContext, now_s: float
) -> Finding:
    try:
        with context.wrap_socket(connection, server_hostname=address.host) as secured:
            certificate, version = secured.getpeercert() or {}, secured.version()
    except ssl.SSLCertVerificationError as error:
        return judge_certificate(error, address.host, now_s)
    except OSError as error:  # ssl.SSLError is one
        cause = f"no TLS with {address.host}:{address.port}: {error}"
        advice = "check that this port speaks TLS (8883), and use mqtt:// where it does not"
        return flaw("tls", "tls-failed", cause, advice)
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    if ends - now_s < SOON_S:
        cause = f"the broker's certificate ends on {say(ends)}"
        return flaw("tls", "tls-expires-soon", cause, "renew it at the broker")
    return ok("tls", f"{version}, certificate until {say(ends)}")
