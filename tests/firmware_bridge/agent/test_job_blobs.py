"""Pulling what a job needs, through the whole daemon over the in-memory broker: loss and damage."""

import random
import time
from pathlib import Path

import pytest

from firmware_bridge.wire.messages import BlobRefused, Measurement
from firmware_bridge.wire.values import BlobRef, new_id
from tests.firmware_bridge.agent.conftest import StartBoard
from tests.firmware_bridge.agent.host_double import HostDouble, open_road
from tests.firmware_bridge.agent.test_jobs import big, failed


def test_a_blob_of_many_chunks_survives_loss_damage_and_reordering(
    host: HostDouble, start_board: StartBoard
) -> None:
    data = big(20 * 16384 + 100)
    ref = host.add(data, 16384)
    rng, faults = random.Random(5), [0]

    def road(offset: int, chunk: bytes) -> bytes | None:
        if faults[0] >= 6 or rng.random() < 0.5:
            return chunk
        faults[0] += 1
        return None if faults[0] % 2 else chunk[:-1]

    host.road = road
    start_board()
    job_id = host.send_job(host.job(ref))
    result = host.result(job_id)
    assert isinstance(result, Measurement)  # the bytes arrived whole; they are just no model
    assert result.verdict == "unsupported_op"
    assert faults[0] == 6
    assert max(bin(int(r.want, 16)).count("1") for r in host.asked) <= 4


def test_a_chunk_damaged_once_is_repaired_by_fetching_again(
    host: HostDouble, start_board: StartBoard, model: bytes
) -> None:
    damaged: list[int] = []

    def road(offset: int, chunk: bytes) -> bytes:
        if damaged:
            return chunk
        damaged.append(offset)
        return bytes(len(chunk))

    host.road = road
    start_board()
    assert isinstance(host.result(host.send_job(host.job(host.add(model)))), Measurement)


def test_a_blob_that_stays_damaged_is_refused(
    host: HostDouble, start_board: StartBoard, model: bytes, tmp_path: Path
) -> None:
    host.road = lambda offset, chunk: bytes(len(chunk))
    start_board()
    assert failed(host, host.send_job(host.job(host.add(model)))).code == "BLOB_CORRUPT"
    assert not list((tmp_path / "state" / "blobs" / "sha256").iterdir())


def test_truncated_chunks_only_stall(
    host: HostDouble, start_board: StartBoard, model: bytes
) -> None:
    host.road = lambda offset, chunk: chunk[:-1]
    start_board(silence_s=0.02)
    failure = failed(host, host.send_job(host.job(host.add(model))))
    assert failure.code == "STALLED"
    assert failure.retryable


@pytest.mark.parametrize(
    ("refusal", "code"), [("NOT_FOUND", "BLOB_NOT_FOUND"), ("NOT_ALLOWED", "NOT_ALLOWED")]
)
def test_a_refused_blob_ends_the_job_at_once(
    host: HostDouble, start_board: StartBoard, refusal: str, code: str
) -> None:
    ref = host.add(b"never sent")
    host.refusals[ref.sha256] = [BlobRefused(code=refusal)]  # type: ignore[arg-type]
    start_board()
    assert failed(host, host.send_job(host.job(ref))).code == code
    assert len(host.asked) == 1


def test_wait_is_obeyed(host: HostDouble, start_board: StartBoard, model: bytes) -> None:
    ref = host.add(model)
    host.refusals[ref.sha256] = [BlobRefused(code="WAIT", wait_ms=100)] * 3
    start_board(silence_s=30.0)
    assert isinstance(host.result(host.send_job(host.job(ref))), Measurement)
    assert len(host.asked) == 4


def test_a_blob_that_does_not_fit_is_no_space(host: HostDouble, start_board: StartBoard) -> None:
    ref = BlobRef(new_id() * 2, 3 << 20)
    start_board(disk_cap_mb=2)
    failure = failed(host, host.send_job(host.job(ref)))
    assert failure.code == "NO_SPACE"
    assert "--disk-cap-mb" in failure.detail
    assert host.asked == []


def test_a_pull_outlasts_any_time_without_a_connection(
    host: HostDouble, start_board: StartBoard, model: bytes
) -> None:
    host.road = lambda offset, chunk: None
    board = start_board(silence_s=0.05)
    host.wait(lambda: [facts for facts in host.facts if facts.fingerprint["runtime"]])
    job_id = host.send_job(host.job(host.add(model)))
    host.event(job_id, "PULLING")
    board.link.drop()
    until_s = time.monotonic() + 20 * 0.05  # twice as long as a silent host is borne with
    while time.monotonic() < until_s:
        time.sleep(0.05)
    assert host.results == []
    host.road = open_road
    board.link.reconnect()
    assert isinstance(host.result(job_id), Measurement)
