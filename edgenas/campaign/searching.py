"""The search: searchers propose, devices measure, the study remembers.

Every team of equal devices has searchers and a queue of its own; no device waits for another, and
a proposal is on the disk before it is measured. What is proposed is decided in `edgenas.search`,
what a team does in `edgenas.campaign.lane`, what is picked in `edgenas.campaign.finals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgenas.campaign.errors import CampaignError
from edgenas.campaign.lane import Lane, LanePlan
from edgenas.campaign.measurer import Measurer, Task, require_answers
from edgenas.campaign.measuring import DeviceSetup, check_level
from edgenas.campaign.progress import Progress
from edgenas.campaign.teams import Team
from edgenas.search import SEARCHERS
from edgenas.search.budget import Budget, derive_budget
from edgenas.search.study import Study
from edgenas.search.trial import Failure, Outcome, Trial
from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace

BUDGET_LEVEL = "quick"
REFERENCE_EVERY = 12  # results of a device of a fleet between two looks at whether it has changed


@dataclass(frozen=True)
class SearchPlan:
    """How a search goes.

    Attributes:
        trials: measured candidates a device, by name of searcher.
        level: measuring level of candidates.
        seed: of the searchers.
        reference_every: results of a device between two measurements of its reference model, by
            which a change of the device is seen; 0 measures none.
    """

    trials: dict[str, int]
    level: str = "quick"
    seed: int = 0
    reference_every: int = 0

    def __post_init__(self) -> None:
        unknown = set(self.trials) - set(SEARCHERS)
        if unknown or any(count < 0 for count in self.trials.values()):
            raise CampaignError(
                f"search: expected counts >= 0 for searchers among {', '.join(SEARCHERS)}, got "
                f"{self.trials}"
            )
        for name in self.trials:
            SEARCHERS[name].check_available()
        check_level(self.level)

    @property
    def total(self) -> int:
        """Candidates a team."""
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

    Each is measured in several sessions in turn; the least disturbed one counts. Either way the
    limit on memory is at most that of the board's profile.

    Raises:
        CampaignError: the smallest or the largest network cannot be measured on the device.
    """
    known = study.budgets().get(setup.device_id)
    if known is not None:
        budget = setup.bounded(known)
        if budget != known:
            study.set_budget(setup.device_id, budget)
        return budget
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
    derived = derive_budget(
        *(_least_disturbed(found) for found in ends.values()),
        share_latency=shares.latency,
        share_memory=shares.memory,
    )
    budget = setup.bounded(derived)
    study.set_budget(setup.device_id, budget)
    return budget


def search(
    measurer: Measurer,
    study: Study,
    space: ArchSpace,
    setups: Sequence[DeviceSetup],
    plan: SearchPlan,
    progress: Progress,
    teams: Sequence[Team] = (),
) -> set[str]:
    """Measure `plan.total` candidates for every device, going on from what the study holds.

    Args:
        measurer: measures.
        study: the history.
        space: where candidates come from.
        setups: the devices.
        plan: how many candidates, by whom.
        progress: is told.
        teams: the same devices, where one measurement holds for several; without them every
            device measures for itself.

    Returns:
        The devices whose equals did their work, because they stopped answering or changed.

    Raises:
        SearchError: the study belongs to something else.
        MeasuringError: a device stopped answering that nobody can stand in for; the others have
            all their trials.
        LocalDeviceError, FleetStoppedError: measuring cannot go on.
    """
    teams = teams or [Team((setup,)) for setup in setups]
    how = LanePlan(plan.trials, plan.level, plan.seed, plan.reference_every)
    lanes = [Lane(study, space, team, how, progress) for team in teams]
    homes = {
        setup.device_id: lane
        for team, lane in zip(teams, lanes, strict=True)
        for setup in team.setups
    }
    progress.phase(f"searching on {len(setups)} devices", plan.total * len(lanes))
    progress.advance(sum(lane.done for lane in lanes), "")
    while True:
        for lane in lanes:
            lane.fill(measurer)
        if not measurer.outstanding:
            break
        for lane in lanes:
            lane.prepare(measurer)
        answer = measurer.wait()
        trial = homes[answer.task.setup.device_id].take(answer)
        if trial is not None:
            for lane in lanes:
                lane.overhear(trial)
            progress.advance(sum(lane.done for lane in lanes), _figures(trial))
    for lane in lanes:
        for trial in lane.failed():
            progress.note(f"  {trial.device}: {trial.arch.id} failed: {_failure(trial)}")
    require_answers({name for lane in lanes if lane.lost for name in lane.crew.silent})
    return {name for lane in lanes for name in lane.crew.left}


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
