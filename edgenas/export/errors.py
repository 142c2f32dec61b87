"""What can go wrong between a subnet and its bytes.

ExportError
|-- ConversionError  the converter failed, or gave another graph than the subnet's
`-- ParityError      the bytes do not compute what the integer twin computes
"""

from __future__ import annotations

from edgenas.errors import EdgenasError


class ExportError(EdgenasError):
    """A subnet could not be turned into bytes that are the same network."""


class ConversionError(ExportError):
    """The converter failed, or gave another graph than the subnet's."""


class ParityError(ExportError):
    """The bytes do not compute what the integer twin computes."""
