"""Rows that an interrupted benchmark need not measure again; what campaigns keep theirs in."""

from edgenas.campaign.kept import Kept, Row

__all__ = ["Kept", "Row"]
