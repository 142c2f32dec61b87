"""What can go wrong with an authority or with mosquitto; the tree is drawn in `edgenas.errors`."""

from edgenas.errors import EdgenasError


class SiteError(EdgenasError):
    """Root of this package's errors: a folder, a name or a program that cannot be used."""


class RequestRefusedError(SiteError):
    """A signing request that is malformed, or asks for what its sender may not have."""


class SignatureRefusedError(SiteError):
    """A signature or its certificate that the fleet's authority does not vouch for."""
