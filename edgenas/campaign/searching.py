"""The search: searchers propose, devices measure, the study remembers.

Every device has its own searchers and its own queue; no device waits for another, and a proposal
is on the disk before it is measured. What is proposed is decided in `edgenas.search`, what is
picked in `edgenas.campaign.finals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgenas.campaign.errors import CampaignError
from edgenas.campaign.measurer import Answer, Measurer, Task, require_answers
from edgenas.campaign.measuring import SILENT, DeviceSetup, check_level
from edgenas.campaign.progress import Progress
from edgenas.campaign.scoring import Candidate
from edgenas.search import SEARCHERS
from edgenas.search.budget import Budget, derive_budget
from edgenas.search.searcher import Searcher
from edgenas.search.study import Study
from edgenas.search.trial import Failure, Outcome, Trial
from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace

BUDGET_LEVEL = "quick"
AHEAD = 2  # jobs a device has at a time: one that runs and one that waits


@dataclass(frozen=True)
class SearchPlan:
    """How a search goes.

    Attributes:
        trials: measured candidates a device, by name of searcher.
        level: measuring level of candidates.
        seed: of the searchers.
    """

    trials: dict[str, int]
    level: str = "quick"
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = set(self.trials) - set(SEARCHERS)
        if unknown or any(count < 0 for count in self.trials.values()):
            raise CampaignError(
                f"search: expected counts >= 0 for searchers among {', '.join(SEARCHERS)}, got "
                f"{self.trials}"
            )
        check_level(self.level)

    @property
    def total(self) -> int:
        """Candidates a device."""
        return sum(self.trials.values())


@dataclass(frozen=True)
class BudgetShares:
    """Where to put limits that nobody gave: shares of the way from smallest to largest network."""

    latency: float | None
    memory: float | None


def establish_budget(
    measurer: Measurer,
    study: Study,
    space: ArchSpace,
    setup: DeviceSetup,
    shares: BudgetShares,
    sessions: int,
) -> Budget:
    """The device's budget from the study, or derived from its two extreme networks.

    Each is measured in several sessions in turn; the least disturbed one counts.

    Raises:
        CampaignError: the smallest or the largest network cannot be measured on the device.
    """
    known = study.budgets().get(setup.device_id)
    if known is not None:
        return known
    ends: dict[str, list[Outcome]] = {"smallest": [], "largest": []}
    for number in range(sessions):
        for name, arch in (("smallest", space.smallest()), ("largest", space.largest())):
            key = f"budget-{name}-{number}"
            result = _measure_now(measurer, setup, arch, BUDGET_LEVEL, key)
            if isinstance(result, Failure):
                raise CampaignError(
                    f"device {setup.device_id}: expected figures of the {name} network to derive "
                    f"a budget from, got {result.code}: {result.detail}; give one with --budget "
                    f"{setup.device_id}=5ms,4MiB"
                )
            ends[name].append(result)
    budget = derive_budget(
        *(_least_disturbed(found) for found in ends.values()),
        share_latency=shares.latency,
        share_memory=shares.memory,
    )
    if setup.ram_budget_bytes is not None:
        budget = budget.within_memory(setup.ram_budget_bytes, f"profile {setup.profile}")
    study.set_budget(setup.device_id, budget)
    return budget


def search(
    measurer: Measurer,
    study: Study,
    space: ArchSpace,
    setups: Sequence[DeviceSetup],
    plan: SearchPlan,
    progress: Progress,
) -> None:
    """Measure `plan.total` candidates on every device, going on from what the study holds.

    Raises:
        SearchError: the study belongs to something else.
        MeasuringError: a device stopped answering; the others have all their trials.
        LocalDeviceError, FleetStoppedError: measuring cannot go on.
    """
    lanes = {s.device_id: _Lane(study, space, s, plan) for s in setups}
    total = plan.total * len(setups)
    progress.phase(f"searching on {len(setups)} devices", total)
    progress.advance(sum(lane.done for lane in lanes.values()), "")
    while True:
        for lane in lanes.values():
            lane.fill(measurer)
        if not measurer.outstanding:
            break
        for lane in lanes.values():
            lane.prepare(measurer)
        answer = measurer.wait()
        trial = lanes[answer.task.setup.device_id].take(answer)
        for lane in lanes.values():
            lane.overhear(trial)
        progress.advance(sum(lane.done for lane in lanes.values()), _figures(trial))
    for lane in lanes.values():
        for trial in lane.failed():
            progress.note(f"  {trial.device}: {trial.arch.id} failed: {_failure(trial)}")
    require_answers([device for device, lane in lanes.items() if lane.lost])


class _Lane:
    """One device's part of the search."""

    def __init__(
        self, study: Study, space: ArchSpace, setup: DeviceSetup, plan: SearchPlan
    ) -> None:
        self.study, self.setup, self.plan = study, setup, plan
        budget = study.budgets().get(setup.device_id)
        self.searchers: dict[str, Searcher] = {}
        for name in plan.trials:
            searcher = SEARCHERS[name](space, device=setup.device_id, seed=plan.seed, budget=budget)
            searcher.resume(study.trials(setup.device_id, name))
            for trial in study.trials():
                searcher.overhear(trial)
            self.searchers[name] = searcher
        self.open: dict[int, Trial] = {}
        pending = study.pending(setup.device_id)
        self._again = [trial for trial in pending if trial.searcher in plan.trials]
        self.lost = False
        self._exhausted: set[str] = set()

    @property
    def done(self) -> int:
        """Trials with a result."""
        trials = self.study.trials(self.setup.device_id)
        return sum(t.state != "asked" for t in trials if t.searcher in self.plan.trials)

    def failed(self) -> list[Trial]:
        """Trials without figures."""
        return [t for t in self.study.trials(self.setup.device_id) if t.state == "failed"]

    def fill(self, measurer: Measurer) -> None:
        """Give the device as much work as it may have; none if it has stopped answering."""
        while len(self.open) < AHEAD and not self.lost:
            trial = self._again.pop(0) if self._again else self._ask(measurer)
            if trial is None:
                return
            self._launch(measurer, trial)

    def prepare(self, measurer: Measurer) -> None:
        """While devices elsewhere measure, think about what comes next; not beside a local one."""
        for searcher in self._unready():
            measurer.quietly(searcher.prepare, timeout_s=0.0)

    def overhear(self, trial: Trial) -> None:
        """Take note of what any device answered."""
        for searcher in self.searchers.values():
            searcher.overhear(trial)

    def _unready(self) -> list[Searcher]:
        """Searchers that have to think before they can propose once more."""
        wanted = [] if self.lost else [n for n in self.searchers if self._share(n) < 1]
        return [self.searchers[name] for name in wanted if not self.searchers[name].is_ready]

    def take(self, answer: Answer) -> Trial:
        """Keep what a device answered."""
        trial = self.open.pop(int(answer.task.key.removeprefix("trial-")))
        self.lost = isinstance(answer.result, Failure) and answer.result.code in SILENT
        return self._end(trial, answer.result, answer)

    def _launch(self, measurer: Measurer, trial: Trial) -> None:
        candidate = measurer.candidate(trial.arch, self.setup.file_format)
        if isinstance(candidate, Candidate):
            self.open[trial.number] = trial
            key = f"trial-{trial.number}"
            measurer.start(Task(key, self.setup, candidate, self.plan.level))
        else:
            self._end(trial, candidate, None)

    def _end(self, trial: Trial, result: Outcome | Failure, answer: Answer | None) -> Trial:
        ended = self.study.record(trial.number, result, answer.raw if answer else None)
        self.searchers[trial.searcher].tell(ended)
        return ended

    def _share(self, name: str) -> float:
        """Part of a searcher's trials that was asked for; 1 if none are wanted."""
        wanted = self.plan.trials[name]
        if not wanted or name in self._exhausted:
            return 1.0
        return len(self.study.trials(self.setup.device_id, name)) / wanted

    def _ask(self, measurer: Measurer) -> Trial | None:
        """The next proposal of the searcher that is furthest behind its count."""
        shares = {name: self._share(name) for name in self.plan.trials}
        for name in sorted(shares, key=lambda name: shares[name]):
            if shares[name] >= 1:
                return None
            searcher = self.searchers[name]
            if not searcher.is_ready:
                measurer.quietly(searcher.prepare)
            fresh = searcher.ask(1)
            if fresh:
                (trial,) = self.study.ask(self.setup.device_id, name, fresh)
                searcher.tell(trial)
                return trial
            self._exhausted.add(name)
        return None


def _measure_now(
    measurer: Measurer, setup: DeviceSetup, arch: Arch, level: str, key: str
) -> Outcome | Failure:
    candidate = measurer.candidate(arch, setup.file_format)
    if isinstance(candidate, Failure):
        return candidate
    measurer.start(Task(key, setup, candidate, level))
    return measurer.wait().result


def _least_disturbed(found: Sequence[Outcome]) -> Outcome:
    """The session with the lowest p95: a limit shall not rest on somebody else's load."""
    return min(found, key=lambda outcome: outcome.latency_p95_ms)


def _figures(trial: Trial) -> str:
    value = trial.value
    if value is None:
        return f"{trial.device}: {_failure(trial)}"
    return (
        f"{trial.device}: {100 * value.accuracy:.1f} %, p95 {value.latency_p95_ms:.3g} ms, "
        f"{value.peak_memory_bytes / 2**20:.2f} MiB"
    )


def _failure(trial: Trial) -> str:
    return f"{trial.failure.code}: {trial.failure.detail}" if trial.failure else "no failure"
