"""The device's own key and certificate: made here, and the key never leaves.

P-256, RFC 5915 and 2986. Imports cryptography only when it is used. `python -m
firmware_bridge.certificates` does for the daemon, in a child process, what would cost an idle one
nine megabytes. Leaves asking for certificates to `enroll_online` and `agent.renewal`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timezone
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_bridge.wire.errors import BridgeError, StoreError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

PEM_CAP_BYTES = 16_384


@dataclass(frozen=True)
class Lifetime:
    """When a certificate holds, in seconds since 1970."""

    begins_s: float
    ends_s: float

    @property
    def renew_s(self) -> float:
        """When two thirds of it are over."""
        return self.begins_s + (self.ends_s - self.begins_s) * 2 / 3


def ensure_key(path: Path) -> bool:
    """Make a private key at `path`, mode 0600; one that is there is kept.

    Returns:
        Whether it is new.

    Raises:
        StoreError: It cannot be written, or what is there is no such key or open to others.
    """
    if path.exists():
        _load_key(path)
        return False
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    raw = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(descriptor)
        os.replace(part, path)
    except OSError as error:
        raise StoreError(
            f"expected to write a key at {path}, got {error.strerror}; run this with sudo, or "
            "name another --state-dir"
        ) from error
    return True


def signing_request(key_path: Path, name: str) -> str:
    """A signing request for the key, under this name (PEM).

    Raises:
        StoreError: The key cannot be used.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = made.sign(_load_key(key_path), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def check_certificate(certificate: bytes, authority: bytes, key_path: Path, name: str) -> Lifetime:
    """See that a certificate is for this key and name, and signed by this authority.

    Raises:
        StoreError: It is not; says what is wrong.
    """
    with _sound():
        found, signer = _load_certificate(certificate), _load_certificate(authority)
        names = _common_names(found)
        if names != [name]:
            raise StoreError(f"expected a certificate for {name}, got one for {', '.join(names)}")
        if _spki(found.public_key()) != _spki(_load_key(key_path).public_key()):
            raise StoreError("expected a certificate for this board's key, got one for another")
        if not _has_signed(signer, found):
            raise StoreError("expected a certificate that the authority has signed, it has not")
        return _lifetime(found)


class Signer:
    """The key of a certificate, to sign statements with (ECDSA, P-256, SHA-256).

    Attributes:
        certificate: The certificate (PEM).
        key_id: SHA-256 of its public key: SubjectPublicKeyInfo in DER, in hex.
    """

    def __init__(self, key: EllipticCurvePrivateKey, certificate: str) -> None:
        self._key = key
        self.certificate = certificate
        self.key_id = hashlib.sha256(_spki(key.public_key())).hexdigest()

    @classmethod
    def load(cls, certificate: Path, key: Path) -> Signer:
        """Read both.

        Raises:
            StoreError: One cannot be read, or they do not belong together.
        """
        pem, private = _read(certificate), _load_key(key)
        if _spki(_load_certificate(pem).public_key()) != _spki(private.public_key()):
            raise StoreError("expected a certificate for the key of this board, got another's")
        return cls(private, pem.decode("ascii", "replace"))

    def sign(self, message: bytes) -> bytes:
        """The signature, in DER."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        return self._key.sign(message, ec.ECDSA(hashes.SHA256()))


def lifetime_of(path: Path) -> Lifetime:
    """When the certificate in a file holds.

    Raises:
        StoreError: It cannot be read.
    """
    with _sound():
        return _lifetime(_load_certificate(_read(path)))


def main(words: Sequence[str] | None = None) -> int:
    """What the daemon asks of a child; prints one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m firmware_bridge.certificates")
    parser.add_argument("task", choices=("look", "check"))
    for name in ("certificate", "key", "authority"):
        parser.add_argument(name, type=Path)
    parser.add_argument("name")
    given = parser.parse_args(words)
    try:
        if given.task == "look":
            lifetime = lifetime_of(given.certificate)
            answer = {**asdict(lifetime), "csr": signing_request(given.key, given.name)}
        else:
            new = sys.stdin.buffer.read(PEM_CAP_BYTES)
            checked = check_certificate(new, _read(given.authority), given.key, given.name)
            answer = dict(asdict(checked))
    except (BridgeError, ImportError) as error:
        answer = {"flaw": str(error)}
    json.dump(answer, sys.stdout)
    return 0


def _load_key(path: Path) -> EllipticCurvePrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    raw = _read(path)
    if path.stat().st_mode & 0o077:
        raise StoreError(f"{path}: expected a key only its owner may read; run chmod 600")
    try:
        key = load_pem_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StoreError(f"{path}: expected a P-256 key, got: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise StoreError(f"{path}: expected a P-256 key, got another kind")
    return key


@contextlib.contextmanager
def _sound() -> Iterator[None]:
    """What is no certificate is refused as one; some of it shows only when a part is asked for."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509 import InvalidVersion

    try:
        yield
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidVersion) as error:
        raise StoreError(f"expected a certificate (PEM), got: {error}") from error


def _load_certificate(pem: bytes) -> x509.Certificate:
    from cryptography import x509

    return x509.load_pem_x509_certificate(pem)


def _common_names(certificate: x509.Certificate) -> list[str]:
    from cryptography.x509.oid import NameOID

    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return [str(each.value) for each in found]


def _has_signed(signer: x509.Certificate, signed: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec

    public, digest = signer.public_key(), signed.signature_hash_algorithm
    if not isinstance(public, ec.EllipticCurvePublicKey) or digest is None:
        return False
    try:
        public.verify(signed.signature, signed.tbs_certificate_bytes, ec.ECDSA(digest))
    except InvalidSignature:
        return False
    return True


def _lifetime(certificate: x509.Certificate) -> Lifetime:
    try:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except AttributeError:  # before cryptography 42
        begins = certificate.not_valid_before.replace(tzinfo=timezone.utc)
        ends = certificate.not_valid_after.replace(tzinfo=timezone.utc)
    return Lifetime(begins.timestamp(), ends.timestamp())


def _spki(key: object) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(PEM_CAP_BYTES)
    except OSError as error:
        raise StoreError(f"expected to read {path}, got {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
