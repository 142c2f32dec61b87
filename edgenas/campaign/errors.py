"""What ends a campaign.

CampaignError
|-- RunFolderError      a run folder lacks a file that an earlier step writes, or holds another run
|-- NothingFitsError    no measured network meets a device's budget
`-- MeasuringError      devices stopped answering
"""

from __future__ import annotations

from edgenas.errors import EdgenasError


class CampaignError(EdgenasError):
    """A campaign cannot begin or go on."""


class RunFolderError(CampaignError):
    """A run folder lacks a file that an earlier step writes, or holds another run."""


class NothingFitsError(CampaignError):
    """No measured network meets a device's budget."""


class MeasuringError(CampaignError):
    """Devices stopped answering."""
