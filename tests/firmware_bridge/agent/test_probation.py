"""Probation: what a probe says, when probes come, and what strikes and silence lead to.

The desk, the journal and the links are the real ones; time is set by hand, and what a child process
would find is given. Children are tried in test_deployments and test_way_back.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge.agent.acceptance import DeviceView
from firmware_bridge.agent.activating import Activating, subject_of
from firmware_bridge.agent.answers import Answers
from firmware_bridge.agent.book import DeploymentBook
from firmware_bridge.agent.clock import Clock
from firmware_bridge.agent.deploy_desk import PROBE_EVERY_S, DeployDesk
from firmware_bridge.agent.life_signs import SILENCE_S, LifeSigns
from firmware_bridge.agent.post import Post
from firmware_bridge.agent.preparing import Instruments, Preparing
from firmware_bridge.agent.probation import judge_probe
from firmware_bridge.agent.pull import Puller
from firmware_bridge.bench.plan import GoldenFile, MeasurePlan
from firmware_bridge.bench.supervise import SelfTest
from firmware_bridge.slots import CURRENT, Slots
from firmware_bridge.store.blobs import BlobStore
from firmware_bridge.store.journal import Journal
from firmware_bridge.store.slot_log import SlotRow
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.errors import StoreError
from firmware_bridge.wire.memory import MemoryBroker, MemoryLink
from firmware_bridge.wire.messages import DeployReport, JobFailed, Measurement, Verdict
from firmware_bridge.wire.release import Limits, ReleaseFile, ReleaseManifest, Target, Trial
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import new_id
from tests.firmware_bridge.agent.test_trial import measured

GOOD = SelfTest(True, 0, None)
WRONG = SelfTest(False, 84, "expected outputs within 1 LSB of the golden ones, got 84")
DEAD = SelfTest(False, None, "the child died")
PROBATION_S = 600.0
LIMIT_US = 119.0
TRIAL = Trial(threads=1, cpus=(), cap_ms=9000, memory_cap_bytes=1 << 20)


def manifest_of(content: str, counter: int) -> ReleaseManifest:
    return ReleaseManifest(
        fleet="lab",
        counter=counter,
        target=Target("generic"),
        files=(ReleaseFile("model", content * 64, 5, 65536),),
        limits=Limits(p95_max_us=LIMIT_US),
        trial=TRIAL,
        issued="2026-05-01T00:00:00Z",
        expires="2026-07-01T00:00:00Z",
    )


OLD, NEW = manifest_of("a", 2), manifest_of("b", 4)


class Board:
    """A device that runs OLD and has NEW in STAGED; what its children find is set by hand."""

    def __init__(self, folder: Path, boot_id: str = "this boot") -> None:
        self.now_s, self.tested, self.us = 1000.0, GOOD, 100
        self.verdict: Verdict = "ok"
        self.probes = 0
        self.journal = Journal(folder / "journal.sqlite")
        self.slots = Slots(folder, folder / "run")
        link = MemoryLink(MemoryBroker(), "board")
        post = Post(link, Topics("lab"), "board", Clock().stamp)
        answers = Answers(self.journal, post, 60.0)
        self.book = DeploymentBook(self.journal, answers, post)
        self.signs = LifeSigns()
        self.deployment = new_id()
        self.activating = Activating(
            book=self.book,
            slots=self.slots,
            self_test=self._self_test,
            measure=self._measure,
            view=self._view,
            check=lambda: None,
            boot_id=boot_id,
            runtime=self.journal.last_runtime,
            threads=1,
        )
        instruments = Instruments(
            book=self.book,
            slots=self.slots,
            blobs=BlobStore(folder, cap_bytes=1 << 20, reserve_bytes=0),
            make_puller=self._no_puller,
            measure=self._measure,
            self_test=self._self_test,
            view=self._view,
            check=lambda: None,
            threads=1,
        )
        self.desk = DeployDesk(
            self.book,
            answers,
            self.slots,
            Preparing(instruments),
            self.activating,
            lambda: (),
            self.signs,
            PROBATION_S,
            lambda: self.now_s,
        )
        for manifest in (OLD, NEW):
            source = folder / manifest.bundle_id()
            source.write_bytes(b"model")
            self.slots.install(manifest.bundle_id(), {"model": source}, manifest.to_bytes())
        self.slots.point("main", CURRENT, OLD.bundle_id())

    def stage(self) -> None:
        self.journal.slots.update(
            "main",
            committed=OLD.bundle_id(),
            target=NEW.bundle_id(),
            deployment=self.deployment,
            attempt=1,
            phase="ACTIVATING",
        )

    def _self_test(self, model: Path, probe: GoldenFile | None, tolerance_lsb: int) -> SelfTest:
        self.probes += 1
        return self.tested

    def _measure(self, plan: MeasurePlan, lock_timeout_s: float) -> Measurement | JobFailed:
        assert plan.max_samples == 60
        assert plan.cap_ms == 10_000
        return measured(self.verdict, us=self.us)

    def _view(self) -> DeviceView:
        raise AssertionError("nothing is judged here")

    def _no_puller(self, check: object) -> Puller:
        raise AssertionError("nothing is pulled here")

    @property
    def row(self) -> SlotRow:
        return self.journal.slots.get("main")

    def work(self) -> list[str]:
        """Do every step that is due now, as the daemon's loop would; which kinds they were."""
        done: list[str] = []
        while (step := self.desk.next_step()) is not None:
            done.append(step.kind)
            step.run()
            self.desk.finished("main")
            assert len(done) < 20, done
        return done

    def let_pass(self, seconds: float, beat: bytes | None = None) -> list[str]:
        """Let time pass second by second, with a heartbeat in each; the steps that were done."""
        done: list[str] = []
        for _ in range(int(seconds)):
            self.now_s += 1
            if beat is not None:
                self.signs.take(beat, self.now_s)
            done += self.work()
        return done

    def report(self) -> DeployReport:
        (answer,) = self.journal.outbox.pending()
        message = decode(answer.payload).message
        assert isinstance(message, DeployReport)
        return message

    @property
    def broken(self) -> str | None:
        return self.journal.strikes.broken_reason(subject_of(NEW.bundle_id()), "")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    made = Board(tmp_path)
    made.stage()
    yield made
    made.journal.close()


def test_probes_come_at_the_start_and_every_minute_until_the_commit(board: Board) -> None:
    assert board.work() == ["activate"]
    assert board.row.phase == "PROBATION"
    assert board.let_pass(PROBE_EVERY_S - 1) == []
    assert board.let_pass(1) == ["probe"]
    board.let_pass(PROBATION_S - PROBE_EVERY_S - 1)
    assert board.row.phase == "PROBATION"
    board.let_pass(1)
    assert board.row.phase == "IDLE"
    assert board.row.committed == NEW.bundle_id()
    assert board.probes == 1 + PROBATION_S / PROBE_EVERY_S
    assert board.report().outcome == "SUCCEEDED"


def test_a_wrong_answer_goes_back_at_once_and_bars_the_bundle(board: Board) -> None:
    board.work()
    board.tested = WRONG
    board.let_pass(PROBE_EVERY_S)
    report = board.report()
    assert (report.outcome, report.code) == ("ROLLED_BACK", "probe_mismatch")
    assert "84" in report.errors[0].text
    assert board.slots.pointed("main") == OLD.bundle_id()
    assert board.broken is not None


def test_two_slow_probes_in_a_row_go_back_and_one_does_not(board: Board) -> None:
    board.us = 120
    board.work()
    board.us = 100
    board.let_pass(PROBE_EVERY_S)
    board.us = 120
    board.let_pass(PROBE_EVERY_S)
    assert board.row.phase == "PROBATION"
    board.verdict = "throttled"  # says nothing, neither for nor against
    board.let_pass(PROBE_EVERY_S)
    assert (board.row.phase, board.row.slow_probes) == ("PROBATION", 1)
    board.verdict = "noisy"
    board.let_pass(PROBE_EVERY_S)
    report = board.report()
    assert (report.outcome, report.code) == ("ROLLED_BACK", "slow")
    assert "expected p95 of at most 119 us" in report.errors[0].text
    assert board.broken is not None


def test_the_third_dead_child_goes_back(board: Board) -> None:
    board.tested = DEAD
    board.work()
    board.let_pass(PROBE_EVERY_S)
    assert board.row.phase == "PROBATION"
    board.let_pass(PROBE_EVERY_S)
    report = board.report()
    assert (report.outcome, report.code) == ("ROLLED_BACK", "strikes")
    assert board.broken is not None


def test_strikes_that_were_survived_are_forgotten(board: Board) -> None:
    board.tested = DEAD
    board.work()
    board.tested = GOOD
    board.let_pass(PROBATION_S)
    assert board.report().outcome == "SUCCEEDED"
    assert board.journal.strikes.strike(subject_of(NEW.bundle_id())) == 1


def test_an_application_that_beats_keeps_its_bundle(board: Board) -> None:
    board.signs.take(b"main", board.now_s)
    board.work()
    assert "strike" not in board.let_pass(PROBATION_S, beat=b"main")
    assert board.report().outcome == "SUCCEEDED"


def test_three_silences_of_one_that_had_opted_in_go_back(board: Board) -> None:
    board.signs.take(b"", board.now_s)  # an empty datagram speaks for the slot main
    board.work()
    assert board.let_pass(SILENCE_S) == []
    assert board.let_pass(1) == ["strike"]
    board.let_pass(2 * (SILENCE_S + 1))
    report = board.report()
    assert (report.outcome, report.code) == ("ROLLED_BACK", "strikes")
    assert "heartbeat" in report.errors[0].text


def test_who_never_opted_in_or_said_goodbye_is_not_missed(board: Board) -> None:
    board.signs.take(b"other", board.now_s)
    board.signs.take(b"main", board.now_s)
    board.signs.take(b"main bye", board.now_s)
    board.work()
    assert "strike" not in board.let_pass(PROBATION_S)
    assert board.report().outcome == "SUCCEEDED"


def test_one_that_opts_in_during_probation_is_watched_from_then(board: Board) -> None:
    board.work()
    board.signs.take(b"main", board.now_s)
    assert "strike" in board.let_pass(SILENCE_S + 1)


def test_a_step_that_fails_is_not_tried_again_at_once(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.journal.slots.update("main", phase="ROLLING_BACK", failure="slow", boot_id="this boot")

    def full(slot: str) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Activating, "finish_roll_back", lambda self, slot: full(slot))
        for pause_s in (1, 2, 4):
            step = board.desk.next_step()
            assert step is not None
            with pytest.raises(StoreError):
                step.run()
            board.desk.finished("main")
            assert board.let_pass(pause_s - 1) == []
            board.now_s += 1
    assert board.work() == ["roll back"]
    assert board.report().code == "slow"


def test_links_that_somebody_broke_are_mended(board: Board) -> None:
    board.let_pass(PROBATION_S + 1)
    board.slots.point("main", CURRENT, None)
    board.now_s += 60
    board.desk.tick()
    assert board.slots.pointed("main") == NEW.bundle_id()


@pytest.mark.parametrize("verdict", ["timeout", "unsupported_op", "busy", "UNKNOWN"])
def test_a_sampling_that_could_not_be_done_says_nothing(verdict: Verdict) -> None:
    nothing = replace(measured(verdict), legs=())
    assert judge_probe(GOOD, nothing, LIMIT_US, 1).finding == "passed"
    lost = JobFailed(attempt=0, rev=0, code="LOCKED", detail="", retryable=True)
    assert judge_probe(GOOD, lost, LIMIT_US, 1).finding == "passed"


@pytest.mark.parametrize("verdict", ["crash", "oom"])
def test_a_sampling_that_killed_its_process_is_a_strike(verdict: Verdict) -> None:
    nothing = replace(measured(verdict), legs=())
    assert judge_probe(GOOD, nothing, LIMIT_US, 0).finding == "strike"
