"""Messages that renew a device's certificate: a signing request up, a certificate down.

Reading what is in them is left to the host's authority and to the device's `certificates`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.values import CONTROL_CAP_BYTES

PEM_CAP = 8192


def check_pem(text: str, what: str) -> str:
    """Return ``text`` if it can be one PEM object, or several, of at most 8 KiB.

    Raises:
        InvalidValueError: It cannot.
    """
    if len(text) > PEM_CAP or not text.isascii() or not text.startswith("-----BEGIN "):
        raise InvalidValueError(what, f"PEM of at most {PEM_CAP} characters", text)
    return text


@dataclass(frozen=True, kw_only=True)
class Csr:
    """A device asks for a new certificate for the key that it has (PEM, RFC 2986)."""

    kind: ClassVar[str] = "csr"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    pem: str

    def __post_init__(self) -> None:
        check_pem(self.pem, "csr")


@dataclass(frozen=True, kw_only=True)
class Cert:
    """A device's new certificate (PEM)."""

    kind: ClassVar[str] = "cert"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    pem: str

    def __post_init__(self) -> None:
        check_pem(self.pem, "cert")
