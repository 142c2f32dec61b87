"""Each choice drawn by the gradient norm of its weights (Lu et al., PA&DA: the path part).

Choices whose gradients are large are drawn more often, which lowers the variance of the gradient.
The data part is `edgenas.train.samplers.rows`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace
from edgenas.train.samplers.base import Setting, expect_keys
from edgenas.train.samplers.composed import Proposal
from edgenas.train.samplers.genes import Gene, compose, genes, indices

MEMORY = 0.9
Norms = dict[str, dict[str, float]]
"""By name of the gene, then by index of the choice."""


class PathImportance(Proposal):
    """p_o = t * n_o / sum(n) + (1 - t) / |O| for every choice o of a gene, fixed for an epoch.

    n_o is the running mean of the gradient norm of the gene's weights when o was drawn; t grows
    from 0 in the first epoch towards 1. A gene without weights of its own (the resolution) stays
    uniform, a choice that was never drawn counts like the average of its gene.

    Args:
        setting: space and lengths.
    """

    def __init__(self, setting: Setting) -> None:
        self._space = setting.space
        self._epoch_steps, self._epochs = setting.epoch_steps, setting.steps / setting.epoch_steps
        self._epoch = 0
        self._norms: Norms = {gene.name: {} for gene in genes(setting.space)}
        self._frozen: Norms = {name: {} for name in self._norms}

    def probabilities(self, gene: Gene) -> list[float]:
        """Probability of each choice of `gene` in the present epoch."""
        t = min(1.0, self._epoch / self._epochs)
        uniform = 1.0 / len(gene.choices)
        known = self._frozen[gene.name]
        if not sum(known.values()) > 0:
            return [uniform] * len(gene.choices)
        mean = sum(known.values()) / len(known)
        norms = [known.get(str(index), mean) for index in range(len(gene.choices))]
        return [t * norm / sum(norms) + (1 - t) * uniform for norm in norms]

    def propose(
        self, space: ArchSpace, rng: random.Random, step: int, count: int
    ) -> Sequence[Arch]:
        """Independent draws, gene by gene."""

        def choose(gene: Gene) -> int:
            return rng.choices(range(len(gene.choices)), self.probabilities(gene))[0]

        return [compose(space, choose) for _ in range(count)]

    def refresh(self, step: int) -> None:
        """A new epoch draws by what the last one showed."""
        epoch = step // self._epoch_steps
        if epoch > self._epoch:
            self._epoch = epoch
            self._frozen = {name: dict(norms) for name, norms in self._norms.items()}

    def tell(self, step: int, arch: Arch, loss: float, norms: Mapping[str, float]) -> None:
        """Add the norms to the running means of all choices of `arch`."""
        layers = self._space.layers(arch)
        for gene, index in indices(self._space, arch).items():
            owned = [norms[la.name] for la in layers if la.name in norms and gene.owns(la)]
            norm = math.hypot(*owned)
            if owned and math.isfinite(norm):
                means = self._norms[gene.name]
                old = means.get(str(index), norm)
                means[str(index)] = MEMORY * old + (1 - MEMORY) * norm

    def state_dict(self) -> dict[str, Any]:
        """The running means now and at the start of the epoch."""
        return {
            "epoch": self._epoch,
            "norms": {name: dict(norms) for name, norms in self._norms.items()},
            "frozen": {name: dict(norms) for name, norms in self._frozen.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        expect_keys(state, ("epoch", "norms", "frozen"))
        expect_keys(state["norms"], list(self._norms))
        self._epoch = int(state["epoch"])
        self._norms = {name: dict(norms) for name, norms in state["norms"].items()}
        self._frozen = {name: dict(norms) for name, norms in state["frozen"].items()}
