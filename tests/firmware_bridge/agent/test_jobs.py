"""Measuring jobs through the whole daemon, over the in-memory broker, with real children.

Pulling their blobs is in `test_job_blobs`, everything that is no job in `test_talk`.
"""

import contextlib
import random
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from firmware_bridge.machine_lock import MachineLock
from firmware_bridge.store.journal import Journal
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.messages import (
    CancelJob,
    Golden,
    JobFailed,
    Measurement,
    Resync,
)
from tests.firmware_bridge.agent.conftest import StartBoard
from tests.firmware_bridge.agent.host_double import DEADLINE_S, DEVICE, HostDouble
from tests.firmware_bridge.bench import tiny_model


def big(size: int, seed: int = 1) -> bytes:
    """Bytes of which no chunk resembles another."""
    return random.Random(seed).randbytes(size)


def failed(host: HostDouble, job_id: str) -> JobFailed:
    result = host.result(job_id)
    assert isinstance(result, JobFailed), result
    return result


def test_a_job_is_measured_answered_and_acknowledged(
    host: HostDouble,
    start_board: StartBoard,
    model: bytes,
    weights: tiny_model.Array,
    tmp_path: Path,
) -> None:
    board = start_board()
    inputs = np.random.default_rng(3).integers(-8, 8, (5, 16), dtype=np.int8)
    answers = tiny_model.dense_answer(weights, inputs)
    golden = Golden(host.add(inputs.tobytes()), 5, answers.tobytes().hex())
    ref = host.add(model)
    job_id = host.send_job(host.job(ref, reference=ref, golden=golden))
    result = host.result(job_id)
    assert isinstance(result, Measurement), result
    assert result.verdict in ("ok", "noisy")
    assert result.golden_max_lsb == 0
    assert {leg.model for leg in result.legs} == {"C", "R"}
    states = [event.state for known, event in host.events if known == job_id]
    assert states[0] == "QUEUED"
    assert states[-1] == "MEASURING"
    revs = [event.rev for known, event in host.events if known == job_id]
    assert [*revs, result.rev] == list(range(1, len(revs) + 2))
    assert "measuring" in [state.status for state in host.states]
    host.state(lambda state: state.status == "idle")
    heard = len(host.states)
    host.link.publish(host.topics.resync(DEVICE), encode(Resync()))  # comes after the ack
    host.wait(lambda: len(host.states) > heard)
    board.stop()
    with contextlib.closing(Journal(tmp_path / "state" / "journal.sqlite")) as journal:
        assert journal.outbox.pending() == []


def test_a_repeated_job_gets_the_same_answer_without_new_work(
    host: HostDouble, start_board: StartBoard, model: bytes
) -> None:
    start_board()
    job = host.job(host.add(model))
    job_id = host.send_job(job)
    first = host.result(job_id)
    host.send_job(job, job_id)
    assert host.result(job_id, 2) == first


def test_an_unacknowledged_answer_is_sent_again_until_it_is(
    host: HostDouble, start_board: StartBoard, model: bytes
) -> None:
    host.acknowledges = False
    host.announce()
    start_board()
    job_id = host.send_job(host.job(host.add(model)))
    first = host.result(job_id)
    assert host.result(job_id, 2) == first
    host.acknowledges = True
    assert host.result(job_id, 3) == first
    seen = len(host.results)
    other = host.send_job(host.job(host.add(b"not a model")))
    host.result(other)
    assert [known for known, _ in host.results[seen:]].count(job_id) <= 1


def test_jobs_end_as_expired_or_cancelled_and_stay_so(
    host: HostDouble, start_board: StartBoard, model: bytes
) -> None:
    lost = host.add(big(100))
    host.road = lambda offset, chunk: None
    start_board(silence_s=30.0)
    running = host.send_job(host.job(lost))
    host.event(running, "PULLING")
    short = host.send_job(host.job(lost, ttl_ms=1))
    waiting = host.send_job(host.job(lost))
    host.send_job(CancelJob(), waiting)
    assert failed(host, waiting).code == "CANCELLED"
    assert failed(host, short).code == "EXPIRED"
    host.send_job(CancelJob(), running)
    assert failed(host, running).code == "CANCELLED"
    unseen = host.send_job(CancelJob())
    assert failed(host, unseen).code == "CANCELLED"
    host.send_job(host.job(host.add(model)), unseen)
    assert host.result(unseen, 2) == failed(host, unseen)


def test_a_time_to_live_that_ends_while_pulling_is_expired(
    host: HostDouble, start_board: StartBoard
) -> None:
    host.road = lambda offset, chunk: None
    start_board(silence_s=30.0)
    host.wait(lambda: [facts for facts in host.facts if facts.fingerprint["runtime"]])
    job_id = host.send_job(host.job(host.add(big(100)), ttl_ms=1500))
    host.event(job_id, "PULLING")
    assert failed(host, job_id).code == "EXPIRED"


def test_more_jobs_than_may_wait_are_sent_back(host: HostDouble, start_board: StartBoard) -> None:
    host.road = lambda offset, chunk: None
    start_board(silence_s=30.0)
    ref = host.add(big(100))
    jobs = [host.send_job(host.job(ref)) for _ in range(9)]
    failure = failed(host, jobs[-1])
    assert failure.code == "NOT_ALLOWED"
    assert failure.retryable
    for job_id in jobs[:-1]:
        host.send_job(CancelJob(), job_id)
        assert failed(host, job_id).code == "CANCELLED"


def test_a_device_that_may_not_measure_says_so(
    host: HostDouble, start_board: StartBoard, model: bytes
) -> None:
    start_board(measure=False)
    assert failed(host, host.send_job(host.job(host.add(model)))).code == "NOT_ALLOWED"
    assert host.wait(lambda: host.facts)[-1].measure is False


def test_a_lock_file_holds_jobs_off_and_is_shown(
    host: HostDouble, start_board: StartBoard, model: bytes, tmp_path: Path
) -> None:
    locks = tmp_path / "state" / "run" / "inhibit.d"
    locks.mkdir(parents=True)
    (locks / "show.json").write_text('{"holder": "kiosk", "reason": "open house", "max_s": 600}')
    start_board()
    failure = failed(host, host.send_job(host.job(host.add(model))))
    assert failure.code == "LOCKED"
    assert "open house" in failure.detail
    assert host.state(lambda state: bool(state.holds)).holds[0].holder == "kiosk"
    (locks / "show.json").unlink()
    assert isinstance(host.result(host.send_job(host.job(host.add(model)))), Measurement)


def test_the_second_crash_quarantines_a_model(
    host: HostDouble, start_board: StartBoard, tmp_path: Path, model: bytes
) -> None:
    board = start_board(worker_argv=_dying_python(tmp_path, "latency"))
    ref = host.add(model)
    for _ in range(2):
        result = host.result(host.send_job(host.job(ref)))
        assert isinstance(result, Measurement), result
        assert result.verdict == "crash"
    failure = failed(host, host.send_job(host.job(ref)))
    assert failure.code == "BROKEN_HERE"
    board.stop()
    journal = Journal(tmp_path / "state" / "journal.sqlite")
    assert journal.strikes.forget() == 1
    journal.close()
    start_board()
    assert isinstance(host.result(host.send_job(host.job(ref))), Measurement)


def _dying_python(folder: Path, where: str) -> tuple[str, ...]:
    """An argv prefix whose Python dies by SIGSEGV when asked for the pass `where`."""
    script = folder / "dying.py"
    script.write_text(
        "import os, runpy, signal, sys\n"
        "from firmware_bridge.bench import passes\n"
        "def die(*_):\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n"
        f"passes.PASSES[{where!r}] = die\n"
        "sys.argv = sys.argv[2:]\n"
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
    )
    return (sys.executable, str(script))


def test_a_job_does_not_wait_for_the_machine_beyond_its_lifetime(
    host: HostDouble, start_board: StartBoard, model: bytes, tmp_path: Path
) -> None:
    start_board()
    ref = host.add(model)
    with MachineLock(tmp_path / "measure.lock").hold(0):
        failure = failed(host, host.send_job(host.job(ref, ttl_ms=3000)))
    assert failure.code == "LOCKED"
    assert failure.retryable
    assert isinstance(host.result(host.send_job(host.job(ref))), Measurement)


def test_a_job_whose_answer_is_forgotten_is_carried_out_again(
    host: HostDouble, start_board: StartBoard, model: bytes, tmp_path: Path
) -> None:
    board = start_board()
    job = host.job(host.add(model))
    job_id = host.send_job(job)
    assert isinstance(host.result(job_id), Measurement)
    board.stop()
    with closing(sqlite3.connect(tmp_path / "state" / "journal.sqlite")) as journal, journal:
        (forgotten,) = journal.execute("SELECT count(*) FROM outbox").fetchone()
        journal.execute("DELETE FROM outbox")
    assert forgotten == 1
    start_board()
    host.send_job(job, job_id)
    again = host.result(job_id, 2)
    assert isinstance(again, Measurement), again
    assert again.attempt == 1


def test_an_infeasible_model_is_reported_under_the_fingerprint_of_the_others(
    host: HostDouble, start_board: StartBoard, model: bytes
) -> None:
    start_board()
    good = host.result(host.send_job(host.job(host.add(model))))
    wrong = host.result(host.send_job(host.job(host.add(b"not a model" * 9))))
    assert isinstance(good, Measurement)
    assert isinstance(wrong, Measurement)
    assert wrong.verdict == "unsupported_op"
    assert wrong.runtime == good.runtime
    assert wrong.fingerprint_sha256 == good.fingerprint_sha256


def test_a_result_and_a_job_that_the_full_disk_does_not_take_wait_for_room(
    host: HostDouble, start_board: StartBoard, model: bytes
) -> None:
    board = start_board()
    limit = board.assembly.daemon._use.journal._database.rows
    many = {"min_samples": 2000, "max_samples": 2000, "min_time_ms": 500}
    job_id = host.send_job(host.job(host.add(model), **many))
    host.event(job_id, "MEASURING")
    limit("PRAGMA max_page_count=1")  # SQLite takes its present size: no page more
    host.state(lambda state: "full" in (state.error or ""))
    golden = Golden(host.add(bytes(16)), 1, "00" * 4000)  # a long message, so that it needs pages
    late_id = host.send_job(host.job(host.add(model), golden=golden))
    deadline_s = time.monotonic() + DEADLINE_S
    while not board.assembly.daemon._unwritten:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    assert host.results == []
    limit("PRAGMA max_page_count=100000")
    assert isinstance(host.result(job_id), Measurement)
    assert isinstance(host.result(late_id), Measurement)
    host.state(lambda state: state.error is None)
