"""Reducing the space of a run, once, to the choices that weight scores prefer.

The scores are PreNAS' (Wang et al.), taken of the weights as they are at that step: one backward
pass without data, no subnet is evaluated. When it happens is the recipe's (`shrink_at`), what
follows from it for sampler and checkpoints `edgenas.train.state`'s.
"""

from __future__ import annotations

from edgenas.space.narrowing import holding, narrowing_text, narrowings
from edgenas.space.space import ArchSpace
from edgenas.train.samplers.base import Setting
from edgenas.train.samplers.prenas import SliceScores, preferred

_KEPT = frozenset({"resolution", "bits"})  # neither has weights of its own to be scored by


def shrunk(setting: Setting, intervals: int) -> ArchSpace:
    """The smallest part of a space that holds its preferred subnets.

    These are the subnets with the highest score in each interval of cost. The largest of all is
    always among them, so the part needs every weight that the whole space needs. Resolutions and
    bits stay.

    Args:
        setting: space, seed, cost (bytes of the weights if none is given), and a judge that scores
            weights.
        intervals: of cost, equally wide; fewer of them leave less.

    Raises:
        SamplerError: there is no judge.
    """
    scores = SliceScores(setting.space, setting.judged("shrinking").saliency())
    archs = preferred(setting, scores, intervals)
    return holding(setting.space, [setting.space.largest(), *archs], whole=_KEPT)


def shrinking_text(part: ArchSpace, whole: ArchSpace) -> str:
    """For a person: how many subnets are left, and by which choices."""
    left = " ".join(narrowing_text(*pair) for pair in narrowings(part, whole).items())
    return f"{part.size():,} of {whole.size():,} subnets are left: {left or 'all choices stay'}"
