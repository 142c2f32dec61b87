"""One team's part of a search: its searchers, what its devices are measuring, what they answered.

A proposal is on the disk before it is measured. What one device of a team answered is recorded for
all of them; what a device does not answer goes to another one of its team, or stays open; what a
device measured before it changed is taken back. Which devices are a team is decided in
`edgenas.campaign.teams`, which networks are worth a second measurement in `edgenas.search.again`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgenas.campaign.crew import FAILED_LOOKS, Crew, Worker
from edgenas.campaign.measurer import Answer, Measurer, Task
from edgenas.campaign.measuring import RETRYABLE, SILENT, DeviceSetup
from edgenas.campaign.progress import Progress
from edgenas.campaign.scoring import Candidate
from edgenas.campaign.teams import COMMON_LEVEL, Team, reference_arch
from edgenas.search import SEARCHERS
from edgenas.search.again import worth_again
from edgenas.search.budget import Budget
from edgenas.search.probes import Probe
from edgenas.search.score_cache import ScoreKey
from edgenas.search.searcher import Searcher
from edgenas.search.study import Study
from edgenas.search.trial import Failure, Outcome, Trial
from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace

# Measurements that a changed device makes void are made up for, up to so many times what was asked
# for: a device that changes again and again must not keep a search going for ever.
MADE_UP_FOR = 1
MEASURED_AGAIN = 2  # of this many, the best of them are measured again at least


@dataclass(frozen=True)
class LanePlan:
    """How a lane goes.

    Attributes:
        trials: measured candidates, by name of searcher.
        level: measuring level of candidates.
        seed: of the searchers.
        reference_every: results of a device between two measurements of its reference model; 0
            measures none.
    """

    trials: Mapping[str, int]
    level: str
    seed: int
    reference_every: int = 0


class Lane:
    """One team's part of the search."""

    def __init__(
        self, study: Study, space: ArchSpace, team: Team, plan: LanePlan, progress: Progress
    ) -> None:
        self.study, self.space, self.plan, self.progress = study, space, plan, progress
        self.reference = reference_arch(space)
        self.crew = Crew(study, team.setups, self.reference.id, plan.reference_every)
        self.lead = team.lead
        self._open: dict[tuple[str, str], Trial | None] = {}  # None stands for the reference
        self._exhausted: set[str] = set()
        self._checkpoint = study.identity.checkpoint_sha256
        self._take_over(team.lead)

    @property
    def done(self) -> int:
        """Trials with a result."""
        trials = self.study.trials(self.lead.device_id)
        return sum(t.state != "asked" for t in trials if t.searcher in self.plan.trials)

    @property
    def lost(self) -> bool:
        """Whether no device of the team answers any more."""
        return not self.crew.at_work

    def failed(self) -> list[Trial]:
        """Trials without figures."""
        return [t for t in self.study.trials(self.lead.device_id) if t.state == "failed"]

    def fill(self, measurer: Measurer) -> None:
        """Give every device as much work as it may have; none if it has stopped answering."""
        while (worker := self.crew.idle()) is not None:
            if self.crew.wants_reference(worker, self._is_more_to_do):
                self._look(measurer, worker)
                continue
            trial = self._again.pop(0) if self._again else self._ask(measurer)
            if trial is None:
                return
            self._launch(measurer, worker, trial)

    def prepare(self, measurer: Measurer) -> None:
        """While devices elsewhere measure, think about what comes next; not beside a local one."""
        for searcher in self._unready():
            measurer.quietly(searcher.prepare, timeout_s=0.0)

    def overhear(self, trial: Trial) -> None:
        """Take note of what any device answered."""
        for searcher in self.searchers.values():
            searcher.overhear(trial)

    def take(self, answer: Answer) -> Trial | None:
        """Keep what a device answered; the trial that it ended, if it ended one."""
        worker = self.crew.workers[answer.task.setup.device_id]
        worker.open -= 1
        trial = self._open.pop((worker.setup.device_id, answer.task.key))
        result = answer.result
        worker.heard(result)
        if trial is None:
            self._reference_came(worker, answer)
            return None
        trial = self._on(self.lead.device_id, trial)  # another one may have led when it was asked
        code = result.code if isinstance(result, Failure) else ""
        if worker.changed or code in SILENT:
            if trial.state == "asked":
                self._again.insert(0, trial)  # for whoever is at work still, or the next run
            return None
        if isinstance(result, Failure) and code in RETRYABLE:
            self._leave_open(worker, trial, result)
            return None
        worker.since_reference += 1
        if isinstance(result, Outcome):
            result = worker.undisturbed(result, answer.raw)
            self.study.scores.put(self._score_key(worker, trial.arch), result.to_dict())
        return self._end(trial, result, answer.raw)

    # --- proposals -----------------------------------------------------------------------------

    def _take_over(self, lead: DeviceSetup) -> None:
        """Search for `lead` from now on, going on from what the study holds for it."""
        self.lead = lead
        self._exhausted.clear()
        self._sort_open(lead.device_id)
        self.searchers = {name: self._searcher(name) for name in self.plan.trials}
        for name in self.crew.workers:
            self._share_all(name)

    def _searcher(self, name: str) -> Searcher:
        """A searcher that is told what the study holds.

        What changed devices measured before is heard as from devices of other names: accuracies
        still hold, and latencies may be off by a factor.
        """
        device = self.lead.device_id
        budget = self.study.budgets().get(device)
        searcher = SEARCHERS[name](self.space, device=device, seed=self.plan.seed, budget=budget)
        searcher.resume(t for t in self.study.trials(device) if self._teaches(t, name))
        for trial in self.study.trials():
            searcher.overhear(trial)
        for trial in self.study.voided():
            searcher.overhear(replace(trial, device=f"{trial.device} before it changed"))
        return searcher

    def _teaches(self, trial: Trial, name: str) -> bool:
        """Whether a trial of the device is told to a searcher.

        Its own ones are, unless they are void for good: these it may propose afresh. So are
        results of searchers that this search does without. Those of the others in it are not:
        whoever has two of them search at once compares them.
        """
        if trial.searcher == name:
            return (name, trial.arch.id) not in self._given_up
        chance = trial.failure is not None and trial.failure.code in RETRYABLE
        return trial.state != "asked" and not chance and not self.plan.trials.get(trial.searcher)

    def _sort_open(self, device: str) -> None:
        """Decide what becomes of trials without figures: measured first, or given up."""
        trials = [t for t in self.study.trials(device) if t.searcher in self.plan.trials]
        void = [t for t in self.study.voided(device) if t.searcher in self.plan.trials]
        lost = sum(self.study.renewals(trial.number) for trial in void)
        wanted = sum(self.plan.trials.values())
        budget = self.study.budgets().get(device, Budget())
        best = worth_again(void, budget) if lost <= MEASURED_AGAIN * wanted else ()
        if lost > MEASURED_AGAIN * wanted:
            self.progress.note(f"  {device} has changed too often: nothing is measured again")
        under_way = {trial.number for trial in self._open.values() if trial is not None}
        open_ = {t.number: t for t in trials if t.state == "asked" and t.number not in under_way}
        pending = [t for t in self.study.pending(device) if t.number in open_]
        again = [open_[t.number] for t in best if t.number in open_]
        self._again = [*pending, *again]
        chosen = {trial.number for trial in self._again}
        rest = [trial for number, trial in open_.items() if number not in chosen]
        self._given_up: dict[tuple[str, str], Trial] = {}
        if lost <= MADE_UP_FOR * wanted:  # else they count as asked
            self._given_up = {(trial.searcher, trial.arch.id): trial for trial in rest}

    def _is_more_to_do(self) -> bool:
        """Whether networks are left to be handed out."""
        return bool(self._again) or any(self._asked_share(name) < 1 for name in self.plan.trials)

    def _unready(self) -> list[Searcher]:
        """Searchers that have to think before they can propose once more."""
        wanted = [] if self.lost else [n for n in self.searchers if self._asked_share(n) < 1]
        return [self.searchers[name] for name in wanted if not self.searchers[name].is_ready]

    def _asked_share(self, name: str) -> float:
        """Part of a searcher's trials that was asked for and not given up; 1 if none are wanted."""
        wanted = self.plan.trials[name]
        if not wanted or name in self._exhausted:
            return 1.0
        asked = len(self.study.trials(self.lead.device_id, name))
        return (asked - sum(searcher == name for searcher, _ in self._given_up)) / wanted

    def _ask(self, measurer: Measurer) -> Trial | None:
        """The next proposal of the searcher that is furthest behind its count."""
        shares = {name: self._asked_share(name) for name in self.plan.trials}
        for name in sorted(shares, key=lambda name: shares[name]):
            if shares[name] >= 1:
                return None
            searcher = self.searchers[name]
            if not searcher.is_ready:
                measurer.quietly(searcher.prepare)
            fresh = searcher.ask(1)
            if fresh:
                void = self._given_up.pop((name, fresh[0].id), None)
                trial = void or self.study.ask(self.lead.device_id, name, fresh)[0]
                searcher.tell(trial)
                return trial
            self._exhausted.add(name)
        return None

    # --- measuring -----------------------------------------------------------------------------

    def _launch(self, measurer: Measurer, worker: Worker, trial: Trial) -> None:
        known = self.study.scores.get(self._score_key(worker, trial.arch))
        if known is not None:  # another searcher, or an earlier run, had it measured there
            device = worker.setup.device_id
            self._end(trial, Outcome.from_dict(known), {"device": device, "measured": "before"})
            return
        renewed = self.study.renewals(trial.number)
        key = f"trial-{trial.number}" + (f"-again-{renewed}" if renewed else "")
        failure = self._start(measurer, worker, trial.arch, key, self.plan.level)
        if failure is None:
            self._open[worker.setup.device_id, key] = trial
        else:
            self._end(trial, failure, None)

    def _score_key(self, worker: Worker, arch: Arch) -> ScoreKey:
        """Names the measurement of a network on a device as it is now."""
        setup, epoch = worker.setup, len(self.study.probes.drifts(worker.setup.device_id))
        device = f"{setup.key}/{epoch}"
        return ScoreKey(self._checkpoint, arch.id, device, f"outcome/{self.plan.level}")

    def _look(self, measurer: Measurer, worker: Worker) -> None:
        """Have a device measure its reference model."""
        device = worker.setup.device_id
        epoch = len(self.study.probes.drifts(device))
        key = f"reference-{epoch}-{len(self.study.probes.of(device))}"
        failure = self._start(measurer, worker, self.reference, key, COMMON_LEVEL)
        if failure is not None:
            self.progress.note(f"  changes of devices are not seen: {failure.detail}")
            self.crew.every = 0
            return
        worker.looking = True
        self._open[device, key] = None

    def _start(
        self, measurer: Measurer, worker: Worker, arch: Arch, key: str, level: str
    ) -> Failure | None:
        candidate = measurer.candidate(arch, worker.setup.file_format)
        if not isinstance(candidate, Candidate):
            return candidate
        others = len(self.crew.at_work) > 1
        measurer.start(Task(key, worker.setup, candidate, level, elsewhere=others))
        worker.open += 1
        return None

    # --- answers -------------------------------------------------------------------------------

    def _leave_open(self, worker: Worker, trial: Trial, failure: Failure) -> None:
        """A failure that says nothing about the network ends no trial; the next run begins anew."""
        self.progress.note(
            f"  {worker.setup.device_id}: {trial.arch.id} stays open, since this says nothing "
            f"about it ({failure.code}: {failure.detail}); repeat the command to measure it"
        )

    def _end(self, trial: Trial, result: Outcome | Failure, raw: Mapping[str, Any] | None) -> Trial:
        """Record a result for every device of the team."""
        ended = self.study.record(trial.number, result, raw)
        self.searchers[trial.searcher].tell(ended)
        for name, worker in self.crew.workers.items():
            if worker.at_work:
                self._share(ended, raw, name)
        return ended

    def _share_all(self, device: str) -> None:
        """Bring a device up to date with what its team knows."""
        if device == self.lead.device_id or not self.crew.workers[device].at_work:
            return
        known = {(t.searcher, t.arch.id) for t in self.study.trials(device) if t.state != "asked"}
        for trial in self.study.trials(self.lead.device_id):
            if trial.state != "asked" and (trial.searcher, trial.arch.id) not in known:
                self._share(trial, self.study.raw(trial.number), device)

    def _share(self, ended: Trial, raw: Mapping[str, Any] | None, device: str) -> None:
        """Record for another device what one of the team measured, and where that was."""
        own = ended.failure is not None and ended.failure.code in RETRYABLE
        if device == ended.device or own:
            return
        trial = self._on(device, ended)
        kept = ("device", "runtime", "fingerprint_sha256")
        told = {name: raw[name] for name in kept if name in raw} if raw else {}
        result = ended.value or ended.failure
        if trial.state == "asked" and result is not None:
            self.study.record(trial.number, result, {**told, "copy_of": ended.number})

    def _on(self, device: str, like: Trial) -> Trial:
        """The trial of the same searcher and network on a device of the team."""
        if like.device == device:
            return like
        trials = self.study.trials(device, like.searcher)
        found = next((trial for trial in trials if trial.arch.id == like.arch.id), None)
        return found or self.study.ask(device, like.searcher, [like.arch])[0]

    def _reference_came(self, worker: Worker, answer: Answer) -> None:
        device, worker.looking = worker.setup.device_id, False
        if worker.silent:
            return
        self.study.probes.add(device, Probe("reference", self.reference.id, answer.result))
        if isinstance(answer.result, Failure):
            if self.crew.look_failed(worker):
                self.progress.note(
                    f"  changes of {device} are not seen: its reference model gave no figures "
                    f"{FAILED_LOOKS} times in a row ({answer.result.code}: {answer.result.detail})"
                )
            return
        moved = self.crew.judge_reference(worker)
        if moved:
            self._changed(worker, moved)

    def _changed(self, worker: Worker, reason: str) -> None:
        """Take back what a device measured before it changed, wherever it was recorded."""
        device = worker.setup.device_id
        self.progress.note(f"  {device} has changed: {reason}; its earlier measurements are void")
        self.study.probes.mark_drift(device, reason)
        names = list(self.crew.workers)
        ended = [t for n in names for t in self.study.trials(n) if t.state != "asked"]
        void = [t.number for t in ended if self._measured_on(t) == device]
        self.study.invalidate(void, f"{device} has changed: {reason}")
        if len(self.crew.at_work) > 1:
            worker.changed = True  # no longer equal to the others until it is compared again
        self._take_over(self.crew.at_work[0].setup)

    def _measured_on(self, trial: Trial) -> str:
        raw = self.study.raw(trial.number) or {}
        return str(raw.get("device", trial.device))
