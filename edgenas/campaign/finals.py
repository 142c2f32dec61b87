"""The finalists: measured again, in several sessions at a higher level, before anything ships.

A pick made on one noisy reading is how limits get broken. After a fixed number of sessions the
race goes on for those that are still in doubt. Who is a finalist and who wins is decided by the
pure rules of `edgenas.search.pick`, who runs on by those of `edgenas.search.race`.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgenas.campaign.errors import CampaignError, RunFolderError
from edgenas.campaign.measurer import Measurer, Task, require_answers
from edgenas.campaign.measuring import RETRYABLE, SILENT, DeviceSetup, check_level
from edgenas.campaign.progress import Progress
from edgenas.search.budget import Budget
from edgenas.search.disturbance import alone, common_disturbance, samples_of, slow_share
from edgenas.search.pick import Decision, Finalist, choose, objections, shortlist
from edgenas.search.race import contenders
from edgenas.search.study import Session, Study
from edgenas.search.trial import Failure, Outcome
from edgenas.space.arch import Arch

FALLBACK_LEVEL = "quick"
MOST_LISTS = 3  # shortlists, each longer than the one before, if nothing on one holds

_Session = tuple[DeviceSetup, Arch, int]


@dataclass(frozen=True)
class FinalsPlan:
    """How finalists are measured.

    Attributes:
        count: finalists a device.
        sessions: independent measurements of each.
        level: measuring level.
        most_sessions: of a finalist about which there is doubt still.
    """

    count: int = 4
    sessions: int = 3
    level: str = "certify"
    most_sessions: int = 8

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
    """Measure each device's finalists until the study holds what a pick needs.

    First every finalist gets its sessions, in rounds and in random order; then those on which the
    pick depends run on, one session a round, until their latencies are told from the limit or have
    had `most_sessions`. One whose last session failed by chance is left until the next call. Devices
    do not wait for each other within a round.

    Raises:
        MeasuringError: a device stopped answering; the sessions of the others are done.
        LocalDeviceError, FleetStoppedError: measuring cannot go on.
    """
    rounds = _Rounds(measurer, study, plan, progress, random.Random(seed))
    wanted = [
        (setup, arch, number)
        for number in range(plan.sessions)
        for setup in setups
        for arch in finalists_of(study, setup.device_id, plan)
    ]
    progress.phase(f"measuring finalists again ({plan.level})", len(wanted))
    rounds.run(wanted)
    for _ in range(MOST_LISTS * plan.most_sessions):
        again = [
            (setup, arch, number)
            for setup in setups
            if setup.device_id not in rounds.lost
            for arch, number in _in_doubt(study, setup.device_id, plan, rounds.unlucky)
        ]
        if not again:
            break
        progress.phase(f"finalists in doubt ({plan.level})", len(again))
        rounds.run(again)
    require_answers(rounds.lost)


class _Rounds:
    """Has devices measure sessions side by side, one at a time on each.

    Attributes:
        lost: devices that are not asked any more.
        unlucky: (device, id of the network) whose last session here failed by chance.
    """

    def __init__(
        self,
        measurer: Measurer,
        study: Study,
        plan: FinalsPlan,
        progress: Progress,
        rng: random.Random,
    ) -> None:
        self.measurer, self.study, self.plan, self.progress = measurer, study, plan, progress
        self.lost: set[str] = set()
        self.unlucky: set[tuple[str, str]] = set()
        self._rng, self._levels = rng, dict[str, str]()

    def run(self, wanted: Sequence[_Session]) -> None:
        """Measure what is not in the study; (device, network, number of the session)."""
        queues: dict[str, list[_Session]] = {}
        for item in sorted(wanted, key=lambda item: (item[2], self._rng.random())):
            queues.setdefault(item[0].device_id, []).append(item)
        under_way: dict[str, _Session] = {}
        done = 0
        while True:
            for device, queue in queues.items():
                while queue and device not in under_way:
                    session = queue.pop(0)
                    done += 1
                    if not self._begin(*session):
                        self.progress.advance(done, f"{device}: {session[1].id}")
                    else:
                        under_way[device] = session
            if not under_way:
                return
            answer = self.measurer.wait()
            device = answer.task.setup.device_id
            session = under_way.pop(device)
            setup, arch, _ = session
            if self._take(setup, arch, answer.result, answer.raw):
                self.progress.advance(done, f"{device}: {arch.id}")
            else:
                queues[device].insert(0, session)
                done -= 1

    def _begin(self, setup: DeviceSetup, arch: Arch, number: int) -> bool:
        """Submit a session; False if there is nothing to wait for."""
        device = setup.device_id
        had = len(settled(self.study, device, arch, self.plan))
        if device in self.lost or had > number:
            return False
        candidate = self.measurer.candidate(arch, setup.file_format)
        if isinstance(candidate, Failure):
            self.study.add_session(device, arch, candidate)
            return False
        key = f"final-{arch.id}-{len(self.study.sessions(device, arch.id))}"
        level = self._levels.get(device, self.plan.level)
        self.measurer.start(Task(key, setup, candidate, level))
        return True

    def _take(
        self,
        setup: DeviceSetup,
        arch: Arch,
        result: Outcome | Failure,
        raw: Mapping[str, Any] | None,
    ) -> bool:
        """Keep a session; False if it has to be measured once more at another level."""
        device = setup.device_id
        if (
            isinstance(result, Failure)
            and result.code == "busy"
            and self._levels.get(device) != FALLBACK_LEVEL
        ):
            self._levels[device] = FALLBACK_LEVEL
            self.progress.note(
                f"  {device} stayed busy ({result.detail}); its finalists are measured at level "
                f"{FALLBACK_LEVEL} instead, without waiting for quiet"
            )
            return False
        self.study.add_session(device, arch, result, raw)
        self.unlucky.discard((device, arch.id))
        if isinstance(result, Failure) and result.code in RETRYABLE:
            self.unlucky.add((device, arch.id))
        if isinstance(result, Failure) and result.code in SILENT:
            self.lost.add(device)
        return True


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


def finalists_of(study: Study, device: str, plan: FinalsPlan) -> list[Arch]:
    """The finalists of a device, without repeats: one shortlist, and a longer one if it fails.

    Raises:
        RunFolderError: the device has no budget yet.
    """
    budget, trials = budget_of(study, device), study.trials(device)
    found: list[Arch] = []
    for lists in range(1, MOST_LISTS + 1):
        listed = [trial.arch for trial in shortlist(trials, budget, lists * plan.count)]
        before, found = found, list({arch.id: arch for arch in (*found, *listed)}.values())
        if found == before or not _all_failed(study, device, found, plan, budget):
            break
    return found


def decide(study: Study, device: str, plan: FinalsPlan) -> Decision:
    """Which finalist the device gets, from the sessions in the study."""
    finalists = judged_finalists(study, device, plan)
    return choose(finalists, budget_of(study, device), smallest=_smallest(study, device))


def judged_finalists(study: Study, device: str, plan: FinalsPlan) -> list[Finalist]:
    """The finalists of a device that have sessions, with the figures by which they are judged."""
    archs = {arch.id: arch for arch in finalists_of(study, device, plan)}
    return _judged(study, device, archs.values(), plan)


def settled(study: Study, device: str, arch: Arch, plan: FinalsPlan) -> list[Outcome | Failure]:
    """Sessions that need no repeating: a lost connection says nothing about the network."""
    found = [session.result for session in _sessions(study, device, arch, plan)]
    return [r for r in found if isinstance(r, Outcome) or r.code not in RETRYABLE]


def _judged(study: Study, device: str, archs: Iterable[Arch], plan: FinalsPlan) -> list[Finalist]:
    """What other programs on the device did to all finalists alike is not held against any."""
    sessions = {arch: _sessions(study, device, arch, plan) for arch in archs}
    raws = {
        session.position: study.session_raw(session.position) or {}
        for found in sessions.values()
        for session in found
        if isinstance(session.result, Outcome)
    }
    samples = {position: samples_of(raw) for position, raw in raws.items()}
    by_network = [
        [samples[s.position] for s in found if samples.get(s.position)]
        for found in sessions.values()
    ]
    shares = [slow_share(found) for found in by_network if found]
    share = common_disturbance(shares, [raw.get("busy_pct") for raw in raws.values()])
    return [
        Finalist.of(arch, [_figures(s, samples.get(s.position, ()), share) for s in found])
        for arch, found in sessions.items()
        if found
    ]


def _figures(session: Session, samples_ns: Sequence[int], share: float) -> Outcome | Failure:
    if isinstance(session.result, Failure):
        return session.result
    return alone(session.result, samples_ns, share)


def _in_doubt(
    study: Study, device: str, plan: FinalsPlan, unlucky: Collection[tuple[str, str]]
) -> list[tuple[Arch, int]]:
    """Whom to measure once more, and which session of theirs that is.

    Never the `unlucky`: so each session that is wanted is one more, or the last one for now.
    """
    archs = finalists_of(study, device, plan)
    counts = {arch: len(settled(study, device, arch, plan)) for arch in archs}
    may = {arch: count for arch, count in counts.items() if (device, arch.id) not in unlucky}
    few = [(arch, count) for arch, count in may.items() if count < plan.sessions]
    if few:
        return few
    running = contenders(_judged(study, device, archs, plan), budget_of(study, device))
    found = [(one.arch, may[one.arch]) for one in running if one.arch in may]
    return [(arch, count) for arch, count in found if count < plan.most_sessions]


def _all_failed(
    study: Study, device: str, archs: Sequence[Arch], plan: FinalsPlan, budget: Budget
) -> bool:
    """Whether every one of them has had its sessions and is not inside the budget."""
    if any(len(settled(study, device, arch, plan)) < plan.sessions for arch in archs):
        return False
    return all(objections(one, budget) for one in _judged(study, device, archs, plan))


def _sessions(study: Study, device: str, arch: Arch, plan: FinalsPlan) -> list[Session]:
    """Sessions that count: of these levels, and since the device last changed."""
    levels = (plan.level, FALLBACK_LEVEL)
    changed_ms = max((at for at, _ in study.probes.drifts(device)), default=-1)
    return [
        session
        for session in study.sessions(device, arch.id)
        if session.wall_ms > changed_ms
        and (isinstance(session.result, Failure) or session.result.level in levels)
    ]


def _smallest(study: Study, device: str) -> Outcome | None:
    values = [trial.value for trial in study.trials(device) if trial.value is not None]
    return min(values, key=lambda value: value.macs, default=None)
