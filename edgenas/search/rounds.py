"""Searchers that learn in rounds, so that a proposal can be ready before it is asked for.

A proposal of such a searcher follows from the results of its proposals up to a few before the
round began, from every proposal made so far, and from nothing else. Those results have usually
arrived while the last devices still measure: that is when `prepare` makes the plan of the next
round. When a result is late the plan is made without it, and made again with it. What a plan is,
each searcher decides.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgenas.search.budget import Budget
from edgenas.search.front import measured
from edgenas.search.regressors import frugal
from edgenas.search.searcher import Searcher
from edgenas.search.trial import Outcome, Trial
from edgenas.space import Arch, ArchSpace

_Plan = TypeVar("_Plan")


@dataclass(frozen=True, slots=True)
class Pace:
    """When a searcher learns.

    Attributes:
        first: proposals before anything is learnt.
        round: proposals of one plan.
        lag: the last proposals before a round, whose results it does not wait for.
    """

    first: int
    round: int
    lag: int

    def horizon(self, index: int) -> int:
        """How many proposals, from the first one on, teach the plan of proposal `index`."""
        begin = self.first + max(0, index - self.first) // self.round * self.round
        return max(0, begin - self.lag)


@dataclass(frozen=True)
class Knowledge:
    """What a plan may follow from.

    Attributes:
        number: of the round; seeds what is random in its plan.
        found: measured networks, sorted by architecture.
        failed: networks that gave no figures, sorted likewise.
        heard: figures from other devices: accuracies that hold here too, latencies to begin with.
    """

    number: int
    found: tuple[tuple[Trial, Outcome], ...]
    failed: tuple[Trial, ...]
    heard: tuple[tuple[Trial, Outcome], ...]

    @property
    def archs(self) -> list[Arch]:
        """The measured networks."""
        return [trial.arch for trial, _ in self.found]

    @property
    def settled(self) -> frozenset[str]:
        """Ids of all networks whose trials ended."""
        return frozenset(trial.arch.id for trial in (*self.failed, *(t for t, _ in self.found)))


class RoundSearch(Searcher, Generic[_Plan]):
    """A searcher whose proposals follow a plan that is made once a round."""

    def __init__(
        self,
        space: ArchSpace,
        *,
        device: str,
        seed: int,
        budget: Budget | None = None,
        pace: Pace,
        first: Sequence[Arch] = (),
    ) -> None:
        """As `Searcher`.

        Args:
            space: where architectures come from.
            device: the device that is searched for.
            seed: decides everything random.
            budget: limits on that device.
            pace: when the searcher learns.
            first: what to propose first; draws follow until `pace.first` are made.
        """
        super().__init__(space, device=device, seed=seed, budget=budget)
        self.pace, self._first = pace, tuple(first)
        self._heard: dict[str, Trial] = {}
        self._plans: dict[Hashable, _Plan] = {}

    def overhear(self, trial: Trial) -> None:
        """As `Searcher`; keeps each architecture once."""
        if trial.value is not None and trial.device != self.device:
            known = self._heard.get(trial.arch.id, trial)
            self._heard[trial.arch.id] = min(known, trial, key=lambda one: one.number)

    @property
    def is_ready(self) -> bool:
        index = len(self._proposed)
        return index < self.pace.first or self._knowledge(index)[0] in self._plans

    def prepare(self) -> None:
        """Make the plan of the next proposal, if it has not been made."""
        if len(self._proposed) >= self.pace.first:
            self._current_plan(len(self._proposed))

    @abstractmethod
    def _make_plan(self, knowledge: Knowledge) -> _Plan:
        """What to do in this round; the same for the same knowledge."""

    @abstractmethod
    def _follow(self, plan: _Plan, attempt: int, rng: random.Random) -> Arch:
        """A proposal of the plan; with rising `attempt` ever further from it."""

    def _propose(self, index: int, attempt: int, rng: random.Random) -> Arch:
        if index < len(self._first) and attempt == 0:
            return self._first[index]
        if index < self.pace.first:
            return self._draw(rng)
        return self._follow(self._current_plan(index), attempt, rng)

    def _draw(self, rng: random.Random) -> Arch:
        return self.space.sample_by_size(rng)

    def _current_plan(self, index: int) -> _Plan:
        """The plan of proposal `index`, made now or before."""
        key, knowledge = self._knowledge(index)
        if key not in self._plans:
            with frugal():
                self._plans = {key: self._make_plan(knowledge)}
        return self._plans[key]

    def _knowledge(self, index: int) -> tuple[Hashable, Knowledge]:
        """What the plan of proposal `index` may follow from, and a key that tells it apart."""
        number = max(0, index - self.pace.first) // self.pace.round
        taught = frozenset(self._order()[: self.pace.horizon(index)])
        known = [self._told[i] for i in sorted(self._told) if self._teaches(self._told[i], taught)]
        heard = self._heard_before(taught)
        key = (
            number,
            tuple((trial.arch.id, trial.number) for trial in known),
            tuple(trial.arch.id for trial in heard),
        )
        failed = tuple(trial for trial in known if trial.state == "failed")
        return key, Knowledge(number, tuple(measured(known)), failed, tuple(measured(heard)))

    def _teaches(self, trial: Trial, taught: frozenset[str]) -> bool:
        own = trial.arch.id in self._proposed
        return trial.state != "asked" and (trial.arch.id in taught or not own)

    def _heard_before(self, taught: frozenset[str]) -> list[Trial]:
        """What was asked of other devices before the last proposal that teaches here."""
        numbers = [self._numbers[i] for i in taught if i in self._numbers]
        last = max(numbers, default=0)
        return [self._heard[i] for i in sorted(self._heard) if self._heard[i].number < last]
