"""The finalists: measured again, in several sessions at a higher level, before anything ships.

A pick made on one noisy reading is how limits get broken. After a fixed number of sessions the
race goes on for those that are still in doubt. Who is a finalist and who wins is decided by the
pure rules of `edgenas.search.pick`, who runs on by those of `edgenas.search.race`.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
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
SITTING_MS = 3_600_000  # a gap after which other programs may have ended, or begun
MOST_LISTS = 3  # shortlists, each longer than the one before, if nothing on one holds

_Session = tuple[DeviceSetup, Arch, int]


@dataclass(frozen=True)
class FinalsPlan:
    """How finalists are measured.

    Attributes:
        count: finalists a device.
        sessions: independent measurements of each.
        level: measuring level.
        most_sessions: of a finalist about which there is doubt still; `sessions` where that is
            more, for a number below would never count as reached.
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
        object.__setattr__(self, "most_sessions", max(self.sessions, self.most_sessions))


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
    had `most_sessions`. Who fails by chance then is left until the next call. Devices do not wait
    for each other within a round.

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


def finalists_of(
    study: Study, device: str, plan: FinalsPlan, budget: Budget | None = None
) -> list[Arch]:
    """The finalists of a device, without repeats: one shortlist, and a longer one if it fails.

    Args:
        study: with the trials and sessions.
        device: its id.
        plan: how finalists are measured.
        budget: limits to ask about; those in the study if None.

    Raises:
        RunFolderError: the device has no budget yet.
    """
    limits, trials = budget or budget_of(study, device), study.trials(device)
    found: list[Arch] = []
    for lists in range(1, MOST_LISTS + 1):
        listed = [trial.arch for trial in shortlist(trials, limits, lists * plan.count)]
        before, found = found, list({arch.id: arch for arch in (*found, *listed)}.values())
        if found == before or not _all_failed(study, device, found, plan, limits):
            break
    return found


def decide(study: Study, device: str, plan: FinalsPlan, budget: Budget | None = None) -> Decision:
    """Which network the device gets, from the sessions in the study.

    Whoever has sessions is judged, also one that was a finalist under other limits only: so looser
    limits never give a worse pick. Arguments as for `finalists_of`.
    """
    limits = budget or budget_of(study, device)
    finalists = judged_finalists(study, device, plan)
    return choose(finalists, limits, smallest=_smallest(study, device))


def uncertified(
    study: Study, device: str, plan: FinalsPlan, budget: Budget | None = None
) -> list[Arch]:
    """The finalists that lack sessions and are at least as accurate as what `decide` picks.

    Arguments as for `finalists_of`; only measuring tells whether one of them is the better pick.
    """
    pick = decide(study, device, plan, budget).pick
    least = pick.sessions[0].accuracy if pick is not None else 0.0
    trials = study.trials(device)
    good = {t.arch for t in trials if t.value is not None and t.value.accuracy >= least}
    return [
        arch
        for arch in finalists_of(study, device, plan, budget)
        if arch in good and len(settled(study, device, arch, plan)) < plan.sessions
    ]


def judged_finalists(study: Study, device: str, plan: FinalsPlan) -> list[Finalist]:
    """All networks with sessions on a device, with the figures by which they are judged.

    In the order of their first sessions.
    """
    results: dict[Arch, list[Outcome | Failure]] = {}
    for sitting in _sittings(_sessions(study, device, plan)):
        for arch, result in _figures(study, sitting):
            results.setdefault(arch, []).append(result)
    return [Finalist.of(arch, found) for arch, found in results.items()]


def settled(study: Study, device: str, arch: Arch, plan: FinalsPlan) -> list[Outcome | Failure]:
    """Sessions that need no repeating: a lost connection says nothing about the network."""
    found = [session.result for session in _sessions(study, device, plan, arch)]
    return [r for r in found if isinstance(r, Outcome) or r.code not in RETRYABLE]


def _sittings(sessions: Sequence[Session]) -> list[list[Session]]:
    """Sessions that were measured near each other; limits may be changed weeks later."""
    found: list[list[Session]] = []
    for session in sessions:
        if not found or session.wall_ms - found[-1][-1].wall_ms > SITTING_MS:
            found.append([])
        found[-1].append(session)
    return found


def _figures(study: Study, sitting: Sequence[Session]) -> list[tuple[Arch, Outcome | Failure]]:
    """What other programs on the device did to all networks alike is not held against any."""
    measured = [session for session in sitting if isinstance(session.result, Outcome)]
    raws = {s.position: study.session_raw(s.position) or {} for s in measured}
    samples = {position: samples_of(raw) for position, raw in raws.items()}
    by_network: dict[Arch, list[Sequence[int]]] = {}
    for session in measured:
        if samples[session.position]:
            by_network.setdefault(session.arch, []).append(samples[session.position])
    shares = [slow_share(found) for found in by_network.values()]
    share = common_disturbance(shares, [raw.get("busy_pct") for raw in raws.values()])
    return [(s.arch, _alone(s.result, samples.get(s.position, ()), share)) for s in sitting]


def _alone(result: Outcome | Failure, samples_ns: Sequence[int], share: float) -> Outcome | Failure:
    return result if isinstance(result, Failure) else alone(result, samples_ns, share)


def _in_doubt(
    study: Study, device: str, plan: FinalsPlan, unlucky: Collection[tuple[str, str]]
) -> list[tuple[Arch, int]]:
    """Whom to measure once more, and which session of theirs that is.

    Never the `unlucky`: so each session that is wanted is one more, or the last one for now.
    """
    judged, budget = judged_finalists(study, device, plan), budget_of(study, device)
    pick = choose(judged, budget).pick
    listed = [*finalists_of(study, device, plan), *([pick.arch] if pick is not None else [])]
    known = dict.fromkeys([*listed, *(one.arch for one in judged)])
    counts = {
        arch: len(settled(study, device, arch, plan))
        for arch in known
        if (device, arch.id) not in unlucky
    }
    few = [(arch, n) for arch, n in counts.items() if arch in listed and n < plan.sessions]
    if few:
        return few
    running = [one.arch for one in contenders(judged, budget) if one.arch in counts]
    return [(arch, counts[arch]) for arch in running if counts[arch] < plan.most_sessions]


def _all_failed(
    study: Study, device: str, archs: Sequence[Arch], plan: FinalsPlan, budget: Budget
) -> bool:
    """Whether every one of them has had its sessions and is not inside the budget."""
    if any(len(settled(study, device, arch, plan)) < plan.sessions for arch in archs):
        return False
    judged = judged_finalists(study, device, plan)
    return all(objections(one, budget) for one in judged if one.arch in archs)


def _sessions(
    study: Study, device: str, plan: FinalsPlan, arch: Arch | None = None
) -> list[Session]:
    """Sessions that count: of these levels, and since the device last changed."""
    levels = (plan.level, FALLBACK_LEVEL)
    changed_ms = max((at for at, _ in study.probes.drifts(device)), default=-1)
    return [
        session
        for session in study.sessions(device, None if arch is None else arch.id)
        if session.wall_ms > changed_ms
        and (isinstance(session.result, Failure) or session.result.level in levels)
    ]


def _smallest(study: Study, device: str) -> Outcome | None:
    values = [trial.value for trial in study.trials(device) if trial.value is not None]
    return min(values, key=lambda value: value.macs, default=None)
