"""The finalists: measured again, in several sessions at a higher level, before anything ships.

A pick made on one noisy reading is how limits get broken. Who is a finalist and who wins is
decided by the pure rules of `edgenas.search.pick`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from edgenas.campaign.measurer import Measurer, Task
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.progress import Progress
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


def certify(
    measurer: Measurer,
    study: Study,
    setups: Sequence[DeviceSetup],
    plan: FinalsPlan,
    seed: int,
    progress: Progress,
) -> None:
    """Measure each device's shortlist until every finalist has its sessions in the study."""
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
    for done, (number, setup, arch) in enumerate(wanted):
        device = setup.device_id
        if len(_sessions(study, device, arch, plan)) <= number:
            result = _session(measurer, setup, arch, levels[device], number)
            if isinstance(result, Failure) and result.code == "busy":
                levels[device] = FALLBACK_LEVEL
                progress.note(
                    f"  {device} stayed busy ({result.detail}); its finalists are measured at "
                    f"level {FALLBACK_LEVEL} instead, without waiting for quiet"
                )
                result = _session(measurer, setup, arch, FALLBACK_LEVEL, number)
            study.add_session(device, arch, result)
        progress.advance(done + 1, f"{device}: {arch.id}")


def finalists_of(study: Study, device: str, count: int) -> list[Arch]:
    """The shortlist of a device, without repeats."""
    budget = study.budgets()[device]
    listed = shortlist(study.trials(device), budget, count)
    return list({trial.arch.id: trial.arch for trial in listed}.values())


def decide(study: Study, device: str, plan: FinalsPlan) -> Decision:
    """Which finalist the device gets, from the sessions in the study."""
    found = []
    for arch in finalists_of(study, device, plan.count):
        results = _sessions(study, device, arch, plan)
        if results:
            found.append(Finalist.of(arch, results))
    return choose(found, study.budgets()[device], smallest=_smallest(study, device))


def _session(
    measurer: Measurer, setup: DeviceSetup, arch: Arch, level: str, number: int
) -> Outcome | Failure:
    candidate = measurer.candidate(arch)
    if isinstance(candidate, Failure):
        return candidate
    measurer.start(Task(f"final-{arch.id}-{number}", setup, candidate, level))
    return measurer.wait().result


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
