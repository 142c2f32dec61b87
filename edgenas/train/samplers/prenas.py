"""Choose a few subnets before training and train only those (Wang et al., PreNAS).

A weight's score comes from one data-free backward pass (the judge's `saliency`); a subnet's is the
sum over its slices. Within a stage larger choices go to the blocks that gain most by them, and in
each interval of cost the best arrangement is kept. Afterwards there is nothing to search: the
subnet for a limit is looked up. No subnet is ever evaluated for this.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgenas.space.arch import Arch, Sides, StageArch
from edgenas.space.layers import Layer
from edgenas.space.space import ArchSpace
from edgenas.train.samplers.base import Setting, expect_keys
from edgenas.train.samplers.composed import Proposal
from edgenas.train.samplers.cost_bins import CostScale
from edgenas.train.samplers.fixed import FixedList, grouped
from edgenas.train.samplers.genes import Gene, compose, genes

CANDIDATES = 2_000
Scores = npt.NDArray[np.float64]


class SliceScores:
    """Score of any subnet: the sum of the weight scores that its slices hold.

    Args:
        space: of the supernet.
        weights: score of each weight in full width, by layer name.
    """

    def __init__(self, space: ArchSpace, weights: Mapping[str, Scores]) -> None:
        self._space = space
        self._weights = weights
        self._sums: dict[tuple[str, Sides], Scores] = {}  # filled as kernels are met
        self._added = self._added_scores()

    def of(self, arch: Arch) -> float:
        """Score of a subnet."""
        return sum(self._of_layer(layer) for layer in self._space.layers(arch) if layer.weighted)

    def arranged(self, arch: Arch) -> Arch:
        """The same choices a stage, the larger ones where they add most."""
        stages = [self._arranged_stage(f"s{i}", stage) for i, stage in enumerate(arch.stages)]
        return replace(arch, stages=tuple(stages))

    def _of_layer(self, layer: Layer) -> float:
        if layer.name not in self._weights:
            return 0.0
        key = (layer.name, layer.kernel)
        if key not in self._sums:
            self._sums[key] = _prefix_sums(self._weights[layer.name], layer.kernel)
        cin = 1 if layer.kind == "depthwise" else layer.cin
        return float(self._sums[key][layer.cout - 1, cin - 1])

    def _added_scores(self) -> dict[str, float]:
        """What the largest choice of each gene adds to the smallest one, all else at its most."""
        whole = self.of(self._space.largest())

        def without(lessened: Gene) -> float:
            def choose(gene: Gene) -> int:
                return 0 if gene == lessened else gene.last

            return self.of(compose(self._space, choose))

        return {gene.name: whole - without(gene) for gene in genes(self._space)}

    def _arranged_stage(self, owner: str, stage: StageArch) -> StageArch:
        kernels = self._assigned(owner, "kernel", [block.kernel for block in stage.blocks])
        expands = self._assigned(owner, "expand", [block.expand for block in stage.blocks])
        pairs = zip(stage.blocks, kernels, expands, strict=True)
        return replace(stage, blocks=tuple(replace(b, kernel=k, expand=e) for b, k, e in pairs))

    def _assigned(self, owner: str, kind: str, choices: Sequence[int]) -> list[int]:
        places = sorted(
            range(len(choices)), key=lambda i: self._added[f"{owner}.b{i}.{kind}"], reverse=True
        )
        pairs = zip(places, sorted(choices, reverse=True), strict=True)
        return [choice for _, choice in sorted(pairs)]


def _prefix_sums(score: Scores, kernel: Sides) -> Scores:
    """[i, j] is the sum over the first i + 1 outputs, j + 1 inputs and the centre `kernel`.

    Args:
        score: [cout, cin, kh, kw] or [cout, cin].
        kernel: height and width.
    """
    if score.ndim == 4:
        top, left = (
            (whole - part) // 2 for whole, part in zip(score.shape[2:], kernel, strict=True)
        )
        score = score[:, :, top : top + kernel[0], left : left + kernel[1]].sum((2, 3))
    sums: Scores = score.cumsum(0).cumsum(1)
    return sums


def preselect(
    space: ArchSpace,
    scores: SliceScores,
    cost: Callable[[Arch], float],
    *,
    intervals: int = 5,
    candidates: int = CANDIDATES,
    seed: int = 0,
) -> list[Arch]:
    """The subnet with the highest score in each interval of cost, cheapest first.

    The resolution stays at its largest: it adds no weights, so the score cannot tell what it is
    worth.

    Args:
        space: of the supernet.
        scores: of subnets.
        cost: in any unit; subnets whose cost is no number are left out.
        intervals: of equal width between the cheapest and the dearest candidate.
        candidates: drawn over all sizes and arranged, besides the corners.
        seed: of the draws.
    """
    rng = random.Random(f"{seed}/preselect")
    drawn = [space.sample_by_size(rng) for _ in range(candidates)]
    full = space.resolutions[-1]
    every = [space.smallest(), space.largest(), *(scores.arranged(arch) for arch in drawn)]
    costs = {arch: cost(arch) for arch in (replace(arch, resolution=full) for arch in every)}
    costs = {arch: value for arch, value in costs.items() if math.isfinite(value)}
    scale = CostScale(min(costs.values()), max(costs.values()), intervals)
    best: dict[int, Arch] = {}
    for arch in sorted(costs, key=lambda arch: (-scores.of(arch), costs[arch])):
        best.setdefault(scale.bin_of(costs[arch]), arch)
    return [best[interval] for interval in sorted(best)]


def preferred(setting: Setting, scores: SliceScores, intervals: int) -> list[Arch]:
    """`preselect` for a run: costs are the setting's, bytes of the weights if it names none."""
    return preselect(
        setting.space,
        scores,
        setting.cost or setting.space.weight_bytes,
        intervals=intervals,
        candidates=min(CANDIDATES, setting.cost_draws),
        seed=setting.seed,
    )


class Preselected(Proposal):
    """Draws from a list that is chosen at the first draw and never changes.

    Args:
        setting: space, seed, cost (bytes of the weights if none is given), and a judge that scores
            weights.
        intervals: of cost; the paper keeps 3 to 6 subnets.

    Raises:
        SamplerError: there is no judge.
    """

    def __init__(self, setting: Setting, *, intervals: int = 5) -> None:
        self._setting, self._judge = setting, setting.judged("prenas")
        self._cost: Callable[[Arch], float] = setting.cost or setting.space.weight_bytes
        self._intervals = intervals
        self._list: FixedList | None = None

    @property
    def preferred(self) -> tuple[Arch, ...]:
        """The chosen subnets; empty before the first draw."""
        return () if self._list is None else self._list.archs

    @property
    def listed(self) -> Sequence[Arch]:
        """Those that were chosen."""
        return self.preferred

    def within(self, limit: float) -> Arch | None:
        """The subnet for a limit of cost, None if none is as cheap: a lookup, no search."""
        fitting = [arch for arch in self.preferred if self._cost(arch) <= limit]
        return max(fitting, key=self._cost, default=None)

    def least(self, space: ArchSpace) -> Arch:
        """The cheapest that was chosen."""
        assert self._list is not None, "refresh comes before least"
        return self._list.least(space)

    def refresh(self, step: int) -> None:
        """Choose, once."""
        if self._list is None:
            scores = SliceScores(self._setting.space, self._judge.saliency())
            self._choose(preferred(self._setting, scores, self._intervals))

    def propose(
        self, space: ArchSpace, rng: random.Random, step: int, count: int
    ) -> Sequence[Arch]:
        """Independent draws, evenly over groups of equal widths and depths."""
        assert self._list is not None, "refresh comes before propose"
        return self._list.propose(space, rng, step, count)

    def state_dict(self) -> dict[str, Any]:
        """The chosen subnets."""
        return {"archs": [arch.to_dict() for arch in self.preferred]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        expect_keys(state, ("archs",))
        self._list = None
        if state["archs"]:
            self._choose([Arch.from_dict(arch) for arch in state["archs"]])

    def _choose(self, archs: Sequence[Arch]) -> None:
        self._list = FixedList(grouped(archs))
