"""Makes a certificate authority and certificates for tests: right ones, and ones with one fault.

Brokers and clients that use them are left to the tests.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from firmware_bridge.wire.tls import TlsFiles

DAY = datetime.timedelta(days=1)
_USES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip
_SIGNS = x509.KeyUsage(**{use: use in ("key_cert_sign", "crl_sign") for use in _USES})


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@dataclass
class Authority:
    """Signs certificates into `folder`."""

    folder: Path
    common: str = "test authority"

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        made = self._builder(self.common, self._key, now - 900 * DAY, now + 900 * DAY)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        made = made.add_extension(_SIGNS, critical=True)
        self.certificate = self.folder / f"{self.common.replace(' ', '-')}.pem"
        signed = made.sign(self._key, hashes.SHA256())
        self.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, common: str, starts_days: float = -1, ends_days: float = 365, address: str = ""
    ) -> TlsFiles:
        """A certificate and its key; `address` is what a server is reached by."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        made = self._builder(common, key, now + starts_days * DAY, now + ends_days * DAY)
        if address:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            made = made.add_extension(names, critical=False)
        chain, secret = self.folder / f"{common}.pem", self.folder / f"{common}.key"
        signed = made.sign(self._key, hashes.SHA256())
        chain.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(_private_pem(key))
        secret.chmod(0o600)
        return TlsFiles(self.certificate, chain, secret)

    def _builder(
        self,
        common: str,
        key: ec.EllipticCurvePrivateKey,
        starts: datetime.datetime,
        ends: datetime.datetime,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common))
            .issuer_name(_name(self.common))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(starts)
            .not_valid_after(ends)
            # what strict verification (the default from Python 3.13 on) asks for
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
        )


def broker_lines(server: TlsFiles) -> list[str]:
    """Settings of a mosquitto that shows this certificate."""
    return [f"certfile {server.certificate}", f"keyfile {server.key}"]


def mutual_lines(server: TlsFiles, acl: Path) -> list[str]:
    """Settings of a mosquitto as a fleet should have it: clients are who their certificate says."""
    return [
        *broker_lines(server),
        f"cafile {server.ca}",
        "require_certificate true",
        "use_identity_as_username true",
        "allow_anonymous false",
        f"acl_file {acl}",
    ]
