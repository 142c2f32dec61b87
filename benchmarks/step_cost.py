"""What it costs to be quantised and elastic: a step of the supernet against plain float training.

    python -m benchmarks.step_cost --data-root DIR [--presets fashion,cifar-mixed] [--repeats 15]

A sandwich step runs four subnets forwards and backwards in fake-quantised INT8 and moves the shared
weights once. Against it stand four training steps of plain float networks with exactly the layers
of these four subnets (`benchmarks.static_net`), each with its own batch, optimiser and moment.
Every repetition is a step of the library's own training loop, timed by itself, and in its callback
the four plain steps, so that whatever slows the machine slows both; networks are built and run once
beforehand, out of the timing. The figure is the median over repetitions of the ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.options import parser_of
from benchmarks.record import Figure, write_result
from benchmarks.static_net import StaticNet
from edgenas.campaign.training import DEFAULT_PRESETS, load
from edgenas.data import ImageData
from edgenas.model.images import to_input
from edgenas.space.arch import Arch
from edgenas.space.presets import preset
from edgenas.space.space import ArchSpace
from edgenas.train.batches import Augmentation, Batches
from edgenas.train.loop import StepReport, train
from edgenas.train.losses import label_loss
from edgenas.train.optimisers import optimiser_of
from edgenas.train.recipe import Recipe
from edgenas.train.recipes import RECIPES, SANDWICH
from edgenas.train.samplers import Setting, build_sampler
from edgenas.train.state import training_device
from firmware_bridge.machine_lock import MachineLock, default_lock_path

SEED = 0
DATA = {"cifar-mixed": "cifar10", **{name: data for data, name in DEFAULT_PRESETS.items()}}
WARM_STEPS = 3  # the first ones fill caches, and one of them observes ranges
TARGET = 1.5


@dataclass(frozen=True)
class Row:
    """One repetition, times in seconds.

    Attributes:
        step: of the recipe, whose subnets these are.
        sandwich_s: the supernet's step.
        plain_s: the four plain steps, in the order in which the subnets were drawn.
        macs: multiply-accumulates of each of the four for one image.
    """

    step: int
    sandwich_s: float
    plain_s: tuple[float, ...]
    macs: tuple[int, ...]

    @property
    def ratio(self) -> float:
        """The supernet's step over the sum of the plain ones."""
        return self.sandwich_s / sum(self.plain_s)


def main() -> None:
    """Measure each preset, write the result."""
    options = _arguments()
    rows: dict[str, list[Row]] = {}
    with MachineLock(default_lock_path(os.environ)).hold(timeout_s=600):
        for name in options.presets.split(","):
            rows[name] = _preset(name, options)
    figures = [
        Figure(f"{name}: sandwich step in INT8 over four plain float steps", _typical(found), "x",
               TARGET, "<=")
        for name, found in rows.items()
    ]  # fmt: skip
    raw = {
        "threads": torch.get_num_threads(),
        "batch": {name: _recipe(name, options).batch for name in rows},
        "rows": {name: [{**asdict(r), "ratio": r.ratio} for r in rs] for name, rs in rows.items()},
    }
    write_result("step_cost", figures, {"seed": SEED}, raw, options.results)


def _preset(name: str, options: argparse.Namespace) -> list[Row]:
    data = load(DATA[name], options.data_root, name, SEED)
    space = preset(name, channels=data.channels, classes=len(data.classes))
    recipe = _recipe(name, options).override(
        epochs=(WARM_STEPS + options.repeats) / (len(data.train) // _recipe(name, options).batch)
    )
    plain = PlainSteps(space, data, recipe)
    with tempfile.TemporaryDirectory(prefix="edgenas-step-cost-") as folder:
        train(
            space, data.train.images, data.train.labels, recipe, Path(folder), data.fingerprint,
            on_step=plain.beside,
        )  # fmt: skip
    return plain.rows


def _recipe(name: str, options: argparse.Namespace) -> Recipe:
    """The preset's with the sandwich rule, in INT8 from the first step on."""
    return RECIPES[name].override(
        **SANDWICH, float_share=0.0, batch=options.batch, checkpoint_every=10**9
    )


class PlainSteps:
    """Follows a training step by step and trains plain networks of the same subnets meanwhile.

    Args:
        space: of the supernet.
        data: what is trained on.
        recipe: of the supernet; batch, augmentation, optimiser and rate are taken from it.
    """

    def __init__(self, space: ArchSpace, data: ImageData, recipe: Recipe) -> None:
        self.space, self.recipe, self.rows = space, recipe, list[Row]()
        steps = recipe.steps(len(data.train))
        setting = Setting(
            space, seed=recipe.seed, steps=steps, random_subnets=recipe.random_subnets
        )
        self._sampler = build_sampler("sandwich", setting)
        wanted = Augmentation(recipe.shift, recipe.flip, recipe.cutout, recipe.mixup)
        images, labels = data.train.images, data.train.labels
        self._batches = Batches(images, labels, recipe.batch, wanted, recipe.seed)

    def beside(self, report: StepReport) -> None:
        """Run the four plain steps that belong to the step that has just ended."""
        step = report.step - 1
        archs = [draw.arch for draw in self._sampler.draw(step)]
        if step < WARM_STEPS:
            return
        trained = [_Plain(self.space, arch, self.recipe) for arch in archs]
        for number, one in enumerate(trained):
            one.step(self._batches, step + number)  # what only a first step needs
        times = tuple(one.step(self._batches, step + n) for n, one in enumerate(trained))
        macs = tuple(self.space.macs(arch) for arch in archs)
        self.rows.append(Row(step, self.recipe.batch / report.images_per_s, times, macs))
        print(f"step {step}: {self.rows[-1].ratio:.3f} x", flush=True)


class _Plain:
    """One plain network in training."""

    def __init__(self, space: ArchSpace, arch: Arch, recipe: Recipe) -> None:
        self.arch, self.recipe = arch, recipe
        self.device = training_device()
        self.net = StaticNet(space.layers(arch)).to(self.device).train()
        self.optimiser = optimiser_of(self.net.parameters(), recipe)

    def step(self, batches: Batches, number: int) -> float:
        """Train on one batch; seconds from before it is made until the weights have moved."""
        began = time.perf_counter()
        batch = batches.at(number)
        x = to_input(batch.images, self.arch.resolution).to(self.device)
        self.optimiser.zero_grad(set_to_none=True)
        labels = torch.from_numpy(batch.labels).to(self.device)
        loss = label_loss(self.net(x), labels, self.recipe.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        loss.item()  # waits for an accelerator
        return time.perf_counter() - began


def _typical(rows: Sequence[Row]) -> float:
    return statistics.median(row.ratio for row in rows)


def _arguments() -> argparse.Namespace:
    parser = parser_of("step_cost", __doc__)
    parser.add_argument("--presets", default="fashion,cifar-mixed")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch", type=int, default=128, help="images a step")
    return parser.parse_args()


if __name__ == "__main__":
    main()
