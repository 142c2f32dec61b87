"""Messages by which a device is asked what it runs, and answers with its signature.

The answer is a DSSE envelope (see ``signing``) whose signature is ECDSA with P-256 and SHA-256 over
the pre-authentication encoding. What is in it is left to ``inventory``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from firmware_bridge.wire.credentials import check_pem
from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.values import CONTROL_CAP_BYTES

NONCE_CAP = 64


@dataclass(frozen=True, kw_only=True)
class SignedInventory:
    """A statement on its way (retained), with the certificate of the key that signed it.

    Attributes:
        envelope: DSSE envelope around `Inventory.to_bytes`; its key id is the SHA-256 of the
            certificate's public key (SubjectPublicKeyInfo in DER).
        certificate: The device's certificate (PEM).
    """

    kind: ClassVar[str] = "inventory"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    envelope: Mapping[str, object]
    certificate: str

    def __post_init__(self) -> None:
        check_pem(self.certificate, "certificate")


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Asks a device for a new statement that holds this nonce."""

    kind: ClassVar[str] = "inspect"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    nonce: str

    def __post_init__(self) -> None:
        check_nonce(self.nonce)


def check_nonce(text: str) -> str:
    """Return ``text`` if it can be a nonce: 16 to 64 lower-case hex digits.

    Raises:
        InvalidValueError: It cannot.
    """
    if not 16 <= len(text) <= NONCE_CAP or set(text) - set("0123456789abcdef"):
        raise InvalidValueError("nonce", f"16 to {NONCE_CAP} lower-case hex digits", text)
    return text
