"""The finalists: measured again, in several sessions at a higher level, before anything ships.

A pick made on one noisy reading is how limits get broken. Who is a finalist and who wins is
decided by the pure rules of `edgenas.search.pick`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from edgenas.campaign.errors import CampaignError, RunFolderError
from edgenas.campaign.measurer import Measurer, Task, require_answers
from edgenas.campaign.measuring import RETRYABLE, SILENT, DeviceSetup, check_level
from edgenas.campaign.progress import Progress
from edgenas.search.budget import Budget
from edgenas.search.pick import Decision, Finalist, choose, shortlist
from edgenas.search.study import Study
from edgenas.search.trial import Failure, Outcome
from edgenas.space.arch import Arch

FALLBACK_LEVEL = "quick"


@dataclass(frozen=True)
class FinalsPlan:
    """How finalists are measured.

    Attributes:
        count: finalists a device.
        sessions: independent measurements of each.
        level: measuring level.
    """

    count: int = 4
    sessions: int = 3
    level: str = "certify"

    def __post_init__(self) -> None:
        if self.count < 1 or self.sessions < 1:
            raise CampaignError(
                f"finals: expected at least one finalist and one session, got {self.count} and "
                f"{self.sessions}; nothing can be picked without"
            )
        check_level(self.level)


def certify(
    measurer: Measurer,
    study: Study,
    setups: Sequence[DeviceSetup],
    plan: FinalsPlan,
    seed: int,
    progress: Progress,
) -> None:
    """Measure each device's shortlist until every finalist has its sessions in the study.

    Raises:
        MeasuringError: a device stopped answering; the sessions of the others are done.
        LocalDeviceError, FleetStoppedError: measuring cannot go on.
    """
    wanted = [
        (number, setup, arch)
        for setup in setups
        for arch in finalists_of(study, setup.device_id, plan.count)
        for number in range(plan.sessions)
    ]
    rng = random.Random(seed)
    wanted.sort(key=lambda item: (item[0], rng.random()))  # rounds over all, in random order
    progress.phase(f"measuring finalists again ({plan.level})", len(wanted))
    levels = {setup.device_id: plan.level for setup in setups}
    lost: set[str] = set()
    for done, (number, setup, arch) in enumerate(wanted):
        device = setup.device_id
        if device not in lost and len(_settled(study, device, arch, plan)) <= number:
            serial = len(study.sessions(device, arch.id))
            result = _session(measurer, setup, arch, levels[device], serial)
            if isinstance(result, Failure) and result.code == "busy":
                levels[device] = FALLBACK_LEVEL
                progress.note(
                    f"  {device} stayed busy ({result.detail}); its finalists are measured at "
                    f"level {FALLBACK_LEVEL} instead, without waiting for quiet"
                )
                result = _session(measurer, setup, arch, FALLBACK_LEVEL, serial)
            study.add_session(device, arch, result)
            if isinstance(result, Failure) and result.code in SILENT:
                lost.add(device)
        progress.advance(done + 1, f"{device}: {arch.id}")
    require_answers(lost)


def budget_of(study: Study, device: str) -> Budget:
    """What a network may cost on a device.

    Raises:
        RunFolderError: the search has not got as far as to know.
    """
    budget = study.budgets().get(device)
    if budget is None:
        raise RunFolderError(
            f"device {device}: expected a budget, got none yet; repeat the `edgenas search` "
            f"command, or give one with --budget {device}=5ms,4MiB"
        )
    return budget


def finalists_of(study: Study, device: str, count: int) -> list[Arch]:
    """The shortlist of a device, without repeats.

    Raises:
        RunFolderError: the device has no budget yet.
    """
    listed = shortlist(study.trials(device), budget_of(study, device), count)
    return list({trial.arch.id: trial.arch for trial in listed}.values())


def decide(study: Study, device: str, plan: FinalsPlan) -> Decision:
    """Which finalist the device gets, from the sessions in the study."""
    found = []
    for arch in finalists_of(study, device, plan.count):
        results = _sessions(study, device, arch, plan)
        if results:
            found.append(Finalist.of(arch, results))
    return choose(found, budget_of(study, device), smallest=_smallest(study, device))


def _session(
    measurer: Measurer, setup: DeviceSetup, arch: Arch, level: str, serial: int
) -> Outcome | Failure:
    candidate = measurer.candidate(arch, setup.file_format)
    if isinstance(candidate, Failure):
        return candidate
    measurer.start(Task(f"final-{arch.id}-{serial}", setup, candidate, level))
    return measurer.wait().result


def _settled(study: Study, device: str, arch: Arch, plan: FinalsPlan) -> list[Outcome | Failure]:
    """Sessions that need no repeating: a lost connection says nothing about the network."""
    found = _sessions(study, device, arch, plan)
    return [r for r in found if isinstance(r, Outcome) or r.code not in RETRYABLE]


def _sessions(study: Study, device: str, arch: Arch, plan: FinalsPlan) -> list[Outcome | Failure]:
    """Sessions that count for the decision: not those from which a budget was derived."""
    levels = (plan.level, FALLBACK_LEVEL)
    return [
        session.result
        for session in study.sessions(device, arch.id)
        if isinstance(session.result, Failure) or session.result.level in levels
    ]


def _smallest(study: Study, device: str) -> Outcome | None:
    values = [trial.value for trial in study.trials(device) if trial.value is not None]
    return min(values, key=lambda value: value.macs, default=None)
