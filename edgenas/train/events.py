"""Metrics as TensorBoard reads them: a folder with one event file of scalars.

The file holds nothing that `metrics.jsonl` does not; it is written anew from that whenever a run
goes on, so that a record torn by a kill does not hide what follows. Formats: TFRecord (length,
masked CRC-32C, data, masked CRC-32C) around protocol buffers `Event` and `Summary`, which are
simple enough to be written without a library.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgenas.train.checkpoint import disk_errors
from edgenas.train.metrics import StepReport

FOLDER, NAME = "tensorboard", "events.out.tfevents.0.edgenas"
_POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected
_MASK_DELTA = 0xA282EAD8


class EventFile:
    """The event file of a run.

    Args:
        folder: of the run.
        batch: images a step, to tell times from speeds.
    """

    def __init__(self, folder: Path, batch: int) -> None:
        self.path, self.batch = folder / FOLDER / NAME, batch
        self._time_s = time.time()

    def write_anew(self, reports: Sequence[StepReport]) -> None:
        """Replace the file by one that holds `reports`, as if they had just ended.

        Raises:
            CheckpointError: the disk refuses it.
        """
        self._time_s = time.time() - sum(map(self._seconds, reports))
        content = record(_event(self._time_s, 0, _text(3, "brain.Event:2")))
        content += b"".join(map(self._record, reports))
        with disk_errors(self.path):
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_bytes(content)

    def append(self, report: StepReport) -> None:
        """Add one step.

        Raises:
            CheckpointError: the disk refuses it.
        """
        with disk_errors(self.path), self.path.open("ab") as file:
            file.write(self._record(report))

    def _record(self, report: StepReport) -> bytes:
        self._time_s += self._seconds(report)
        values = b"".join(_scalar(tag, value) for tag, value in _scalars(report))
        return record(_event(self._time_s, report.step, _bytes(5, values)))

    def _seconds(self, report: StepReport) -> float:
        return self.batch / report.images_per_s


def _scalars(report: StepReport) -> Iterator[tuple[str, float]]:
    """Tags and values of a step; a loss that the step does not have is left out."""
    losses = {
        "loss/largest": report.loss_largest,
        "loss/smallest": report.loss_smallest,
        "loss/random": report.loss_random,
        "watched/largest": report.watched_largest,
        "watched/smallest": report.watched_smallest,
    }
    yield from ((tag, loss) for tag, loss in losses.items() if not math.isnan(loss))
    yield "rate", report.rate
    yield "images_per_s", report.images_per_s
    yield "skipped", float(report.skipped)


def record(data: bytes) -> bytes:
    """A TFRecord."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def crc32c(data: bytes) -> int:
    """CRC-32C (RFC 3720, appendix B.4)."""
    total = 0xFFFFFFFF
    for byte in data:
        total = _TABLE[(total ^ byte) & 0xFF] ^ (total >> 8)
    return total ^ 0xFFFFFFFF


def _checksum(data: bytes) -> bytes:
    """Rotated and shifted, so that the checksum of data with checksums in it means something."""
    plain = crc32c(data)
    masked = ((plain >> 15 | plain << 17) + _MASK_DELTA) & 0xFFFFFFFF
    return struct.pack("<I", masked)


def _table_entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE = tuple(_table_entry(value) for value in range(256))

# --- protocol buffers: a field is its number and wire type, then its value -----------------------


def _event(time_s: float, step: int, what: bytes) -> bytes:
    return b"\x09" + struct.pack("<d", time_s) + b"\x10" + _varint(step) + what


def _scalar(tag: str, value: float) -> bytes:
    return _bytes(1, _text(1, tag) + b"\x15" + struct.pack("<f", value))


def _text(number: int, text: str) -> bytes:
    return _bytes(number, text.encode())


def _bytes(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
