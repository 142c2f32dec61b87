"""Everything that changes while a run trains, put into checkpoints and taken out again.

What the run is given (`Task`) and what it holds (`State`); how a step changes it is
`edgenas.train.loop`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgenas.model.images import Pixels
from edgenas.model.peers import ALONE, Peers
from edgenas.model.quantisers import WEIGHTS
from edgenas.model.supernet import Supernet
from edgenas.space.space import ArchSpace
from edgenas.train.averaging import WeightAverage
from edgenas.train.batches import Augmentation, Batches, Labels
from edgenas.train.checkpoint import Checkpoint
from edgenas.train.clipping import Clip
from edgenas.train.cost import NamedCost
from edgenas.train.guards import Guards
from edgenas.train.inheriting import Source, inherit
from edgenas.train.judging import SubnetJudge
from edgenas.train.optimisers import ScheduleFreeAdamW, optimiser_of
from edgenas.train.pace import Pace
from edgenas.train.recipe import Recipe, RecipeError
from edgenas.train.samplers import (
    BY_COST,
    ON_UNSEEN_IMAGES,
    SAMPLERS,
    RowImportance,
    Setting,
    build_sampler,
)
from edgenas.train.teachers import Averaged, External, Frozen, Largest, Teacher, load_teachers

WATCHED_IMAGES = 512
HELD_OUT = 2  # tells the generator of this choice from those of batches


@dataclass(frozen=True)
class Task:
    """What shall be trained, on what, how.

    Attributes:
        space: of the supernet.
        images: training split, uint8 [n, h, w, c].
        labels: int64 [n].
        recipe: how to train.
        data: fingerprint of the data set.
        cost: what samplers make their cost bins of; None means what each takes by itself.
        warn: told, in a sentence, what a person should know.
        peers: the processes that train it together.
        products: the type that convolutions multiply in.
        source: where the first weights come from; None means chance.
        planned: epochs that the run began with, where it has been given others since: shares of a
            run are shares of these. None means the recipe's.
    """

    space: ArchSpace
    images: Pixels
    labels: Labels
    recipe: Recipe
    data: str
    cost: NamedCost | None = None
    warn: Callable[[str], None] = lambda text: None
    peers: Peers = ALONE
    products: torch.dtype = torch.float32
    source: Source | None = None
    planned: float | None = None

    def going_on(self, old: Checkpoint | None) -> Task:
        """The same as a continuation of `old`, which may have been planned for another length."""
        planned = self.recipe.epochs if old is None else planned_epochs(old)
        return self if planned == self.recipe.epochs else replace(self, planned=planned)

    @property
    def identity(self) -> str:
        """What is trained, on what, how, in words that processes can compare."""
        given = f"{self.data} {self.products} {self.teacher_digests} {self.source_identity}"
        given += f" {self.cost_name}"
        return f"{self.space} {self.recipe} {given}"

    @cached_property
    def steps(self) -> int:
        """Optimiser steps of the run."""
        return self.recipe.steps(len(self.images))

    @cached_property
    def planned_steps(self) -> int:
        """Optimiser steps that the run began with: what its phases are shares of."""
        return self.recipe.override(epochs=self.planned).steps(len(self.images))

    @cached_property
    def pace(self) -> Pace:
        """Rates and the like of every step."""
        return Pace(self.recipe, self.planned_steps, self.space.resolutions)

    @cached_property
    def shrink_step(self) -> int | None:
        """The step before which the space is reduced; None where it never is."""
        share = self.recipe.shrink_at
        steps = self.planned_steps
        return min(steps - 1, max(1, round(share * steps))) if share else None

    @cached_property
    def check_every(self) -> int:
        """Steps between looks at the smallest subnet."""
        return self.recipe.check_every or len(self.parts[0][0]) // self.recipe.batch

    @cached_property
    def external(self) -> list[Checkpoint]:
        """The supernets of external teachers.

        Raises:
            CheckpointError, TeacherError: see `load_teachers`.
        """
        return load_teachers(self.recipe.teacher_files, self.space)

    @cached_property
    def teacher_digests(self) -> list[str]:
        """Which supernets teach, by their weights."""
        return [checkpoint.digest() for checkpoint in self.external]

    @property
    def source_identity(self) -> str:
        """What the first weights were; empty where chance made them."""
        return "" if self.source is None else self.source.identity

    @property
    def cost_name(self) -> str:
        """What cost bins are made of; empty where the sampler takes what it takes by itself."""
        return "" if self.cost is None else self.cost.name

    @cached_property
    def watched(self) -> tuple[Pixels, Labels]:
        """This process's part of the images that subnets are looked at with."""
        images, labels = self.parts[0]
        own = self.peers.part
        return own(images[:WATCHED_IMAGES]), own(labels[:WATCHED_IMAGES])

    @cached_property
    def parts(self) -> tuple[tuple[Pixels, Labels], tuple[Pixels, Labels]]:
        """Images and labels to train on, and those that are held out of it."""
        if not self.recipe.held_out:
            return (self.images, self.labels), (self.images[:0], self.labels[:0])
        rng = np.random.default_rng((self.recipe.seed, 0, 0, HELD_OUT))
        order = rng.permutation(len(self.images))
        out, rest = np.split(order, [self.recipe.held_out])
        return (self.images[rest], self.labels[rest]), (self.images[out], self.labels[out])

    def batches(self, rows: RowImportance | None = None) -> Batches:
        """What the steps see, every image once an epoch unless `rows` decides otherwise."""
        recipe = self.recipe
        wanted = Augmentation(
            recipe.shift, recipe.flip, recipe.cutout, recipe.mixup, recipe.shift_axes
        )
        order = rows.order if rows else None
        return Batches(*self.parts[0], recipe.batch, wanted, recipe.seed, order, self.peers)

    def setting(self, judge: SubnetJudge, space: ArchSpace) -> Setting:
        """What samplers are built from that draw from `space`, all of the run's or a part."""
        recipe, trained = self.recipe, len(self.parts[0][0])
        return Setting(
            space,
            seed=recipe.seed,
            steps=self.planned_steps,
            random_subnets=recipe.random_subnets,
            epoch_steps=trained // recipe.batch,
            batch=recipe.batch,
            rows=trained,
            cost=None if self.cost is None else self.cost.of,
            rate=self.pace.rate,
            judge=judge,
            warn=self.warn,
        )


class State:
    """A run after `step` steps; at first with initial weights.

    Args:
        task: what is trained.
    """

    def __init__(self, task: Task) -> None:
        recipe, (trained, held_out) = task.recipe, task.parts
        torch.manual_seed(recipe.seed)
        self.task, self.step, self.device = task, 0, training_device()
        net = Supernet(task.space, recipe.activations, recipe.weights)
        self.net = net.to(self.device).train()
        self.net.peers, self.net.products = task.peers, task.products
        if task.source is not None:
            inherit(self.net, task.source, trained[0])
        steps = self.net.learned_steps()
        self.optimiser = optimiser_of(self.net.shared_weights(), recipe, steps)
        self.average = WeightAverage(self.net, recipe.average) if recipe.average else None
        unseen = (task.peers.part(held_out[0]), task.peers.part(held_out[1]))
        self.judge = SubnetJudge(self.net, trained[0], unseen, recipe.seed)
        self.space = task.space
        self.sampler = build_sampler(recipe.sampler, self.setting)
        self.batches = task.batches(self.sampler.rows)
        self.frozen = Frozen()
        self.clip = Clip(recipe.clip_norm, recipe.clip == "median")
        self.guards = Guards()

    @property
    def setting(self) -> Setting:
        """What samplers are built from now."""
        return self.task.setting(self.judge, self.space)

    def shrink(self, part: ArchSpace) -> None:
        """Draw from a part of the space from now on; weights and ranges stay those of all of it.

        What the sampler had learned of subnets is forgotten, what it had of rows is not.
        """
        self.space, rows = part, self.sampler.rows
        self.sampler = build_sampler(self.task.recipe.sampler, self.setting)
        if rows is not None and self.sampler.rows is not None:
            self.sampler.rows.load_state_dict(rows.state_dict())
        self.batches = self.task.batches(self.sampler.rows)

    def checkpoint(self) -> Checkpoint:
        """All of it; the tensors are those that training goes on to change."""
        live = self.net.state_dict() if self.average else {}
        return Checkpoint(
            self.step,
            self.task.steps,
            self.space,
            self.task.recipe,
            self.task.data,
            self._deployed(),
            self.optimiser.state_dict(),
            self.guards.typical_loss,
            self.guards.skips,
            live,
            self._memory(),
            None if self.space == self.task.space else self.task.space,
        )

    def restore(self, old: Checkpoint) -> None:
        """Go on as after the step at which the checkpoint was made, bit for bit."""
        self.net.load_state_dict(old.live or old.weights)
        self.optimiser.load_state_dict(old.optimiser)
        if isinstance(self.optimiser, ScheduleFreeAdamW):
            self.optimiser.return_to_training()
        if self.average:
            self.average.net.load_state_dict(old.weights)
        if old.space != self.space:
            self.shrink(old.space)
        if old.memory:
            self.sampler.load_state_dict(old.memory["sampler"])
            self.clip.restore(old.memory["clip"])
            self.frozen.restore(old.memory["frozen"], self.net)
        self.guards = guards_of(old)
        self.step = old.step

    def _deployed(self) -> dict[str, Tensor]:
        """The weights that are evaluated and exported."""
        if self.average:
            return self.average.weights()
        weights = self.net.state_dict()
        if isinstance(self.optimiser, ScheduleFreeAdamW):
            average = self.optimiser.average
            weights |= {name: average(p) for name, p in self.net.named_parameters()}
        return weights

    def _memory(self) -> dict[str, Any]:
        return {
            "sampler": self.sampler.state_dict(),
            "clip": self.clip.norms,
            "frozen": self.frozen.state(),
            "guards": self.guards.state(),
            "teachers": self.task.teacher_digests,
            "source": self.task.source_identity,
            "cost": self.task.cost_name,
            "planned_epochs": self.task.planned or self.task.recipe.epochs,
            "listed": [arch.to_dict() for arch in self.sampler.listed],
        }


def planned_epochs(checkpoint: Checkpoint) -> float:
    """The epochs that a run began with."""
    return float(checkpoint.memory.get("planned_epochs", checkpoint.recipe.epochs))


def guards_of(checkpoint: Checkpoint) -> Guards:
    """What the guards of a run remembered; checkpoints of the first version hold two numbers."""
    if "guards" in checkpoint.memory:
        return Guards.from_state(checkpoint.memory["guards"])
    return Guards(checkpoint.typical_loss, checkpoint.skips)


def check_recipe(recipe: Recipe, space: ArchSpace, cost: NamedCost | None = None) -> None:
    """Refuse a recipe that cannot work, before anything is written.

    Raises:
        RecipeError: no sampler has this name, it lacks images or has no use for a cost, or the
            space chooses bits that are not trained.
        CheckpointError, TeacherError: an external teacher is missing or does not fit.
    """
    if recipe.sampler not in SAMPLERS:
        raise RecipeError(
            f"recipe sampler: expected one of {', '.join(SAMPLERS)}, got {recipe.sampler!r}"
        )
    if recipe.sampler in ON_UNSEEN_IMAGES and not recipe.held_out:
        raise RecipeError(
            f"recipe held_out: expected > 0 with the sampler {recipe.sampler}, which compares "
            f"subnets on images that no step trains on, got 0; write `held_out = 256` into a "
            f"--recipe-file, or take the method `--recipe {recipe.sampler}`, which holds out 256"
        )
    if cost is not None and not (recipe.sampler in BY_COST or recipe.shrink_at):
        raise RecipeError(
            f"cost {cost.name}: expected a sampler that looks at what subnets cost, one of "
            f"{', '.join(sorted(BY_COST))}, got {recipe.sampler}; take one of them, or leave the "
            f"cost out"
        )
    trained = WEIGHTS[recipe.weights]().bits
    if not space.precisions <= set(trained):
        raise RecipeError(
            f"recipe weights {recipe.weights!r}: expected a space with bits among {trained}, got "
            f"{tuple(sorted(space.precisions))} of {space.name}; train with `weights = "
            f'"double_rounding"` in a --recipe-file, or take bits out of the space'
        )
    load_teachers(recipe.teacher_files, space)


def teachers_of(state: State) -> list[Teacher]:
    """The teachers of a run, in the order of its recipe."""
    found: list[Teacher] = []
    for name in state.task.recipe.teachers:
        if name == "largest":
            found.append(Largest())
        elif name == "average":
            assert state.average is not None  # the recipe has seen to it
            found.append(Averaged(state.average))
        elif name == "frozen":
            found.append(state.frozen)
        else:
            images = state.task.parts[0][0]
            found += [External(c.supernet(), images, state.device) for c in state.task.external]
    return found


def training_device() -> torch.device:
    """The machine's accelerator, or the processor."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found if found is not None else torch.device("cpu")
