"""Signs and checks bytes: a DSSE envelope with Ed25519 signatures.

Follows the DSSE v1 pre-authentication encoding (github.com/secure-systems-lab/dsse) and
RFC 8032; the envelope spells the type ``payload_type``. This is the only module that
imports cryptography, and not before it is needed: a daemon may idle for weeks, and that
package takes about 9 MiB of a small board. Where it is missing the module still imports, but
nothing verifies: there is no unsigned mode. What the signed bytes mean is left to ``release``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firmware_bridge.wire.errors import (
    DecodeError,
    InvalidValueError,
    OverCapError,
    SignatureInvalidError,
    StoreError,
    VerifierMissingError,
)
from firmware_bridge.wire.values import CONTROL_CAP_BYTES, MANIFEST_CAP_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_BYTES = 32
SIGNATURE_BYTES = 64
SIGNATURES_CAP = 4
KEY_FILE_CAP_BYTES = 4096
# SubjectPublicKeyInfo of Ed25519 (RFC 8410): these bytes, then the raw key
_PUBLIC_PREFIX = bytes.fromhex("302a300506032b6570032100")
_PUBLIC_BEGIN, _PUBLIC_END = b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----"


def can_verify() -> bool:
    """Whether signatures can be checked here (the cryptography package is installed)."""
    return find_spec("cryptography") is not None


def key_id(public: bytes) -> str:
    """Return the id of a raw public key: its SHA-256 in hex."""
    return hashlib.sha256(public).hexdigest()


class SigningKey:
    """An Ed25519 private key. Made by :meth:`generate` or :meth:`load`."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key.

        Raises:
            VerifierMissingError: The cryptography package is missing.
        """
        _check_present()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a key that :meth:`save` wrote (PEM, PKCS 8, not encrypted).

        Raises:
            StoreError: The file cannot be read, or others may read it.
            SignatureInvalidError: The file holds no such key.
        """
        _check_present()
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        raw = _read_key_file(path)
        if path.stat().st_mode & 0o077:
            raise StoreError(f"{path}: expected a key only its owner may read; run chmod 600")
        try:
            private = load_pem_private_key(raw, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SignatureInvalidError(f"{path}: expected an Ed25519 key: {error}") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise SignatureInvalidError(f"{path}: expected an Ed25519 key, got another kind")
        return cls(private)

    def save(self, path: Path) -> None:
        """Write the private key to a new file with mode 0600.

        Raises:
            StoreError: The file exists, or cannot be written.
        """
        from cryptography.hazmat.primitives import serialization

        raw = self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write_new(path, raw, 0o600)

    def save_public(self, path: Path) -> None:
        """Write the public key (PEM) to a new file, for devices to verify with.

        Raises:
            StoreError: The file exists, or cannot be written.
        """
        body = base64.b64encode(_PUBLIC_PREFIX + self.public_bytes)
        _write_new(path, b"\n".join((_PUBLIC_BEGIN, body, _PUBLIC_END, b"")), 0o644)

    @property
    def public_bytes(self) -> bytes:
        """Raw public key, 32 B."""
        from cryptography.hazmat.primitives import serialization

        return self._private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )

    @property
    def key_id(self) -> str:
        """Id of the public key."""
        return key_id(self.public_bytes)

    def sign(self, payload: bytes, payload_type: str) -> dict[str, Any]:
        """Return a DSSE envelope around ``payload``, ready for JSON.

        Raises:
            OverCapError: The payload is larger than a manifest may be.
        """
        if len(payload) > MANIFEST_CAP_BYTES:
            raise OverCapError("signed payload", MANIFEST_CAP_BYTES, len(payload))
        signature = self._private.sign(pre_authentication_encoding(payload_type, payload))
        return {
            "payload": base64.b64encode(payload).decode(),
            "payload_type": payload_type,
            "signatures": [{"keyid": self.key_id, "sig": base64.b64encode(signature).decode()}],
        }


def load_verify_key(path: Path) -> tuple[str, bytes]:
    """Read a public key (PEM) and return ``(keyid, raw key)``.

    Raises:
        StoreError: The file cannot be read.
        SignatureInvalidError: The file holds no Ed25519 public key.
    """
    _, begin, rest = _read_key_file(path).partition(_PUBLIC_BEGIN)
    body, end, _ = rest.partition(_PUBLIC_END)
    if not begin or not end:
        raise SignatureInvalidError(f"{path}: expected a PEM public key, got none in the file")
    try:
        info = base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise SignatureInvalidError(f"{path}: expected a PEM public key: {error}") from error
    key = info.removeprefix(_PUBLIC_PREFIX)
    if len(key) != KEY_BYTES or len(info) != len(_PUBLIC_PREFIX) + KEY_BYTES:
        raise SignatureInvalidError(f"{path}: expected an Ed25519 key, got another kind")
    return key_id(key), key


def verify(
    envelope: Mapping[str, Any], keys: Mapping[str, bytes], payload_type: str | None = None
) -> bytes:
    """Return the payload of an envelope that one of ``keys`` signed.

    Args:
        envelope: Parsed DSSE envelope.
        keys: Trusted keys, key id to raw public key (32 B).
        payload_type: The only type to accept; None accepts any.

    Raises:
        VerifierMissingError: The cryptography package is missing.
        SignatureInvalidError: Malformed, of another type, or no trusted signature is valid.
    """
    _check_present()
    try:
        payload, found_type, signatures = _take_apart(envelope)
    except (InvalidValueError, DecodeError, OverCapError) as error:
        raise SignatureInvalidError(f"envelope: {error}") from error
    if payload_type is not None and found_type != payload_type:
        raise SignatureInvalidError(f"expected type {payload_type}, got {found_type[:80]!r}")
    message = pre_authentication_encoding(found_type, payload)
    if any(
        _is_valid(keys[keyid], signature, message)
        for keyid, signature in signatures
        if keyid in keys
    ):
        return payload
    signers = ", ".join(keyid[:12] for keyid, _ in signatures) or "nobody"
    raise SignatureInvalidError(
        f"expected a valid signature by one of {len(keys)} trusted keys, "
        f"got signatures by {signers}; nothing was installed"
    )


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: DSSE's PAE of type and payload."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _check_present() -> None:
    """Make sure that cryptography can be imported, not only that it is there."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError as error:
        raise VerifierMissingError(
            f"signatures need the cryptography package, got: {error}; install it"
        ) from error


def _take_apart(envelope: Mapping[str, Any]) -> tuple[bytes, str, list[tuple[str, bytes]]]:
    payload_type = _text(envelope, "payload_type")
    payload = _decoded(envelope, "payload")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, (list, tuple)) or not 1 <= len(signatures) <= SIGNATURES_CAP:
        raise InvalidValueError("signatures", f"a list of 1 to {SIGNATURES_CAP}", signatures)
    return payload, payload_type, [_signature(entry) for entry in signatures]


def _signature(entry: Any) -> tuple[str, bytes]:
    if not isinstance(entry, Mapping):
        raise InvalidValueError("signature", "an object with keyid and sig", entry)
    return _text(entry, "keyid"), _decoded(entry, "sig")


def _text(source: Mapping[str, Any], name: str) -> str:
    value = source.get(name)
    if not isinstance(value, str):
        raise InvalidValueError(name, "a string", value)
    if len(value) > CONTROL_CAP_BYTES:
        raise OverCapError(name, CONTROL_CAP_BYTES, len(value))
    return value


def _decoded(source: Mapping[str, Any], name: str) -> bytes:
    text = _text(source, name)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValueError(name, "base64", text) from error


def _is_valid(key: bytes, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _read_key_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(KEY_FILE_CAP_BYTES + 1)
    except OSError as error:
        raise StoreError(f"{path}: expected a readable key file, got {error.strerror}") from error
    if len(raw) > KEY_FILE_CAP_BYTES:
        raise StoreError(f"{path}: expected a key of at most {KEY_FILE_CAP_BYTES} B; wrong file?")
    return raw


def _write_new(path: Path, raw: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise StoreError(f"{path}: expected to write a new file, got {error.strerror}") from error
