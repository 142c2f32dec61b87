"""The fleet's certificate authority: signs for the broker, the host and the devices, and revokes.

A dedicated one: whatever the broker trusts can name itself any device. P-256 throughout, X.509 and
revocation lists by RFC 5280, signing requests by RFC 2986. Of a request only the key is taken; name
and extensions are written here. Pure but for randomness: leaves files to `folder`, and who is
entitled to what to `edgenas.fleet`.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgenas.site.errors import RequestRefusedError, SiteError

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365.0
BACK_DATED = timedelta(hours=24)  # boards without a clock of their own are behind
REQUEST_CAP_BYTES = 4096

_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
_PEM = serialization.Encoding.PEM
# What cryptography raises for what is no sound request; that of a version is no ValueError.
_NOT_SOUND = (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was made.

    Attributes:
        pem: The certificate.
        serial: Its serial number in lower-case hex.
        ends_ms: When it ends, in milliseconds since 1970.
    """

    pem: bytes
    serial: str
    ends_ms: int


@dataclass(frozen=True, slots=True)
class Request:
    """What a signing request says, its signature checked.

    Attributes:
        name: The common name it asks for.
        key: Its public key: SubjectPublicKeyInfo in DER.
    """

    name: str
    key: bytes

    @property
    def key_sha256(self) -> str:
        """Digest of the public key, in hex."""
        return hashlib.sha256(self.key).hexdigest()


def read_request(pem: bytes) -> Request:
    """Read a signing request from outside.

    Raises:
        RequestRefusedError: Too long, malformed, of another kind of key, not signed by that key, or
            without exactly one common name.
    """
    if len(pem) > REQUEST_CAP_BYTES:
        raise RequestRefusedError(
            f"signing request: expected at most {REQUEST_CAP_BYTES} B, got {len(pem)}"
        )
    try:
        request = x509.load_pem_x509_csr(pem)
        key, signed = request.public_key(), request.is_signature_valid
        names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except _NOT_SOUND as error:
        raise RequestRefusedError(f"signing request: expected PEM, got: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RequestRefusedError("signing request: expected a P-256 key, got another kind")
    if not signed:
        raise RequestRefusedError("signing request: expected it signed by its own key, it is not")
    if len(names) != 1 or len(request.subject) != 1:
        raise RequestRefusedError("signing request: expected one common name and nothing else")
    return Request(str(names[0].value), _public_der(key))


class Authority:
    """Holds the authority's private key. Made by `create` or `load`."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def create(cls, name: str, now: datetime) -> Authority:
        """Make a new authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        ends = now + timedelta(days=AUTHORITY_DAYS)
        made = _builder(subject, subject, key.public_key(), key.public_key(), now, ends)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(_allowed("key_cert_sign", "crl_sign"), critical=True)
        return cls(key, made.sign(key, hashes.SHA256()))

    @classmethod
    def load(cls, key_pem: bytes, certificate_pem: bytes) -> Authority:
        """Take an existing authority up.

        Raises:
            SiteError: Not a P-256 key and its certificate.
        """
        try:
            key = serialization.load_pem_private_key(key_pem, password=None)
            certificate = x509.load_pem_x509_certificate(certificate_pem)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SiteError(f"expected an authority's key and certificate, got: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SiteError("expected a P-256 key of an authority, got another kind")
        if _public_der(key.public_key()) != _public_der(certificate.public_key()):
            raise SiteError("expected an authority's certificate for its key, got one for another")
        return cls(key, certificate)

    @property
    def certificate_pem(self) -> bytes:
        """Its certificate, which everybody trusts."""
        return self._certificate.public_bytes(_PEM)

    @property
    def key_pem(self) -> bytes:
        """Its private key, which nobody else may see."""
        return private_pem(self._key)

    def issue(self, name: str, key: bytes, now: datetime, days: float = CERTIFICATE_DAYS) -> Issued:
        """A client's certificate: for a device, or for the host.

        Args:
            name: Common name; to the broker it is the user and the client id.
            key: Public key, SubjectPublicKeyInfo in DER.
            now: The time; the certificate begins a day before it.
            days: How long it holds from now on.
        """
        public = serialization.load_der_public_key(key)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        return self._sign(self._leaf(name, public, now, days, ExtendedKeyUsageOID.CLIENT_AUTH))

    def issue_server(
        self, names: Sequence[str], now: datetime, days: float = CERTIFICATE_DAYS
    ) -> tuple[Issued, bytes]:
        """A broker's certificate and its new private key (PEM).

        Args:
            names: Host names and addresses that it is reached by, at least one.
            now: The time; the certificate begins a day before it.
            days: How long it holds from now on.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._leaf(names[0], key.public_key(), now, days, ExtendedKeyUsageOID.SERVER_AUTH)
        made = made.add_extension(_reached_by(names), critical=False)
        return self._sign(made), private_pem(key)

    def issue_with_key(self, name: str, now: datetime, days: float) -> tuple[Issued, bytes]:
        """A client's certificate and a new private key (PEM), for a client on this machine."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self.issue(name, _public_der(key.public_key()), now, days), private_pem(key)

    def revocations(
        self, revoked: Mapping[str, datetime], now: datetime, previous: bytes | None = None
    ) -> bytes:
        """The list of revoked certificates (PEM), as long as the authority lives.

        It never grows too old: its only reader is the broker, which gets each new one at once, and
        would lock every device out on the day that a list expires. Each is dated after the one
        before: of two lists OpenSSL believes the younger one, and it counts whole seconds.

        Args:
            revoked: Serial number in hex to when it was revoked.
            now: The time.
            previous: The list before this one.
        """
        dated = now - BACK_DATED
        if previous is not None:
            before = x509.load_pem_x509_crl(previous).last_update_utc
            dated = max(dated, before + timedelta(seconds=1))
        ends = self._certificate.not_valid_after_utc
        made = x509.CertificateRevocationListBuilder().issuer_name(self._certificate.subject)
        made = made.last_update(dated).next_update(ends)
        made = made.add_extension(self._issuer_key(), critical=False)
        made = made.add_extension(x509.CRLNumber(int(dated.timestamp())), critical=False)
        for serial, when in revoked.items():
            entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16))
            made = made.add_revoked_certificate(entry.revocation_date(when).build())
        return made.sign(self._key, hashes.SHA256()).public_bytes(_PEM)

    def _issuer_key(self) -> x509.AuthorityKeyIdentifier:
        public = self._key.public_key()
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)

    def _leaf(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        now: datetime,
        days: float,
        use: x509.ObjectIdentifier,
    ) -> x509.CertificateBuilder:
        ends = min(now + timedelta(days=days), self._certificate.not_valid_after_utc)
        issuer = self._certificate.subject
        made = _builder(_name(name), issuer, key, self._key.public_key(), now, ends)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        made = made.add_extension(_allowed("digital_signature"), critical=True)
        return made.add_extension(x509.ExtendedKeyUsage([use]), critical=False)

    def _sign(self, made: x509.CertificateBuilder) -> Issued:
        signed = made.sign(self._key, hashes.SHA256())
        ends_ms = round(signed.not_valid_after_utc.timestamp() * 1000)
        return Issued(signed.public_bytes(_PEM), f"{signed.serial_number:x}", ends_ms)


def self_signed(names: Sequence[str], now: datetime, days: float) -> tuple[bytes, bytes]:
    """A server's certificate and key (PEM) that nobody vouches for; its digest is told otherwise.

    Args:
        names: Host names and addresses that it is reached by, at least one.
        now: The time; the certificate begins a day before it.
        days: How long it holds from now on.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject, public = _name(names[0]), key.public_key()
    made = _builder(subject, subject, public, public, now, now + timedelta(days=days))
    made = made.add_extension(_reached_by(names), critical=False)
    return made.sign(key, hashes.SHA256()).public_bytes(_PEM), private_pem(key)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM, not encrypted."""
    plain = serialization.NoEncryption()
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, plain)


def certificate_sha256(pem: bytes) -> str:
    """Digest of a certificate's DER form, in hex: what a pin is compared with."""
    certificate = x509.load_pem_x509_certificate(pem)
    return certificate.fingerprint(hashes.SHA256()).hex()


def needs_renewal(pem: bytes, now: datetime) -> bool:
    """Whether two thirds of a certificate's life are over."""
    certificate = x509.load_pem_x509_certificate(pem)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now >= begins + (ends - begins) * 2 / 3


def names_of(pem: bytes) -> tuple[str, ...]:
    """Host names and addresses that a server's certificate is for."""
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        kind = x509.SubjectAlternativeName
        names = certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)


def revoked_in(pem: bytes) -> dict[str, datetime]:
    """Serial number in hex to when it was revoked, of every certificate on a list."""
    entries = x509.load_pem_x509_crl(pem)
    return {f"{entry.serial_number:x}": entry.revocation_date_utc for entry in entries}


def now_utc() -> datetime:
    """The time by this machine's clock, in whole seconds as certificates have it."""
    return datetime.now(UTC).replace(microsecond=0)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    now: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACK_DATED)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(identifier, critical=False)
    )


def _allowed(*uses: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in uses for use in _USES})


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _reached_by(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _public_der(key: object) -> bytes:
    assert isinstance(key, ec.EllipticCurvePublicKey)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)
