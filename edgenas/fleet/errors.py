"""What can go wrong with the fleet on the host's side; the tree is drawn in `edgenas.errors`.

Leaves a candidate's failure and a device's failure out: those are values with a code.
"""

from collections.abc import Sequence

from edgenas.errors import EdgenasError


class FleetError(EdgenasError):
    """Root of this package's errors."""


class ShelfError(FleetError):
    """A file that cannot be put on the shelf, or a digest that is not on it."""


class FleetJournalError(FleetError):
    """The host's database cannot be opened, or does not take a change."""


class ReleaseError(FleetError):
    """A release that cannot be built, signed or offered."""


class EnrolmentRefusedError(FleetError):
    """An invitation, a request or a revocation that cannot be carried out as it was asked for."""


class KeyFileError(FleetError):
    """A key file that cannot be read, written or trusted."""


class HeadError(FleetError):
    """What devices have learnt cannot be read, kept, merged or shipped."""


class LocalDeviceError(FleetError):
    """A local device process that did not start, or died early."""


class FleetStoppedError(FleetError):
    """The host part has stopped; the cause is in the text and in `__cause__`."""


class DevicesMissingError(FleetError):
    """Devices that were waited for did not come online in time.

    Attributes:
        missing: Ids that did not come.
        online: Ids that are online.
    """

    def __init__(self, missing: Sequence[str], online: Sequence[str], text: str) -> None:
        super().__init__(text)
        self.missing = tuple(missing)
        self.online = tuple(online)
