"""What can go wrong between a subnet and its bytes.

ExportError           the export cannot go on: no images, no room on the disk
`-- CandidateError    this one subnet cannot be exported; others may
    |-- ConversionError  the converter failed, or gave another graph than the subnet's
    `-- ParityError      the bytes do not compute what the integer twin computes
"""

from __future__ import annotations

from edgenas.errors import EdgenasError


class ExportError(EdgenasError):
    """A subnet could not be turned into bytes that are the same network."""


class CandidateError(ExportError):
    """This one subnet cannot be exported; others may."""


class ConversionError(CandidateError):
    """The converter failed, or gave another graph than the subnet's."""


class ParityError(CandidateError):
    """The bytes do not compute what the integer twin computes."""
