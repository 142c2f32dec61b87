"""Samplers side by side, each with as many passes forwards and backwards as any other.

    python -m benchmarks.samplers --data-root DIR [--passes 6000] [--best 4] [--longer 9000]

DIR holds Fashion-MNIST's official files. A method is its sampler, how many subnets it draws and
who teaches them, as `edgenas.train.recipes` has it; batch, optimiser, rates, augmentation and what
is in float are the preset's for all, so that nothing else differs. A method that trains fewer
subnets a step has more steps for them. A pass over a part of a batch counts as its share: a method
that trains each subnet on its own part has as many steps as if it trained one. Passes without
gradient, with which some compare subnets, are not counted; the processor time of each run tells
what they cost. `--longer PASSES` trains the default method once more with each seed, for as many
passes as the time of a costlier one is worth.

The subnets are the same 40 for all, spread over the costs; each is calibrated and run in fake
quantisation, which gives the accuracy of its bytes (`benchmarks.export`). They are run on the
search split, since the default recipe follows from this comparison and the test split must not
decide it. All methods are trained with one seed, the best ones with others too. A method that
trains a list of subnets only is judged by the same 40, of which most are not on its list.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from benchmarks.kept import Kept
from benchmarks.options import parser_of
from benchmarks.record import Figure, write_result
from benchmarks.runs import Run
from benchmarks.scores import area_share
from benchmarks.subnets import calibrated_accuracy, spread
from edgenas.campaign.progress import Progress
from edgenas.campaign.training import load
from edgenas.cli.display import Display
from edgenas.data import ImageData
from edgenas.space.arch import Arch
from edgenas.space.presets import preset
from edgenas.space.space import ArchSpace
from edgenas.train.metrics import read_metrics, training_core_hours
from edgenas.train.recipe import Recipe
from edgenas.train.recipes import METHODS, RECIPES
from edgenas.train.state import State, Task

PRESET, DATA = "fashion", "fashion-mnist"
DEFAULT = RECIPES[PRESET].sampler
DATA_SEED, ARCH_SEED = 0, 0
FLOOR = 0.8  # accuracy at the bottom of the box that the front's area is a share of
METHOD_OF: Mapping[str, str] = {
    str(m.changes["sampler"]): name
    for name, m in reversed(METHODS.items())  # of several with one sampler, the first
    if "sampler" in m.changes
}
COMPARED = tuple(name for name in METHOD_OF if name != "sorted_sandwich")  # that needs weights
PLAIN = Recipe()  # whatever it is put on, a method says all that makes it
OF_THE_METHOD = ("sampler", "random_subnets", "teachers", "label_share", "held_out")
MEASURES = (  # name, unit, attribute of a row
    ("mean accuracy", "%", "mean"),
    ("worst accuracy", "%", "worst"),
    ("area under the front", "", "front_area"),
)
NEAR = 1.002  # counts of passes this near to each other are called equal


@dataclass(frozen=True)
class Row:
    """One method with one seed; accuracies on the search split, 0 to 1.

    Attributes:
        sampler: its name.
        seed: of weights, batches and draws.
        steps: optimiser steps.
        passes: forwards and backwards over a batch; one over a part of it counts as its share.
        seconds: wall time of all steps.
        cpu_seconds: processor time of all steps, with what is looked at between them.
        accuracies: of the fixed subnets, by ascending MACs.
        front_area: of accuracy against MACs, as a share of the box.
    """

    sampler: str
    seed: int
    steps: int
    passes: int
    seconds: float
    cpu_seconds: float
    accuracies: tuple[float, ...]
    front_area: float

    @property
    def mean(self) -> float:
        """Mean accuracy, percent."""
        return 100 * statistics.fmean(self.accuracies)

    @property
    def worst(self) -> float:
        """Lowest accuracy, percent."""
        return 100 * min(self.accuracies)


class Comparison:
    """What all methods have in common.

    Args:
        data: images; the test split is not read.
        space: of the supernet.
        options: of the command.
        progress: told what is done.
    """

    def __init__(
        self, data: ImageData, space: ArchSpace, options: argparse.Namespace, progress: Progress
    ) -> None:
        self.data, self.space, self.options, self.progress = data, space, options, progress
        self.archs: list[Arch] = spread(space, options.archs, ARCH_SEED)
        self.kept = Kept(options.work / "rows.jsonl")

    def row(self, sampler: str, seed: int, passes: int) -> Row:
        """Train and judge one method with about so many passes."""
        recipe = recipe_of(sampler).override(seed=seed)
        steps, found = equal_steps(passes, lambda n: self._passes(recipe, n))
        recipe = recipe.override(epochs=steps / self._steps_an_epoch(recipe))
        usual = passes == self.options.passes
        name = f"{sampler}-{seed}" + ("" if usual else f"-{passes}")
        run = Run(f"training {name}", self.space, recipe, self.options.work / name)
        accuracies = self._accuracies(run)
        points = [(self.space.macs(a), x) for a, x in zip(self.archs, accuracies, strict=True)]
        ceiling = 1.05 * self.space.macs(self.space.largest())
        area = area_share(points, floor=FLOOR, ceiling=ceiling)
        cpu_s = 3600 * training_core_hours(read_metrics(run.folder))
        row = Row(sampler, seed, steps, found, run.seconds(), cpu_s, accuracies, area)
        self.progress.note(f"  {name}: mean {row.mean:.2f} %, worst {row.worst:.2f} %")
        return row

    def _accuracies(self, run: Run) -> tuple[float, ...]:
        exporter = run.exporter(run.trained(self.data, self.progress), self.data)
        self.progress.phase(f"{run.name}: subnets", len(self.archs))
        found = []
        for done, arch in enumerate(self.archs):
            found.append(calibrated_accuracy(exporter, arch, self.data.search, self.kept))
            self.progress.advance(done + 1, f"{100 * found[-1]:.2f} %")
        return tuple(found)

    def _passes(self, recipe: Recipe, steps: int) -> int:
        """Passes over a batch that a run of so many steps has; asked of the sampler itself."""
        images, labels = self.data.train.images, self.data.train.labels
        longer = recipe.override(epochs=steps / self._steps_an_epoch(recipe))
        sampler = State(Task(self.space, images, labels, longer, self.data.fingerprint)).sampler
        return round(sum(sampler.passes(step) for step in range(steps)))

    def _steps_an_epoch(self, recipe: Recipe) -> int:
        return (len(self.data.train) - recipe.held_out) // recipe.batch


def main() -> None:
    """Train all, the best again, write the result."""
    options = _arguments()
    data = load(DATA, options.data_root, PRESET, DATA_SEED)
    space = preset(PRESET, channels=data.channels, classes=len(data.classes))
    with Display(Console(stderr=True)) as display:
        comparison = Comparison(data, space, options, display)
        usual = options.passes
        rows = [comparison.row(name, 0, usual) for name in options.samplers.split(",")]
        for name in best_of(rows, options.best):
            rows += [comparison.row(name, seed, usual) for seed in range(1, options.seeds)]
        again = range(options.seeds if options.longer else 0)
        longer = [comparison.row(DEFAULT, seed, options.longer) for seed in again]
    raw: dict[str, Any] = {
        "recipes": {row.sampler: asdict(recipe_of(row.sampler)) for row in rows},
        "box": {"accuracy_floor": FLOOR, "macs": 1.05 * space.macs(space.largest())},
        "archs": [{"arch": a.id, "macs": space.macs(a)} for a in comparison.archs],
        "rows": [{**asdict(row), "mean": row.mean, "worst": row.worst} for row in rows + longer],
    }
    seeds = {
        "data": DATA_SEED,
        "architectures": ARCH_SEED,
        "training_first": 0,
        "training_last": options.seeds - 1,
    }
    figures = [*figures_of(rows), *longer_figures(rows, longer)]
    write_result("samplers", figures, seeds, raw, options.results)


def recipe_of(sampler: str) -> Recipe:
    """The preset's recipe with what makes the method, and nothing else of it."""
    method = METHODS[METHOD_OF[sampler]].on(PLAIN)
    return RECIPES[PRESET].override(**{name: getattr(method, name) for name in OF_THE_METHOD})


def equal_steps(passes: int, passes_of: Callable[[int], int]) -> tuple[int, int]:
    """Steps of a run that has about `passes` passes, and how many it really has.

    Args:
        passes: wanted.
        passes_of: passes of a run of so many steps; grows with them, nearly in proportion.
    """
    steps = max(1, passes)
    for _ in range(8):
        found = passes_of(steps)
        if passes / NEAR <= found <= passes * NEAR:
            break
        steps = max(1, round(steps * passes / found))
    return steps, passes_of(steps)


def best_of(rows: Sequence[Row], count: int) -> list[str]:
    """The methods with the highest mean accuracy, of one row each."""
    return [row.sampler for row in sorted(rows, key=lambda row: -row.mean)[:count]]


def figures_of(rows: Sequence[Row]) -> list[Figure]:
    """Means over the seeds of each method; the aim is that the default method is the best one."""
    names = list(dict.fromkeys(row.sampler for row in rows))
    seeds = {name: sum(row.sampler == name for row in rows) for name in names}
    figures = []
    for what, unit, field in MEASURES:
        found = {name: _mean_of(rows, name, field) for name in names}
        for name in sorted(names, key=lambda name: -found[name]):
            others = [value for other, value in found.items() if other != name]
            label = f"{what}, {name}" + (f" ({seeds[name]} seeds)" if seeds[name] > 1 else "")
            if name == DEFAULT:
                aim = max(others, default=found[name])
                figures.append(Figure(f"{label}, the default", found[name], unit, aim, ">="))
            else:
                figures.append(
                    Figure(label, found[name], unit, found.get(DEFAULT, found[name]), "<=")
                )
    return figures


def longer_figures(rows: Sequence[Row], longer: Sequence[Row]) -> list[Figure]:
    """The default method given more passes, beside the best other one."""
    others = [row for row in rows if row.sampler != DEFAULT]
    if not longer or not others:
        return []
    best = max({row.sampler for row in others}, key=lambda name: _mean_of(others, name, "mean"))
    name = f"{DEFAULT} with {longer[0].passes:,} passes"
    return [
        Figure(f"{what}, {name}", _mean_of(longer, DEFAULT, field), unit,
               _mean_of(others, best, field), ">=")
        for what, unit, field in MEASURES
    ]  # fmt: skip


def _mean_of(rows: Sequence[Row], sampler: str, what: str) -> float:
    return statistics.fmean(getattr(row, what) for row in rows if row.sampler == sampler)


def _arguments() -> argparse.Namespace:
    parser = parser_of("samplers", __doc__)
    parser.add_argument("--samplers", default=",".join(COMPARED), help="separated by commas")
    parser.add_argument(
        "--passes", type=int, default=6000, help="subnets that each run trains, one batch each"
    )
    parser.add_argument(
        "--longer", type=int, default=0, help="passes of further runs of the default method"
    )
    parser.add_argument("--archs", type=int, default=40, help="subnets that are looked at")
    parser.add_argument("--best", type=int, default=4, help="methods that get further seeds")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of these")
    return parser.parse_args()


if __name__ == "__main__":
    main()
