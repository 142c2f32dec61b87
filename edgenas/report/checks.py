"""Guards that the report's dataclasses call when they are built.

Each takes the field's name and its value, and raises `ReportFieldError` or returns nothing. What
a valid value *means* is said on the field in `model`, not here.
"""

from __future__ import annotations

import math
import re
from datetime import datetime

from edgenas.report.errors import ReportFieldError

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_text(field: str, value: str) -> None:
    """Refuse an empty string."""
    if not value.strip():
        raise ReportFieldError(field, "a text that is not empty", value)


def check_fraction(field: str, value: float) -> None:
    """Refuse anything outside 0..1 (an accuracy in percent is the usual mistake)."""
    if not (math.isfinite(value) and 0.0 <= value <= 1.0):
        raise ReportFieldError(field, "a fraction in 0..1, not percent", value)


def check_positive(field: str, value: float | None) -> None:
    """Refuse zero, negative and non-finite numbers; None passes."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise ReportFieldError(field, "a finite number above 0", value)


def check_not_negative(field: str, value: float | None) -> None:
    """Refuse negative and non-finite numbers; None passes."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise ReportFieldError(field, "a finite number of at least 0", value)


def check_finite(field: str, value: float | None) -> None:
    """Refuse NaN and infinities, which JSON cannot hold; None passes."""
    if value is not None and not math.isfinite(value):
        raise ReportFieldError(field, "a finite number or none", value)


def check_interval(field: str, value: tuple[float, float]) -> None:
    """Refuse an interval (low, high) that is not finite, not positive or upside down."""
    low, high = value
    if not (math.isfinite(low) and math.isfinite(high) and 0 < low <= high):
        raise ReportFieldError(field, "an interval 0 < low <= high", value)


def check_digest(field: str, value: str) -> None:
    """Refuse anything but 64 lower-case hexadecimal digits (SHA-256)."""
    if not _SHA256.fullmatch(value):
        raise ReportFieldError(field, "a sha256 in 64 lower-case hexadecimal digits", value)


def check_utc(field: str, value: str) -> None:
    """Refuse a time that is not ISO 8601 with a zero offset from UTC."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ReportFieldError(field, "an ISO 8601 time in UTC", value) from error
    offset = moment.utcoffset()
    if offset is None or offset.total_seconds() != 0:
        raise ReportFieldError(field, "an ISO 8601 time with the offset +00:00 or Z", value)
