"""Whose key has signed a message, as far as the fleet's authority vouches for it.

ECDSA with P-256 and SHA-256, certificates by RFC 5280. Leaves what was signed, and whether the
certificate still counts, to `edgenas.fleet`.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgenas.site.errors import SignatureRefusedError

_NOT_SOUND = (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion)


@dataclass(frozen=True, slots=True)
class Signatory:
    """Who has signed something.

    Attributes:
        name: Common name in the certificate.
        serial: Its serial number in lower-case hex.
        begins_ms: When the certificate begins to hold, in milliseconds since 1970.
        ends_ms: When it ends.
    """

    name: str
    serial: str
    begins_ms: int
    ends_ms: int


def signatory(certificate: bytes, authority: bytes, message: bytes, signature: bytes) -> Signatory:
    """Who has signed a message: the authority has signed the certificate, its key the message.

    Args:
        certificate: PEM, from outside.
        authority: Certificate of the authority (PEM).
        message: The bytes that were signed.
        signature: In DER.

    Raises:
        SignatureRefusedError: One of them has not; says which.
    """
    try:
        found = x509.load_pem_x509_certificate(certificate)
        public, signer = found.public_key(), _signatory(found)
    except _NOT_SOUND as error:
        raise SignatureRefusedError(f"expected a certificate (PEM), got: {error}") from error
    try:
        found.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
    except _NOT_SOUND as error:
        raise SignatureRefusedError(
            "expected a certificate that the fleet's authority has signed, it has not"
        ) from error
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise SignatureRefusedError("expected a certificate for a P-256 key, got another kind")
    try:
        public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except _NOT_SOUND as error:
        raise SignatureRefusedError(
            "expected a signature by the key of the certificate, it is by another"
        ) from error
    return signer


def _signatory(found: x509.Certificate) -> Signatory:
    names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Signatory(
        name=",".join(str(each.value) for each in names),
        serial=f"{found.serial_number:x}",
        begins_ms=round(found.not_valid_before_utc.timestamp() * 1000),
        ends_ms=round(found.not_valid_after_utc.timestamp() * 1000),
    )
