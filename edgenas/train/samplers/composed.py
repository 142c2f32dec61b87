"""A sampler put together from a phase, a proposal and a pick.

The phase says what is elastic at a step, the proposal names candidates, the pick takes one of them
for each slot. Each is a small class of its own; which belong together is
`edgenas.train.samplers.registry`'s.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgenas.space.arch import FULL_BITS, Arch
from edgenas.space.space import ArchSpace
from edgenas.train.samplers.base import Draw, Sampler, Setting, expect_keys
from edgenas.train.samplers.parts import in_parts
from edgenas.train.samplers.rows import RowImportance


@dataclass(frozen=True)
class Moment:
    """What a phase says about one step.

    Attributes:
        space: candidates come from it; the run's space or a part of it.
        alone: the largest subnet runs and nothing else.
        weight: factor of the gradients of all subnets but the largest.
        slots: how many candidates are picked; None leaves it to the sampler.
    """

    space: ArchSpace
    alone: bool = False
    weight: float = 1.0
    slots: int | None = None


class Phase(ABC):
    """Which part of the space is trained when.

    Attributes:
        sort_steps: steps before which channels should be sorted by importance.
    """

    sort_steps: frozenset[int] = frozenset()

    @abstractmethod
    def at(self, step: int) -> Moment:
        """What is elastic at `step`."""


class Always(Phase):
    """No phase: the whole space from the first step on."""

    def __init__(self, space: ArchSpace) -> None:
        self._moment = Moment(space)

    def at(self, step: int) -> Moment:
        """The whole space."""
        return self._moment


class Proposal(ABC):
    """Names candidates, and may learn which ones are worth it."""

    @abstractmethod
    def propose(
        self, space: ArchSpace, rng: random.Random, step: int, count: int
    ) -> Sequence[Arch]:
        """`count` candidates of `space` for one slot, comparable with each other."""

    def least(self, space: ArchSpace) -> Arch:
        """The smallest subnet that it may name of `space`; asked after the first draw."""
        return space.smallest()

    @property
    def listed(self) -> Sequence[Arch]:
        """The only subnets that it ever names; empty where that is all of the space."""
        return ()

    def refresh(self, step: int) -> None:  # noqa: B027 - most proposals have nothing to do
        """Do what is due at `step` before anything is drawn (score again, freeze); once."""

    def companions(self, step: int) -> Sequence[Draw]:
        """Subnets that this method runs after the slots."""
        return ()

    def tell(  # noqa: B027 - most proposals do not adapt
        self, step: int, arch: Arch, loss: float, norms: Mapping[str, float]
    ) -> None:
        """Learn from one trained subnet (see `Sampler.tell`)."""

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, as plain values and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        expect_keys(state, ())


class Pick:
    """Takes the only candidate: every proposed subnet is trained.

    Attributes:
        count: candidates that it wants for one slot.
    """

    count = 1

    def pick(self, candidates: Sequence[Arch]) -> Arch:
        """The candidate that is trained."""
        return candidates[0]


class Composed(Sampler):
    """Phase x proposal x pick, with the extremes that a method always runs.

    Args:
        setting: seed and space.
        proposal: of candidates.
        slots: subnets picked in a step, unless the phase says otherwise.
        largest: always run the largest subnet, first.
        smallest: always run the smallest, second.
        phase: the whole space at once without one.
        pick: every candidate without one.
        parts: of the batch that the draws take in turn, unless the largest runs alone; as many as
            there are draws give each its own.
        rows: the say in which rows an epoch draws.
        wants_norms: whether the proposal learns from gradient norms.
    """

    def __init__(
        self,
        setting: Setting,
        proposal: Proposal,
        *,
        slots: int,
        largest: bool = False,
        smallest: bool = False,
        phase: Phase | None = None,
        pick: Pick | None = None,
        parts: int = 1,
        rows: RowImportance | None = None,
        wants_norms: bool = False,
    ) -> None:
        self.seed, self.slots, self.proposal = setting.seed, slots, proposal
        self.phase = Always(setting.space) if phase is None else phase
        self.pick = Pick() if pick is None else pick
        self.parts = parts
        self.sort_steps, self.rows, self.wants_norms = self.phase.sort_steps, rows, wants_norms
        self._largest, self._smallest = setting.space.largest(), setting.space.smallest()
        self._fixed = [self._largest] * largest + [self._smallest] * smallest

    def draw(self, step: int) -> tuple[Draw, ...]:
        """The extremes, then one pick a slot, then what the proposal adds."""
        moment = self.phase.at(step)
        if moment.alone:
            return (Draw(self._largest),)
        self.proposal.refresh(step)
        rng = random.Random(f"{self.seed}/{step}")
        archs = self._fixed + [self._slot(moment.space, rng, step) for _ in self._slots(moment)]
        draws = [Draw(arch, self._weight(arch, moment)) for arch in archs]
        ordered = self._largest_first([*draws, *self.proposal.companions(step)])
        return tuple(in_parts(ordered, self.parts))

    def subnets(self, step: int) -> int:
        """Extremes, slots and companions."""
        moment = self.phase.at(step)
        if moment.alone:
            return 1
        companions = len(self.proposal.companions(step))
        return len(self._fixed) + len(self._slots(moment)) + companions

    def passes(self, step: int) -> float:
        """Each draw counts as its share of the batch."""
        return self.subnets(step) / (1 if self.phase.at(step).alone else self.parts)

    def least(self, step: int) -> Arch:
        """The phase's smallest; the largest while others do not count, or not fully."""
        moment = self.phase.at(step)
        if moment.alone or moment.weight < 1:
            return self._largest
        return self.proposal.least(moment.space)

    @property
    def listed(self) -> Sequence[Arch]:
        """Those of the proposal, unless the method always runs an extreme one as well."""
        return () if self._fixed else self.proposal.listed

    def tell(self, step: int, arch: Arch, loss: float, norms: Mapping[str, float]) -> None:
        """Hand on to the proposal."""
        self.proposal.tell(step, arch, loss, norms)

    def state_dict(self) -> dict[str, Any]:
        """State of the proposal, and of the rows if it has a say in them."""
        state = self.proposal.state_dict()
        return state if self.rows is None else {**state, "rows": self.rows.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        rest = dict(state)
        if self.rows is not None:
            expect_keys({name: 0 for name in rest if name == "rows"}, ("rows",))
            self.rows.load_state_dict(rest.pop("rows"))
        self.proposal.load_state_dict(rest)

    def _slot(self, space: ArchSpace, rng: random.Random, step: int) -> Arch:
        return self.pick.pick(self.proposal.propose(space, rng, step, self.pick.count))

    def _slots(self, moment: Moment) -> range:
        return range(self.slots if moment.slots is None else moment.slots)

    def _weight(self, arch: Arch, moment: Moment) -> float:
        return 1.0 if self._is_largest(arch) else moment.weight

    def _is_largest(self, arch: Arch) -> bool:
        """In whatever bits: every draw is trained in all of them, the most first."""
        return arch.in_bits(FULL_BITS) == self._largest.in_bits(FULL_BITS)

    def _largest_first(self, draws: list[Draw]) -> list[Draw]:
        """A random draw may happen to be the largest: the others learn from it."""
        for place, draw in enumerate(draws):
            if self._is_largest(draw.arch):
                return [draw, *draws[:place], *draws[place + 1 :]]
        return draws
