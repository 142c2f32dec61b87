"""The search as a whole, on device twins: counts, kills, lost devices, candidates that fail."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from typing import ClassVar

import pytest

from edgenas.campaign.errors import CampaignError, MeasuringError
from edgenas.campaign.finals import FinalsPlan
from edgenas.campaign.measurer import ATTEMPTS
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import save_setups
from edgenas.campaign.progress import Silent
from edgenas.campaign.searching import (
    BudgetShares,
    SearchPlan,
    establish_budget,
    search,
)
from edgenas.campaign.workbench import Workbench
from edgenas.export import exporter
from edgenas.export.parity import Parity, measure_parity
from edgenas.fleet.host import FleetHost
from edgenas.model.images import Codes
from edgenas.model.subnet import Subnet
from edgenas.search import SEARCHERS
from edgenas.search.budget import Budget
from edgenas.search.front import pareto_front
from edgenas.search.random_search import RandomSearch
from edgenas.search.trial import Failure, Trial
from edgenas.space.arch import Arch
from firmware_bridge.machine_lock import LockBusyError, MachineLock
from firmware_bridge.runtimes.choice import FileFormat
from firmware_bridge.wire.messages import MeasureJob
from tests.edgenas.campaign.conftest import Measuring
from tests.edgenas.campaign.runs import Killer, Listener
from tests.edgenas.campaign.scripted_devices import WhenMeasuring, by_size, failing
from tests.edgenas.fleet.conftest import HASTY, Lab
from tests.edgenas.fleet.device_twin import Answer
from tests.edgenas.fleet.scripted import failed

ONE = [DeviceSetup("dev-1")]
TWO = [DeviceSetup("dev-1"), DeviceSetup("dev-2")]
PLAN = SearchPlan({"evolution": 3, "random": 2})


def check_whole(trials: list[Trial], plan: SearchPlan) -> None:
    """Every planned trial is there once, with its result."""
    assert Counter(trial.searcher for trial in trials) == Counter(plan.trials)
    assert all(trial.state != "asked" for trial in trials)
    asked = {(trial.searcher, trial.arch.id) for trial in trials}
    assert len(asked) == len(trials)


def test_every_device_gets_its_trials(lab: Lab, measuring: Measuring, bench: Workbench) -> None:
    twins = [lab.twin(setup.device_id, by_size) for setup in TWO]
    listener = Listener()
    search(measuring(lab.host()), bench.study, bench.checkpoint.space, TWO, PLAN, listener)
    for setup, twin in zip(TWO, twins, strict=True):
        trials = bench.study.trials(setup.device_id)
        check_whole(trials, PLAN)
        assert all(trial.state == "complete" for trial in trials)
        assert len(twin.received_jobs) == PLAN.total
        assert twin.most_outstanding <= 2
    assert {trial.number for trial in bench.study.trials()} == set(range(1, 2 * PLAN.total + 1))
    assert listener.phases == [("searching on 2 devices", 2 * PLAN.total)]
    assert listener.advances[-1][0] == 2 * PLAN.total
    again = Listener()
    search(measuring(lab.current), bench.study, bench.checkpoint.space, TWO, PLAN, again)
    assert sum(len(twin.received_jobs) for twin in twins) == 2 * PLAN.total
    assert again.advances == [(2 * PLAN.total, "")]


class Thinker(RandomSearch):
    """Has to think before each proposal, and notes what it heard."""

    name = "thinker"
    lock: MachineLock
    heard: ClassVar[list[tuple[str, str]]] = []

    @property
    def is_ready(self) -> bool:
        return getattr(self, "_thought", -1) == len(self._proposed)

    def prepare(self) -> None:
        with pytest.raises(LockBusyError), self.lock.hold(0.0):
            pass  # whoever calls this holds it: nothing else measures on this machine
        self._thought = len(self._proposed)

    def _propose(self, index: int, attempt: int, rng: random.Random) -> Arch:
        assert self.is_ready
        return super()._propose(index, attempt, rng)

    def overhear(self, trial: Trial) -> None:
        self.heard.append((self.device, trial.device))


def test_a_searcher_thinks_in_quiet_and_hears_of_other_devices(
    lab: Lab, measuring: Measuring, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SEARCHERS, "thinker", Thinker)
    monkeypatch.setattr(Thinker, "heard", [])
    for setup in TWO:
        lab.twin(setup.device_id, by_size)
    measurer = measuring(lab.host())
    monkeypatch.setattr(Thinker, "lock", measurer.lock, raising=False)
    plan = SearchPlan({"thinker": 3})
    search(measurer, bench.study, bench.checkpoint.space, TWO, plan, Silent())
    for setup in TWO:
        check_whole(bench.study.trials(setup.device_id), plan)
    assert Counter(Thinker.heard) == {(a.device_id, b.device_id): 3 for a in TWO for b in TWO}
    Thinker.heard.clear()
    search(measurer, bench.study, bench.checkpoint.space, TWO, plan, Silent())
    assert {(a.device_id, b.device_id) for a in TWO for b in TWO} == set(Thinker.heard)


def test_heavy_work_is_put_off_while_something_measures_here(
    lab: Lab, measuring: Measuring
) -> None:
    measurer, done = measuring(lab.host()), []
    with measurer.lock.hold(0.0):
        assert not measurer.quietly(lambda: done.append(1), timeout_s=0.0)
    assert measurer.quietly(lambda: done.append(2))
    assert done == [2]


def test_figures_belong_to_the_bytes_that_were_measured(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    lab.twin(measure=by_size)
    search(measuring(lab.host()), bench.study, bench.checkpoint.space, ONE, PLAN, Silent())
    for trial in bench.study.trials():
        assert trial.value is not None
        candidate = bench.scorer.candidate(trial.arch)
        assert trial.value.sha256 == candidate.exported.sha256
        assert trial.value.accuracy == candidate.accuracy
        raw = bench.study.raw(trial.number)
        assert raw is not None
        assert min(raw["legs"][0]["samples_ns"]) == 20 * candidate.exported.size_bytes


def test_a_killed_search_goes_on_without_losing_or_doubling(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    twin, space = lab.twin(measure=by_size), bench.checkpoint.space
    before: list[Trial] = []
    for at in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            search(measuring(lab.restart_host()), bench.study, space, ONE, PLAN, Killer(at))
        ended = [trial for trial in bench.study.trials() if trial.state != "asked"]
        assert ended[: len(before)] == before
        before = ended
    search(measuring(lab.restart_host()), bench.study, space, ONE, PLAN, Silent())
    trials = bench.study.trials()
    check_whole(trials, PLAN)
    assert [trial for trial in trials if trial in before] == before
    assert len(twin.received_jobs) == len(set(twin.received_jobs)) == PLAN.total


def test_more_trials_are_added_to_those_there_are(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    twin, space = lab.twin(measure=by_size), bench.checkpoint.space
    measurer = measuring(lab.host())
    search(measurer, bench.study, space, ONE, SearchPlan({"random": 1}), Silent())
    (first,) = bench.study.trials()
    search(measurer, bench.study, space, ONE, PLAN, Silent())
    assert bench.study.trials()[0] == first
    check_whole(bench.study.trials(), PLAN)
    assert len(twin.received_jobs) == PLAN.total


def test_what_another_searcher_left_open_is_left_to_it(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    lab.twin(measure=by_size)
    space = bench.checkpoint.space
    (open_trial,) = bench.study.ask("dev-1", "random", [space.largest()])
    plan = SearchPlan({"evolution": 1})
    search(measuring(lab.host()), bench.study, space, ONE, plan, Silent())
    assert bench.study.pending() == [open_trial]


def test_bytes_that_fail_the_parity_gate_are_a_failed_trial(
    lab: Lab, measuring: Measuring, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin, space = lab.twin(measure=by_size), bench.checkpoint.space
    wrong = space.smallest().id

    def measure(model: bytes, subnet: Subnet, codes: Codes, file_format: FileFormat) -> Parity:
        found = measure_parity(model, subnet, codes, file_format)
        return Parity(found.images, 0.5, 9.0, 99, 0.1) if subnet.arch.id == wrong else found

    monkeypatch.setattr(exporter, "measure_parity", measure)
    exports = bench.run.path / "own exports"
    bench.scorer.exporter.folder = exports / bench.scorer.exporter.folder.name
    listener, plan = Listener(), SearchPlan({"evolution": 3})
    search(measuring(lab.host()), bench.study, space, ONE, plan, listener)
    first, *others = bench.study.trials()
    assert first.arch.id == wrong
    assert first.failure is not None
    assert first.failure.code == "export"
    assert "top-1 agreement" in first.failure.detail
    assert [trial.state for trial in others] == ["complete", "complete"]
    assert len(twin.received_jobs) == 2
    assert any(wrong in note and "top-1 agreement" in note for note in listener.notes)
    assert not list(exports.rglob(f"{wrong}/model.tflite"))


def test_a_lost_device_ends_its_own_search_only(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    def unplug(let_go: Callable[[], object]) -> None:
        lab.twins["dev-2"].cut_power(let_go)

    cut = WhenMeasuring(unplug)
    lab.twin("dev-1", by_size)
    lab.twin("dev-2", cut)
    measurer, space = measuring(lab.host(HASTY)), bench.checkpoint.space
    with pytest.raises(MeasuringError, match=r"dev-2.*what was measured is kept"):
        search(measurer, bench.study, space, TWO, PLAN, Silent())
    cut.join()
    check_whole(bench.study.trials("dev-1"), PLAN)
    assert all(trial.value for trial in bench.study.trials("dev-1"))
    lost = bench.study.trials("dev-2")
    assert bench.study.pending("dev-2") == lost, "that a device is lost says nothing of networks"
    assert len(lost) == 2
    lab.twins["dev-2"].measure = by_size
    lab.twins["dev-2"].start()
    lab.current.wait_for_devices(["dev-2"], 30.0)
    search(measurer, bench.study, space, TWO, PLAN, Silent())
    check_whole(bench.study.trials("dev-2"), PLAN)
    found = bench.study.trials("dev-2")
    assert [t.number for t in found[:2]] == [t.number for t in lost]
    assert all(trial.value for trial in found)


def test_a_device_that_answers_again_goes_on(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    space, refusals = bench.checkpoint.space, ATTEMPTS
    refused = bench.scorer.candidate(space.smallest()).exported.sha256

    def measure(job_id: str, job: MeasureJob, model: bytes) -> Answer | None:
        nonlocal refusals
        if hashlib.sha256(model).hexdigest() == refused and refusals:
            refusals -= 1
            return failed("OVER_BUDGET")
        return by_size(job_id, job, model)

    lab.twin(measure=measure)
    search(measuring(lab.host()), bench.study, space, ONE, PLAN, Silent())
    check_whole(bench.study.trials(), PLAN)
    assert all(trial.value for trial in bench.study.trials())
    assert refusals == 0


def test_what_says_nothing_of_a_network_leaves_its_trial_open(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    twin, listener = lab.twin(measure=failing("STALLED")), Listener()
    space, plan = bench.checkpoint.space, SearchPlan({"evolution": 2})
    search(measuring(lab.host()), bench.study, space, ONE, plan, listener)
    open_ = bench.study.pending()
    assert len(open_) == 2
    assert len(twin.received_jobs) == 2 * ATTEMPTS
    for trial in open_:
        assert any(trial.arch.id in n and "STALLED" in n for n in listener.notes)
    twin.measure = by_size
    search(measuring(lab.current), bench.study, space, ONE, plan, Silent())
    check_whole(bench.study.trials(), plan)
    assert [trial.number for trial in bench.study.trials() if trial.value] == [1, 2]


def test_a_failing_device_leaves_failed_trials(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    twin, listener = lab.twin(measure=failing("BROKEN_HERE")), Listener()
    plan = SearchPlan({"evolution": 1, "random": 1})
    search(measuring(lab.host()), bench.study, bench.checkpoint.space, ONE, plan, listener)
    assert [trial.failure for trial in bench.study.trials()] == [
        Failure("BROKEN_HERE", "scripted")
    ] * 2
    assert len(twin.received_jobs) == 2
    assert sum("BROKEN_HERE: scripted" in note for note in listener.notes) == 2


def budget_on(host: FleetHost, measuring: Measuring, bench: Workbench, sessions: int) -> Budget:
    return establish_budget(
        measuring(host), bench.study, bench.checkpoint.space, ONE[0],
        BudgetShares(latency=0.5, memory=None), sessions,
    )  # fmt: skip


def test_a_budget_lies_between_the_extreme_networks(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    twin = lab.twin(measure=by_size)
    budget = budget_on(lab.host(), measuring, bench, 3)
    sizes = [
        bench.scorer.candidate(arch).exported.size_bytes
        for arch in (bench.checkpoint.space.smallest(), bench.checkpoint.space.largest())
    ]
    middle_ms = 20 * sum(sizes) / 2 / 1e6
    assert budget.latency_p95_ms == pytest.approx(middle_ms, rel=0.01)
    assert budget.peak_memory_bytes is None
    assert len(twin.received_jobs) == 6
    assert bench.study.budgets() == {"dev-1": budget}
    assert budget_on(lab.restart_host(), measuring, bench, 3) == budget
    assert len(twin.received_jobs) == 6


def test_a_budget_that_was_given_needs_no_measuring(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    twin, given = lab.twin(measure=by_size), Budget(1.0, None, "given: 1ms")
    bench.study.set_budget("dev-1", given)
    assert budget_on(lab.host(), measuring, bench, 3) == given
    assert twin.received_jobs == []


def test_without_figures_there_is_no_budget_until_the_device_recovers(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    twin = lab.twin(measure=failing("STALLED"))
    with pytest.raises(CampaignError, match=r"dev-1: .*smallest.*STALLED.*--budget"):
        budget_on(lab.host(), measuring, bench, 1)
    assert len(twin.received_jobs) == ATTEMPTS
    twin.measure = by_size
    assert budget_on(lab.restart_host(), measuring, bench, 1).latency_p95_ms is not None


@pytest.mark.parametrize("counts", [{"annealing": 1}, {"random": -1}])
def test_a_plan_names_known_searchers_and_counts(counts: dict[str, int]) -> None:
    with pytest.raises(CampaignError, match="expected counts >= 0 for searchers among"):
        SearchPlan(counts)


def test_a_plan_names_a_known_level() -> None:
    with pytest.raises(CampaignError, match="slow"):
        SearchPlan({"random": 1}, "slow")


def test_limits_that_were_given_stay_within_what_the_board_has(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    setup = DeviceSetup("dev-1", profile="kiosk", ram_budget_bytes=1000)
    bench.study.set_budget("dev-1", Budget(5.0, None, "given: 5ms"))
    measurer, space = measuring(lab.host()), bench.checkpoint.space
    shares = BudgetShares(0.7, 0.7)
    budget = establish_budget(measurer, bench.study, space, setup, shares, 1)
    assert budget == bench.study.budgets()["dev-1"]
    assert (budget.latency_p95_ms, budget.peak_memory_bytes) == (5.0, 1000)
    assert "profile kiosk" in budget.reason
    assert establish_budget(measurer, bench.study, space, setup, shares, 1) == budget


def test_a_replaced_board_is_searched_again(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    """No figure of the old board is left, and what was best on it is measured on the new one."""
    twin = lab.twin(measure=by_size)
    old, new = (DeviceSetup("dev-1", fingerprint=letter * 64) for letter in "ab")
    measurer, study, space = measuring(lab.host()), bench.study, bench.checkpoint.space
    finals = FinalsPlan(2, 1, "quick")
    save_setups(bench.run, study, [old], finals)
    search(measurer, study, space, [old], PLAN, Silent())
    front = {trial.number for trial in pareto_front(study.trials("dev-1"))}
    twin.received_jobs.clear()
    assert len(save_setups(bench.run, study, [new], finals)) == 1
    assert all(trial.state == "asked" for trial in study.trials("dev-1"))
    search(measurer, study, space, [new], PLAN, Silent())
    again = {trial.number for trial in study.trials("dev-1") if trial.state == "complete"}
    assert again >= front
    assert len(twin.received_jobs) == len(again)
