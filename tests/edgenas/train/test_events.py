"""Event files: checksums of the standard, records as TensorBoard reads them, nothing twice."""

import math
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from edgenas.train.events import FOLDER, NAME, EventFile, crc32c, record
from edgenas.train.metrics import StepReport, read_metrics
from tests.edgenas.train.runs import RECIPE, run

REPORT = StepReport(1, 9, "float", 0.25, 2.5, 2.25, 1.5, 640.0, False)


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _fields(data: bytes) -> list[tuple[int, bytes | int]]:
    """Number and raw value of each field of a protocol buffer."""
    found: list[tuple[int, bytes | int]] = []
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        sizes = {1: 8, 5: 4}
        if key & 7 == 0:
            value, place = _varint(data, place)
            found.append((key >> 3, value))
            continue
        if key & 7 == 2:
            size, place = _varint(data, place)
        else:
            size = sizes[key & 7]
        found.append((key >> 3, data[place : place + size]))
        place += size
    return found


def _events(path: Path) -> list[tuple[int, dict[str, float]]]:
    """Step and scalars of every record after the first, which names the version."""
    content, place, found = path.read_bytes(), 0, []
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        data = content[place + 12 : place + 12 + length]
        assert content[place : place + 16 + length] == record(data)
        place += 16 + length
        event = dict(_fields(data))
        if 3 in event:
            assert event[3] == b"brain.Event:2"
            continue
        step, summary = event.get(2, 0), event[5]
        assert isinstance(step, int)
        assert isinstance(summary, bytes)
        scalars = {}
        for _, value in _fields(summary):
            assert isinstance(value, bytes)
            parts = dict(_fields(value))
            tag, number = parts[1], parts[2]
            assert isinstance(tag, bytes)
            assert isinstance(number, bytes)
            scalars[tag.decode()] = struct.unpack("<f", number)[0]
        found.append((step, scalars))
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_checksums_of_the_standard(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected  # RFC 3720, appendix B.4


def test_a_record_of_another_writer() -> None:
    """The first record of every event file that TensorFlow writes, but for its time."""
    data = b"\x09" + bytes(8) + b"\x1a\x0dbrain.Event:2"
    written = record(data)
    assert written[:12] == bytes.fromhex("1800000000000000a37f4b22")


def test_scalars_of_a_step(tmp_path: Path) -> None:
    file = EventFile(tmp_path, 64)
    file.write_anew([REPORT])
    file.append(replace(REPORT, step=300, loss_random=math.nan, skipped=True))
    first, second = _events(tmp_path / FOLDER / NAME)
    assert first == (
        1,
        {
            "loss/largest": 2.5, "loss/smallest": 2.25, "loss/random": 1.5,
            "rate": 0.25, "images_per_s": 640.0, "skipped": 0.0,
        },
    )  # fmt: skip
    assert second[0] == 300
    assert "loss/random" not in second[1]
    assert second[1]["skipped"] == 1.0


def test_a_run_that_goes_on_tells_every_step_once(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(report: StepReport) -> None:
        if report.step == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(tmp_path, RECIPE.override(epochs=0.75), on_step=stop)
    path = tmp_path / FOLDER / NAME
    path.write_bytes(path.read_bytes()[:-5])  # torn by a kill
    run(tmp_path, RECIPE.override(epochs=0.75))
    events = _events(path)
    assert [step for step, _ in events] == list(range(1, 7))
    losses = [report.loss_largest for report in read_metrics(tmp_path)]
    assert [scalars["loss/largest"] for _, scalars in events] == pytest.approx(losses)
