"""TLS settings of one side: whom to trust, and with which certificate to answer.

Leaves using them to `mqtt`, and what a certificate says to `doctor`.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.wire.errors import InvalidValueError, StoreError


@dataclass(frozen=True)
class TlsFiles:
    """Files in PEM form; all None means the system's trust and no certificate of one's own.

    Attributes:
        ca: Certificates of the authority that signs the broker's, None for the system's.
        certificate: Our certificate chain, for brokers that ask for one.
        key: Its private key.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            expected = "a certificate and its key, or neither"
            raise InvalidValueError("TLS files", expected, (self.certificate, self.key))

    def context(self) -> ssl.SSLContext | None:
        """A context for clients (TLS 1.2 or later), None if no file is named.

        Raises:
            StoreError: A file cannot be read, or does not hold what it should.
        """
        if self.ca is None and self.certificate is None:
            return None
        context = _trusting(self.ca)
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except (OSError, ssl.SSLError) as error:
                raise StoreError(
                    f"expected a certificate in {self.certificate} and its key in {self.key}, "
                    f"got: {error.strerror or error}; both are PEM, the key has no password"
                ) from error
        return context


def _trusting(authority: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise StoreError(
            f"expected certificates of an authority in {authority}, got: "
            f"{error.strerror or error}; name its PEM file"
        ) from error
