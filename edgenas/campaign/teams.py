"""Devices that are one for the search: same fingerprint, and shown to be equally fast.

Equal boards that lie in one drawer need not run alike: another power supply, a worse card or a
warmer place is enough. So before anything is shared, all of them measure a few common models; what
the figures mean is decided in `edgenas.search.equivalence`. Searching is left to
`edgenas.campaign.searching`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from edgenas.campaign.errands import Errand, run_errands
from edgenas.campaign.measurer import Measurer
from edgenas.campaign.measuring import SILENT, DeviceSetup
from edgenas.campaign.progress import Progress
from edgenas.search.equivalence import LOOKS, Comparison, compare_devices
from edgenas.search.probes import Probe
from edgenas.search.study import Study
from edgenas.search.trial import Failure, Outcome
from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace

COMMON_LEVEL = "quick"
FIRST_SESSIONS = LOOKS
MOST_SESSIONS = 6
# Each look at the figures may be the one that errs, so all of them share the 5 %.
_CONFIDENCE = 1 - 0.05 / (MOST_SESSIONS - FIRST_SESSIONS + 1)


@dataclass(frozen=True)
class Team:
    """Devices for which a candidate is measured once.

    Attributes:
        setups: the devices, the one whose name the trials bear first.
    """

    setups: tuple[DeviceSetup, ...]

    @property
    def lead(self) -> DeviceSetup:
        """The device that the searchers search for."""
        return self.setups[0]


def reference_arch(space: ArchSpace) -> Arch:
    """The network by which a change of a device is seen: one of middling size."""
    return space.sample_by_size(random.Random(f"reference/{space.name}"))


def common_archs(space: ArchSpace) -> dict[str, Arch]:
    """The networks that devices are compared by, by id: smallest, middling, largest."""
    archs = (space.smallest(), reference_arch(space), space.largest())
    return {arch.id: arch for arch in archs}


def form_teams(
    measurer: Measurer,
    study: Study,
    space: ArchSpace,
    setups: Sequence[DeviceSetup],
    progress: Progress,
) -> list[Team]:
    """Find out which devices are equal, measuring common models where that is not known yet.

    A device that stays in doubt, or does not answer, is a team of its own.

    Raises:
        LocalDeviceError, FleetStoppedError: measuring cannot go on.
    """
    kinds: dict[object, list[DeviceSetup]] = {}
    for setup in setups:
        kinds.setdefault(_kind(setup), []).append(setup)
    teams: list[Team] = []
    for alike in kinds.values():
        teams += _divide(measurer, study, space, alike, progress)
    order = {setup.device_id: place for place, setup in enumerate(setups)}
    return sorted(teams, key=lambda team: order[team.lead.device_id])


def _kind(setup: DeviceSetup) -> object:
    """What has to agree before figures may be compared at all."""
    if not setup.fingerprint:
        return setup.device_id
    how = (setup.threads, setup.cpus, setup.memory_cap_bytes, setup.file_format, setup.thermal)
    return (setup.fingerprint, setup.profile, *how)


def _divide(
    measurer: Measurer,
    study: Study,
    space: ArchSpace,
    alike: Sequence[DeviceSetup],
    progress: Progress,
) -> list[Team]:
    """Devices of one kind as teams: those equal to the first, then the others among themselves."""
    teams: list[Team] = []
    left = list(alike)
    while left:
        lead, *others = left
        equal = _equals(measurer, study, space, lead, others, progress) if others else []
        teams.append(Team((lead, *equal)))
        left = [setup for setup in others if setup not in equal]
    return teams


def _equals(
    measurer: Measurer,
    study: Study,
    space: ArchSpace,
    lead: DeviceSetup,
    others: Sequence[DeviceSetup],
    progress: Progress,
) -> list[DeviceSetup]:
    archs = common_archs(space)
    progress.phase(f"comparing {1 + len(others)} devices like {lead.device_id}", None)
    open_, equal = list(others), []
    for sessions in range(FIRST_SESSIONS, MOST_SESSIONS + 1):
        _measure(measurer, study, archs, [lead, *open_], sessions)
        for setup in tuple(open_):
            found = _compare(study, lead, setup, archs)
            last = sessions == MOST_SESSIONS
            if found.finding == "undecided" and not last:
                continue
            progress.note(f"  {setup.device_id}: {_told(found, lead)} ({found.reason})")
            open_.remove(setup)
            if found.finding == "equal":
                equal.append(setup)
        if not open_:
            break
    return equal


def _told(found: Comparison, lead: DeviceSetup) -> str:
    if found.finding == "equal":
        return f"equal to {lead.device_id}: what one of them measures holds for both"
    if found.finding == "different":
        return f"not equal to {lead.device_id}: measured by itself"
    return f"not shown to be equal to {lead.device_id}: measured by itself"


def _compare(
    study: Study, lead: DeviceSetup, other: DeviceSetup, archs: dict[str, Arch]
) -> Comparison:
    ours, theirs = (latencies(study, s.device_id, archs) for s in (lead, other))
    return compare_devices(ours, theirs, confidence=_CONFIDENCE)


def latencies(study: Study, device: str, archs: dict[str, Arch]) -> dict[str, list[float]]:
    """By id of a common model, the median latency of each session on a device in ms."""
    found: dict[str, list[float]] = {}
    for probe in study.probes.of(device):
        if probe.arch_id in archs and isinstance(probe.result, Outcome):
            found.setdefault(probe.arch_id, []).append(probe.result.latency_p50_ms)
    return found


def _measure(
    measurer: Measurer,
    study: Study,
    archs: dict[str, Arch],
    setups: Sequence[DeviceSetup],
    sessions: int,
) -> None:
    """Have every device measure every common model so often; what it has measured counts."""
    errands = []
    for setup in setups:
        epoch = len(study.probes.drifts(setup.device_id))
        counts = {a: len(v) for a, v in latencies(study, setup.device_id, archs).items()}
        errands += [
            Errand(f"common-{epoch}-{arch.id}-{number}", setup, arch, COMMON_LEVEL)
            for number in range(sessions)
            for arch in archs.values()
            if counts.get(arch.id, 0) <= number
        ]
    for done in run_errands(measurer, errands):
        if not (isinstance(done.result, Failure) and done.result.code in SILENT):
            probe = Probe("common", done.errand.arch.id, done.result)
            study.probes.add(done.errand.setup.device_id, probe)
