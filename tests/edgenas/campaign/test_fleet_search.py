"""Searching with teams of device twins: equality is shown; work is shared, given and taken back."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.progress import Silent
from edgenas.campaign.searching import SearchPlan, search
from edgenas.campaign.teams import FIRST_SESSIONS, Team, common_archs, form_teams
from edgenas.campaign.workbench import Workbench
from edgenas.search.again import worth_again
from edgenas.search.budget import Budget
from edgenas.search.probes import Probe
from edgenas.search.trial import Outcome, Trial
from firmware_bridge.wire.messages import Leg, MeasureJob, Measurement
from tests.edgenas.campaign.conftest import Measuring
from tests.edgenas.campaign.runs import Killer, Listener
from tests.edgenas.campaign.scripted_devices import WhenMeasuring, by_size
from tests.edgenas.fleet.conftest import HASTY, Lab
from tests.edgenas.fleet.device_twin import Answer, Script

ALIKE = [DeviceSetup(f"dev-{n}", profile="rpi4", fingerprint="a" * 64) for n in (1, 2, 3)]
TEAM = [Team(tuple(ALIKE[:2]))]
PLAN = SearchPlan({"evolution": 3, "random": 3})


def slower(factor: float) -> Script:
    """`by_size`, `factor` times slower, with a little jitter between sessions."""
    wobble = itertools.cycle((0.998, 1.0, 1.003, 0.999))

    def measure(job_id: str, job: MeasureJob, model: bytes) -> Measurement:
        found, by = by_size(job_id, job, model), factor * next(wobble)
        legs = [
            replace(leg, samples_ns=tuple(int(ns * by) for ns in leg.samples_ns))
            for leg in found.legs
        ]
        assert all(isinstance(leg, Leg) for leg in legs)
        return replace(found, legs=tuple(legs))

    return measure


def test_only_devices_shown_to_be_equal_are_a_team(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    stranger = DeviceSetup("dev-4", profile="rpi4", fingerprint="b" * 64)
    for name, factor in (("dev-1", 1.0), ("dev-2", 1.3), ("dev-3", 1.01), ("dev-4", 1.0)):
        lab.twin(name, slower(factor))
    listener, setups = Listener(), [*ALIKE, stranger]
    space = bench.checkpoint.space
    teams = form_teams(measuring(lab.host()), bench.study, space, setups, listener)
    names = [[setup.device_id for setup in team.setups] for team in teams]
    assert names == [["dev-1", "dev-3"], ["dev-2"], ["dev-4"]]
    assert lab.twins["dev-4"].received_jobs == []
    assert len(lab.twins["dev-1"].received_jobs) == 3 * FIRST_SESSIONS
    assert lab.twins["dev-1"].most_outstanding <= 2
    assert any("dev-2: not equal to dev-1" in note for note in listener.notes)
    again = form_teams(measuring(lab.restart_host()), bench.study, space, setups, Silent())
    assert again == teams
    assert len(lab.twins["dev-1"].received_jobs) == 3 * FIRST_SESSIONS
    assert {session.arch.id for session in bench.study.sessions()} == set()


def test_a_team_measures_each_candidate_once(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    twins = [lab.twin(setup.device_id, slower(1.0)) for setup in ALIKE[:2]]
    space, listener = bench.checkpoint.space, Listener()
    found = search(measuring(lab.host()), bench.study, space, ALIKE[:2], PLAN, listener, TEAM)
    assert found == set()
    one, two = (bench.study.trials(setup.device_id) for setup in ALIKE[:2])
    assert Counter(t.searcher for t in one) == Counter(PLAN.trials)
    assert [(t.searcher, t.arch, t.value) for t in one] == sorted(
        ((t.searcher, t.arch, t.value) for t in two), key=lambda row: [
            (t.searcher, t.arch) for t in one
        ].index(row[:2])
    )  # fmt: skip
    counts = [len(twin.received_jobs) for twin in twins]
    assert sum(counts) == PLAN.total
    assert min(counts) > 0  # both had work
    where = Counter((bench.study.raw(trial.number) or {})["device"] for trial in two)
    assert where == {"dev-1": counts[0], "dev-2": counts[1]}
    assert listener.advances[-1][0] == PLAN.total


def test_a_killed_team_goes_on_without_losing_or_doubling(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    twins = [lab.twin(setup.device_id, by_size) for setup in ALIKE[:2]]
    space = bench.checkpoint.space
    try:
        search(measuring(lab.host()), bench.study, space, ALIKE[:2], PLAN, Killer(2), TEAM)
        raise AssertionError("it was not killed")
    except KeyboardInterrupt:
        pass
    search(measuring(lab.restart_host()), bench.study, space, ALIKE[:2], PLAN, Silent(), TEAM)
    for setup in ALIKE[:2]:
        trials = bench.study.trials(setup.device_id)
        assert Counter(t.searcher for t in trials) == Counter(PLAN.trials)
        assert all(trial.state == "complete" for trial in trials)
    received = [job for twin in twins for job in twin.received_jobs]
    # work that was under way may go to another device after a kill, and then be done twice
    assert PLAN.total <= len(set(received)) <= PLAN.total + 4


def test_a_device_that_vanishes_gives_its_work_to_its_equals(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    def unplug(let_go: Callable[[], object]) -> None:
        lab.twins["dev-2"].cut_power(let_go)

    cut = WhenMeasuring(unplug)
    lab.twin("dev-1", by_size)
    lab.twin("dev-2", cut)
    measurer, space = measuring(lab.host(HASTY)), bench.checkpoint.space
    silent = search(measurer, bench.study, space, ALIKE[:2], PLAN, Silent(), TEAM)
    cut.join()
    assert silent == {"dev-2"}
    trials = bench.study.trials("dev-1")
    assert Counter(t.searcher for t in trials) == Counter(PLAN.trials)
    assert all(trial.state == "complete" for trial in trials)
    assert len(lab.twins["dev-1"].received_jobs) == PLAN.total


class Ageing:
    """A device that is a fifth slower from one of its jobs on, for ever."""

    def __init__(self, after: int) -> None:
        self._left = after

    def __call__(self, job_id: str, job: MeasureJob, model: bytes) -> Answer | None:
        self._left -= 1
        return slower(1.0 if self._left >= 0 else 1.2)(job_id, job, model)


def p50_ratio(bench: Workbench, value: Outcome, arch_id: str) -> float:
    """Median latency over what a device that has not changed takes."""
    (arch,) = {t.arch for t in bench.study.trials() if t.arch.id == arch_id}
    size = bench.scorer.candidate(arch).exported.size_bytes
    return value.latency_p50_ms / (20 * size / 1e6)


def test_what_a_device_measured_before_it_changed_does_not_hold(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    held: list[Trial] = []

    class Keeping(Listener):
        def note(self, text: str) -> None:
            super().note(text)
            if "has changed" in text:  # said before anything is taken back
                held.extend(t for t in bench.study.trials("dev-1") if t.value is not None)

    lab.twin("dev-1", Ageing(after=8))
    space, listener = bench.checkpoint.space, Keeping()
    plan = SearchPlan({"evolution": 4, "random": 4}, reference_every=2)
    search(measuring(lab.host()), bench.study, space, ALIKE[:1], plan, listener)
    assert any("dev-1 has changed" in note for note in listener.notes)
    ((_, reason),) = bench.study.probes.drifts("dev-1")
    assert "+2" in reason or "+19" in reason
    trials = bench.study.trials("dev-1")
    assert len(trials) == 8
    measured = [t for t in trials if t.value is not None]
    again = {t.number for t in measured if bench.study.renewals(t.number)}
    assert again == {t.number for t in worth_again(held, Budget())}
    assert {t.number for t in measured} - again == set(range(len(held) + 1, 9)), "it went on"
    assert all(p50_ratio(bench, t.value, t.arch.id) > 1.15 for t in measured if t.value)
    left = {t.number for t in bench.study.stale("dev-1")}
    assert {t.number for t in trials if t.state == "asked"} == left


def test_the_next_one_leads_with_what_it_was_measuring(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    changed = threading.Event()

    class Watching(Listener):
        def note(self, text: str) -> None:
            super().note(text)
            if "has changed" in text:
                changed.set()

    def waiting(job_id: str, job: MeasureJob, model: bytes) -> Answer | None:
        assert changed.wait(60.0)
        return slower(1.0)(job_id, job, model)

    lab.twin("dev-1", Ageing(after=6))
    lab.twin("dev-2", waiting)
    space, plan = bench.checkpoint.space, SearchPlan({"evolution": 5, "random": 5}, "quick", 0, 1)
    left = search(measuring(lab.host()), bench.study, space, ALIKE[:2], plan, Watching(), TEAM)
    assert left == {"dev-1"}
    trials = bench.study.trials("dev-2")
    assert Counter(t.searcher for t in trials) == Counter(plan.trials)
    for trial in trials:
        if trial.value is not None:
            assert p50_ratio(bench, trial.value, trial.arch.id) < 1.1


def test_a_changed_device_leaves_its_team(lab: Lab, measuring: Measuring, bench: Workbench) -> None:
    for setup in ALIKE[:2]:
        lab.twin(setup.device_id, Ageing(after=6) if setup == ALIKE[0] else slower(1.0))
    space, listener = bench.checkpoint.space, Listener()
    plan = SearchPlan({"evolution": 6, "random": 6}, reference_every=1)
    left = search(measuring(lab.host()), bench.study, space, ALIKE[:2], plan, listener, TEAM)
    assert left == {"dev-1"}
    assert any("dev-1 has changed" in note for note in listener.notes)
    trials = bench.study.trials("dev-2")
    assert Counter(t.searcher for t in trials) == Counter(plan.trials)
    fresh = [t for t in trials if t.value is not None]
    assert all(p50_ratio(bench, t.value, t.arch.id) < 1.1 for t in fresh if t.value)
    raws = [bench.study.raw(t.number) or {} for t in fresh]
    assert {raw["device"] for raw in raws} == {"dev-2"}
    archs = common_archs(space)
    assert all(isinstance(p, Probe) and p.arch_id in archs for p in bench.study.probes.of("dev-1"))
