"""Finalists are measured again until each has its sessions; who wins is judged by those alone."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from edgenas.campaign.errors import CampaignError, MeasuringError, RunFolderError
from edgenas.campaign.finals import FinalsPlan, budget_of, certify, decide, finalists_of
from edgenas.campaign.measuring import RETRYABLE, DeviceSetup
from edgenas.campaign.progress import Silent
from edgenas.campaign.searching import SearchPlan, search
from edgenas.campaign.workbench import Workbench
from edgenas.search.budget import Budget
from edgenas.search.study import Session, Study
from edgenas.search.trial import NETWORK_FAULTS, Failure, Outcome
from firmware_bridge.wire.messages import JobFailed, MeasureJob, Measurement
from tests.edgenas.campaign.conftest import Measuring
from tests.edgenas.campaign.runs import Listener
from tests.edgenas.campaign.scripted_devices import InTurn, busy, by_size, failing
from tests.edgenas.fleet.conftest import HASTY, Lab
from tests.edgenas.fleet.device_twin import DeviceTwin
from tests.edgenas.fleet.scripted import failed

SETUPS = [DeviceSetup("dev-1")]
PLAN = FinalsPlan(count=2, sessions=2, level="standard")
ROOMY = Budget(1000.0, None, "roomy")


@pytest.fixture
def searched(lab: Lab, measuring: Measuring, bench: Workbench) -> DeviceTwin:
    """The device of a search that has ended: three trials, and a budget for all."""
    twin = lab.twin(measure=by_size)
    bench.study.set_budget("dev-1", ROOMY)
    plan, space = SearchPlan({"evolution": 3}), bench.checkpoint.space
    search(measuring(lab.host()), bench.study, space, SETUPS, plan, Silent())
    twin.received_jobs.clear()
    return twin


def quiet_only_for_quick(job_id: str, job: MeasureJob, model: bytes) -> Measurement:
    """A board that is never quiet enough for a level that waits for quiet."""
    return (busy if job.quiet.window_ms else by_size)(job_id, job, model)


def levels(sessions: list[Session]) -> list[str]:
    return [s.result.level for s in sessions if isinstance(s.result, Outcome)]


def test_a_repeated_command_does_not_measure_finalists_again(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    """Also where more sessions are wanted of each than those in doubt may have."""
    plan = replace(PLAN, sessions=3, most_sessions=2)
    assert plan.most_sessions == 3
    certify(measuring(lab.current), bench.study, SETUPS, plan, 0, Silent())
    assert len(searched.received_jobs) == 6
    certify(measuring(lab.current), bench.study, SETUPS, plan, 0, Silent())
    assert len(searched.received_jobs) == 6


def test_every_finalist_gets_its_sessions_in_rounds(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    listener = Listener()
    certify(measuring(lab.current), bench.study, SETUPS, PLAN, 0, listener)
    sessions = bench.study.sessions("dev-1")
    assert levels(sessions) == ["standard"] * 4
    finalists = {arch.id for arch in finalists_of(bench.study, "dev-1", PLAN)}
    assert {s.arch.id for s in sessions[:2]} == {s.arch.id for s in sessions[2:]} == finalists
    assert len(searched.received_jobs) == 4
    assert listener.phases == [("measuring finalists again (standard)", 4)]
    certify(measuring(lab.current), bench.study, SETUPS, PLAN, 0, Silent())
    assert bench.study.sessions("dev-1") == sessions


def test_a_kill_between_answer_and_record_repeats_nothing(
    lab: Lab,
    measuring: Measuring,
    bench: Workbench,
    searched: DeviceTwin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(*values: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Study, "add_session", die)
        with pytest.raises(KeyboardInterrupt):
            certify(measuring(lab.current), bench.study, SETUPS, PLAN, 0, Silent())
    certify(measuring(lab.restart_host()), bench.study, SETUPS, PLAN, 0, Silent())
    assert len(bench.study.sessions()) == 4
    assert len(searched.received_jobs) == len(set(searched.received_jobs)) == 4


def test_a_busy_device_is_measured_at_level_quick_instead(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    searched.measure = quiet_only_for_quick
    listener = Listener()
    certify(measuring(lab.current), bench.study, SETUPS, PLAN, 0, listener)
    assert levels(bench.study.sessions()) == ["quick"] * 4
    (note,) = listener.notes
    assert "97 % busy for 60 s" in note
    assert "level quick" in note
    assert len(searched.received_jobs) == 5  # the first one twice
    assert decide(bench.study, "dev-1", PLAN).pick is not None


def test_bad_luck_is_not_held_against_a_finalist(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    searched.measure = failing("STALLED")
    certify(measuring(lab.current), bench.study, SETUPS, PLAN, 0, Silent())
    assert decide(bench.study, "dev-1", PLAN).pick is None
    searched.measure = by_size
    certify(measuring(lab.restart_host()), bench.study, SETUPS, PLAN, 0, Silent())
    assert levels(bench.study.sessions()) == ["standard"] * 4
    assert decide(bench.study, "dev-1", PLAN).pick is not None


def test_what_says_nothing_about_a_network_is_never_its_own_fault() -> None:
    assert not NETWORK_FAULTS & RETRYABLE


def test_failures_of_the_network_itself_are_sessions(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    searched.measure = InTurn(failing("BROKEN_HERE"), by_size)
    certify(measuring(lab.current), bench.study, SETUPS, PLAN, 0, Silent())
    sessions = bench.study.sessions()
    assert [isinstance(s.result, Failure) for s in sessions] == [True, False, False, False]
    pick = decide(bench.study, "dev-1", PLAN).pick
    assert pick is not None
    assert pick.arch.id != sessions[0].arch.id
    certify(measuring(lab.current), bench.study, SETUPS, PLAN, 0, Silent())
    assert bench.study.sessions() == sessions


def test_a_lost_device_is_not_waited_for_again(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    searched.cut_power()
    host = lab.restart_host(HASTY)
    with pytest.raises(MeasuringError, match="dev-1"):
        certify(measuring(host), bench.study, SETUPS, PLAN, 0, Silent())
    (session,) = bench.study.sessions()
    assert isinstance(session.result, Failure)
    assert session.result.code == "DEVICE_LOST"
    searched.start()
    host.wait_for_devices(["dev-1"], 30.0)
    certify(measuring(host), bench.study, SETUPS, PLAN, 0, Silent())
    assert levels(bench.study.sessions()) == ["standard"] * 4


def test_a_tight_budget_names_what_is_too_tight(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    certify(measuring(lab.current), bench.study, SETUPS, PLAN, 0, Silent())
    bench.study.set_budget("dev-1", Budget(1e-6, None, "given: 1ns"))
    decision = decide(bench.study, "dev-1", PLAN)
    assert decision.pick is None
    assert "p95" in decision.message
    macs = bench.checkpoint.space.macs(bench.checkpoint.space.smallest())
    assert f"{macs} MACs" in decision.message


def test_sessions_of_other_levels_do_not_count(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    certify(measuring(lab.current), bench.study, SETUPS, PLAN, 0, Silent())
    certified = FinalsPlan(count=2, sessions=2, level="certify")
    assert decide(bench.study, "dev-1", certified).ranking == ()
    certify(measuring(lab.current), bench.study, SETUPS, certified, 0, Silent())
    assert len(decide(bench.study, "dev-1", certified).ranking) == 2


def test_without_a_budget_it_says_what_to_do(bench: Workbench) -> None:
    with pytest.raises(RunFolderError, match=r"dev-1: expected a budget.*edgenas search"):
        budget_of(bench.study, "dev-1")


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": -1}, {"sessions": 0}, {"level": "slow"}])
def test_a_plan_that_could_pick_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CampaignError, match="expected"):
        FinalsPlan(**wrong)


class Wavering:
    """`by_size`, 10 % slower and faster in turns with each model."""

    def __init__(self) -> None:
        self._seen: Counter[int] = Counter()

    def __call__(self, job_id: str, job: MeasureJob, model: bytes) -> Measurement:
        found, by = by_size(job_id, job, model), (0.9, 1.1)[self._seen[len(model)] % 2]
        self._seen[len(model)] += 1
        legs = [
            replace(leg, samples_ns=tuple(int(by * ns) for ns in leg.samples_ns))
            for leg in found.legs
        ]
        return replace(found, legs=tuple(legs))


def test_finalists_in_doubt_run_on_until_their_sessions_end(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    best, _ = finalists_of(bench.study, "dev-1", PLAN)
    searched.measure = Wavering()
    size = bench.scorer.candidate(best).exported.size_bytes
    bench.study.set_budget("dev-1", Budget(20 * size / 1e6, None, "where the best one lies"))
    plan = FinalsPlan(count=2, sessions=2, level="standard", most_sessions=5)
    listener = Listener()
    certify(measuring(lab.current), bench.study, SETUPS, plan, 0, listener)
    counts = {
        arch.id: len(bench.study.sessions("dev-1", arch.id))
        for arch in finalists_of(bench.study, "dev-1", plan)
    }
    assert counts[best.id] == 5
    assert max(counts.values()) == 5
    assert any("in doubt" in phase for phase, _ in listener.phases)
    assert decide(bench.study, "dev-1", plan).pick is not None
    jobs = len(searched.received_jobs)
    certify(measuring(lab.current), bench.study, SETUPS, plan, 0, Silent())
    assert len(searched.received_jobs) == jobs


def test_a_session_that_failed_by_chance_is_made_up_for_before_the_end(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    searched.measure = InTurn(*3 * [failing("STALLED")], by_size)
    certify(measuring(lab.current), bench.study, SETUPS, PLAN, 0, Silent())
    first, *others = bench.study.sessions("dev-1")
    assert isinstance(first.result, Failure)
    assert levels(others) == ["standard"] * 4
    assert Counter(s.arch.id for s in others)[first.arch.id] == 2


def test_one_that_fails_by_chance_ends_the_race_for_no_other(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    best, other = finalists_of(bench.study, "dev-1", PLAN)
    size = bench.scorer.candidate(best).exported.size_bytes
    wavering = Wavering()

    def one_never(job_id: str, job: MeasureJob, model: bytes) -> Measurement | JobFailed:
        return wavering(job_id, job, model) if len(model) == size else failed("NO_MEMORY")

    searched.measure = one_never
    bench.study.set_budget("dev-1", Budget(20 * size / 1e6, None, "where the best one lies"))
    plan = FinalsPlan(count=2, sessions=2, level="standard", most_sessions=5)
    certify(measuring(lab.current), bench.study, SETUPS, plan, 0, Silent())
    assert len(bench.study.sessions("dev-1", best.id)) == 5
    assert len(bench.study.sessions("dev-1", other.id)) == 2  # and no more until the next call
    certify(measuring(lab.restart_host()), bench.study, SETUPS, plan, 0, Silent())
    assert len(bench.study.sessions("dev-1", best.id)) == 5


def test_a_race_that_begins_to_fail_by_chance_ends(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    best, _ = finalists_of(bench.study, "dev-1", PLAN)
    size = bench.scorer.candidate(best).exported.size_bytes
    searched.measure = InTurn(*4 * [Wavering()], failing("NO_MEMORY"))
    bench.study.set_budget("dev-1", Budget(20 * size / 1e6, None, "where the best one lies"))
    plan = FinalsPlan(count=2, sessions=2, level="standard", most_sessions=5)
    certify(measuring(lab.current), bench.study, SETUPS, plan, 0, Silent())
    failures = [s.arch.id for s in bench.study.sessions() if isinstance(s.result, Failure)]
    assert best.id in failures
    assert len(failures) == len(set(failures))


def twice_as_fast(job_id: str, job: MeasureJob, model: bytes) -> Measurement:
    found = by_size(job_id, job, model)
    legs = [replace(leg, samples_ns=tuple(ns // 2 for ns in leg.samples_ns)) for leg in found.legs]
    return replace(found, legs=tuple(legs))


def test_a_pick_that_is_on_no_shortlist_any_more_gets_its_sessions_too(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    once, plan = replace(PLAN, count=1, sessions=1), replace(PLAN, count=1)
    (best,) = finalists_of(bench.study, "dev-1", plan)
    searched.measure = twice_as_fast
    certify(measuring(lab.current), bench.study, SETUPS, once, 0, Silent())
    size = bench.scorer.candidate(best).exported.size_bytes
    bench.study.set_budget("dev-1", Budget(15 * size / 1e6, None, "below its trial"))
    assert best not in finalists_of(bench.study, "dev-1", plan)
    certify(measuring(lab.current), bench.study, SETUPS, plan, 0, Silent())
    assert levels(bench.study.sessions("dev-1", best.id)) == ["standard"] * 2
    pick = decide(bench.study, "dev-1", plan).pick
    assert pick is not None
    assert pick.arch == best


def test_sessions_beyond_the_most_of_a_race_are_kept_as_well(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    plan = FinalsPlan(count=1, sessions=4, level="standard", most_sessions=4)
    object.__setattr__(plan, "most_sessions", 2)  # whatever a plan makes of that
    for _ in range(3):
        certify(measuring(lab.current), bench.study, SETUPS, plan, 0, Silent())
        assert len(bench.study.sessions("dev-1")) == 4


def test_sessions_before_a_change_of_the_device_do_not_count(
    lab: Lab, measuring: Measuring, bench: Workbench, searched: DeviceTwin
) -> None:
    certify(measuring(lab.current), bench.study, SETUPS, PLAN, 0, Silent())
    bench.study.probes.mark_drift("dev-1", "another board")
    assert decide(bench.study, "dev-1", PLAN).pick is None
    certify(measuring(lab.current), bench.study, SETUPS, PLAN, 0, Silent())
    assert len(bench.study.sessions()) == 8
    assert decide(bench.study, "dev-1", PLAN).pick is not None
