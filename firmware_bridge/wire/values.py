"""Small checked values of the wire, and its size limits.

A string from outside becomes a value here, once; later code relies on it. How values are
put together to messages is left to ``messages``.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from firmware_bridge.wire.errors import InvalidValueError

KIB = 1024
MIB = 1024 * KIB

CONTROL_CAP_BYTES = 16 * KIB
RESULT_CAP_BYTES = 64 * KIB
MANIFEST_CAP_BYTES = 8 * KIB
CHUNK_CAP_BYTES = 128 * KIB
BLOB_CAP_BYTES = 64 * MIB
DEPTH_CAP = 8

CHUNK_BYTES = 65_536
CHUNK_MIN_BYTES = 16 * KIB
INT64_MAX = 2**63 - 1
COUNT_MAX = 2**53 - 1  # what every JSON reader takes exactly; far below what a database takes
WORD_CAP = 128  # characters

_RESERVED_IDS = frozenset({"host"})
_DEVICE_ID = re.compile(r"[a-z0-9-]{3,40}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{32}")


def check_device_id(text: str, what: str = "device id") -> str:
    """Return ``text`` if it is a device id: 3 to 40 of a-z, 0-9 and ``-``, and not reserved.

    Raises:
        InvalidValueError: It is not.
    """
    if not isinstance(text, str) or not _DEVICE_ID.fullmatch(text):
        raise InvalidValueError(what, "3 to 40 characters of a-z, 0-9 and -", text)
    if text in _RESERVED_IDS:
        raise InvalidValueError(what, "a name that is not reserved", text)
    return text


def check_name(text: str, what: str = "name") -> str:
    """Return ``text`` if it can name a fleet, slot or profile (one topic level).

    Raises:
        InvalidValueError: It is not 1 to 40 of a-z, 0-9, ``_``, ``.``, ``-``, starting with
            a letter or digit.
    """
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise InvalidValueError(what, "1 to 40 characters of a-z, 0-9, _, . and -", text)
    return text


def check_sha256(text: str, what: str = "SHA-256 digest") -> str:
    """Return ``text`` if it is a SHA-256 digest in 64 lower-case hex digits.

    Raises:
        InvalidValueError: It is not.
    """
    if not isinstance(text, str) or not _SHA256.fullmatch(text):
        raise InvalidValueError(what, "64 lower-case hex digits", text)
    return text


def check_id(text: str, what: str = "job or deployment id") -> str:
    """Return ``text`` if it is a job or deployment id: 32 lower-case hex digits.

    Raises:
        InvalidValueError: It is not.
    """
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise InvalidValueError(what, "32 lower-case hex digits", text)
    return text


def new_id() -> str:
    """Return a fresh job or deployment id (UUID4 as 32 hex digits)."""
    return uuid.uuid4().hex


def check_range(what: str, value: float, low: float, high: float | None = None) -> None:
    """Refuse a number outside ``low`` to ``high`` (no upper end if None).

    Raises:
        InvalidValueError: It is outside.
    """
    if value < low or (high is not None and value > high):
        wanted = f"at least {low}" if high is None else f"{low} to {high}"
        raise InvalidValueError(what, wanted, value)


def check_count(what: str, value: int, low: int = 0) -> None:
    """Refuse a number that counts something and is not ``low`` to 2**53 - 1.

    The other side goes on counting from it, so that it must be far from the end of every range.

    Raises:
        InvalidValueError: It is not.
    """
    check_range(what, value, low, COUNT_MAX)


def check_word(text: str | None, what: str) -> None:
    """Refuse a text that stands for something unless a log or a database can hold it anywhere.

    Raises:
        InvalidValueError: Longer than 128 characters, or one of them cannot be printed, as NUL.
    """
    if text is not None and (len(text) > WORD_CAP or not text.isprintable()):
        raise InvalidValueError(what, f"at most {WORD_CAP} printable characters", text)


def check_chunk_bytes(chunk_bytes: int) -> int:
    """Return ``chunk_bytes`` if it is a power of two from 16 KiB to 128 KiB.

    Raises:
        InvalidValueError: It is not.
    """
    in_range = CHUNK_MIN_BYTES <= chunk_bytes <= CHUNK_CAP_BYTES
    if not in_range or chunk_bytes & (chunk_bytes - 1):
        raise InvalidValueError("chunk_bytes", "a power of two, 16384 to 131072 B", chunk_bytes)
    return chunk_bytes


@dataclass(frozen=True)
class BlobRef:
    """Bytes named by their SHA-256, with what is needed to pull them.

    Attributes:
        sha256: Digest of all bytes, 64 lower-case hex digits.
        size_bytes: Length, at most ``BLOB_CAP_BYTES``.
        chunk_bytes: Bytes a chunk, fixed for the blob.
    """

    sha256: str
    size_bytes: int
    chunk_bytes: int = CHUNK_BYTES

    def __post_init__(self) -> None:
        check_sha256(self.sha256, "sha256")
        check_range("size_bytes", self.size_bytes, 0, BLOB_CAP_BYTES)
        check_chunk_bytes(self.chunk_bytes)
