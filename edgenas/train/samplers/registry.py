"""The samplers by name: one dict, one function that builds.

What each is made of, phase x proposal x pick, reads off its factory here.
"""

from __future__ import annotations

from collections.abc import Callable

from edgenas.train.samplers.base import Sampler, SamplerError, Setting
from edgenas.train.samplers.composed import Composed
from edgenas.train.samplers.cost_bins import SameBin
from edgenas.train.samplers.cost_walk import NearCost
from edgenas.train.samplers.fixed import FixedList, mat_nets, sorted_nets
from edgenas.train.samplers.importance import PathImportance
from edgenas.train.samplers.parts import parts_of
from edgenas.train.samplers.phases import Delayed, Progressive, SortedFirst
from edgenas.train.samplers.picks import ExtremeOf
from edgenas.train.samplers.prenas import Preselected
from edgenas.train.samplers.rows import RowImportance
from edgenas.train.samplers.shift import ShiftedBins
from edgenas.train.samplers.uniform import InTurns, Uniform

Factory = Callable[[Setting], Sampler]
CANDIDATES = 3  # of which AttentiveNAS trains one


def _sandwich(setting: Setting) -> Sampler:
    """Largest, smallest and uniform subnets (the sandwich rule; Yu and Huang, BigNAS)."""
    return Composed(setting, Uniform(), slots=setting.random_subnets, largest=True, smallest=True)


def _sorted_sandwich(setting: Setting) -> Sampler:
    """The sandwich, channels sorted at first: for weights that no narrow subnet has shaped yet."""
    return Composed(
        setting, Uniform(), slots=setting.random_subnets, largest=True, smallest=True,
        phase=SortedFirst(setting.space),
    )  # fmt: skip


def _sandwich_in_turns(setting: Setting) -> Sampler:
    """The sandwich, one subnet a step."""
    return Composed(setting, InTurns(2 + setting.random_subnets), slots=1)


def _uniform(setting: Setting) -> Sampler:
    """Nothing but uniform subnets (SPOS)."""
    return Composed(setting, Uniform(), slots=_some(setting))


def _uniform_in_parts(setting: Setting) -> Sampler:
    """Uniform subnets, each on its own part of the batch (ViT-ResNAS)."""
    parts = parts_of(setting, _some(setting))
    return Composed(setting, Uniform(), slots=parts, parts=parts)


def _progressive(setting: Setting) -> Sampler:
    """Once-for-all: as many subnets a step as its phases say."""
    phase = Progressive(setting.space, setting.steps)
    return Composed(setting, Uniform(), slots=1, phase=phase)


def _deps(setting: Setting) -> Sampler:
    """The largest alone, then the sandwich, ramped in."""
    return Composed(
        setting, Uniform(), slots=setting.random_subnets, largest=True, smallest=True,
        phase=Delayed(setting.space, setting.steps, setting.rate),
    )  # fmt: skip


def _attentive(name: str, *, worst: bool) -> Factory:
    """The sandwich, its random subnets each the best or the worst of some at one cost."""

    def build(setting: Setting) -> Sampler:
        return Composed(
            setting, SameBin(setting), slots=setting.random_subnets, largest=True, smallest=True,
            pick=ExtremeOf(CANDIDATES, setting.judged(name), worst=worst),
        )  # fmt: skip

    return build


def _elasticvit(setting: Setting) -> Sampler:
    """Subnets of the walk's cost, and a cheapest one; never the largest on purpose."""
    return Composed(setting, NearCost(setting), slots=_some(setting))


def _shiftnas(setting: Setting) -> Sampler:
    """Subnets of the bins that still improve."""
    return Composed(setting, ShiftedBins(setting), slots=_some(setting))


def _pada(setting: Setting) -> Sampler:
    """One subnet a step, so that its gradient can be told apart; rows too, if there are any."""
    epochs = setting.steps / setting.epoch_steps
    rows = RowImportance(setting.rows, epochs, setting.seed) if setting.rows else None
    return Composed(setting, PathImportance(setting), slots=1, rows=rows, wants_norms=True)


def _prenas(setting: Setting) -> Sampler:
    """Only subnets that were chosen before training."""
    return Composed(setting, Preselected(setting), slots=_some(setting))


def _sortednet(setting: Setting) -> Sampler:
    """Nested subnets, each as likely as any other."""
    return Composed(setting, FixedList([sorted_nets(setting.space)]), slots=_some(setting))


def _matformer(setting: Setting) -> Sampler:
    """One granularity for all blocks."""
    return Composed(setting, FixedList([mat_nets(setting.space)]), slots=_some(setting))


def _some(setting: Setting) -> int:
    """Random subnets a step where nothing else runs."""
    return max(1, setting.random_subnets)


SAMPLERS: dict[str, Factory] = {
    "sandwich": _sandwich,
    "sorted_sandwich": _sorted_sandwich,
    "sandwich_in_turns": _sandwich_in_turns,
    "uniform": _uniform,
    "uniform_in_parts": _uniform_in_parts,
    "progressive": _progressive,
    "deps": _deps,
    "attentive_best_up": _attentive("attentive_best_up", worst=False),
    "attentive_worst_up": _attentive("attentive_worst_up", worst=True),
    "elasticvit": _elasticvit,
    "shiftnas": _shiftnas,
    "pada": _pada,
    "prenas": _prenas,
    "sortednet": _sortednet,
    "matformer": _matformer,
}


BY_COST = frozenset({"attentive_best_up", "attentive_worst_up", "elasticvit", "shiftnas", "prenas"})
"""Samplers whose draws depend on what subnets cost."""
MIXED_AFTERWARDS = frozenset({"matformer"})
"""Samplers of a list from whose subnets others are put together afterwards (Mix'n'Match)."""
ON_UNSEEN_IMAGES = frozenset({"shiftnas"})
"""Samplers that compare subnets on images held out of training."""


def build_sampler(name: str, setting: Setting) -> Sampler:
    """The named sampler.

    Raises:
        SamplerError: no sampler has this name, or the setting lacks what it needs.
    """
    if name not in SAMPLERS:
        raise SamplerError(f"sampler: expected one of {', '.join(SAMPLERS)}, got {name!r}")
    return SAMPLERS[name](setting)
