"""Subnets of a supernet against the same networks trained alone.

    python -m benchmarks.vs_standalone --data-root DIR [--archs 12] [--epochs E]

DIR holds Fashion-MNIST's official files. The supernet is trained by its preset's recipe (the run
of `benchmarks.fashion` is gone on with, or taken as it is). Then each of the architectures, spread
over the costs, is trained alone: the same recipe, data, augmentation, batches, rates and number of
steps, labels in place of a teacher, INT8 from the same step on. All are calibrated and exported
alike; accuracies are those of the bytes on the test split, which nothing was chosen by.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.kept import Kept
from benchmarks.options import parser_of
from benchmarks.record import Figure, write_result
from benchmarks.runs import Run
from benchmarks.scores import kendall_tau
from benchmarks.subnets import alone, spread
from benchmarks.tested import Tested
from edgenas.campaign.progress import Progress
from edgenas.campaign.training import load
from edgenas.cli.display import Display
from edgenas.data import ImageData
from edgenas.export.exporter import Exporter
from edgenas.space.arch import Arch
from edgenas.space.presets import preset
from edgenas.train.recipe import Recipe
from edgenas.train.recipes import METHODS, RECIPES

SEED = 0
PRESET, DATA = "fashion", "fashion-mnist"


@dataclass(frozen=True)
class Row:
    """One architecture; accuracies of INT8 bytes on the test split, 0 to 1.

    Attributes:
        arch: its id.
        description: in words.
        macs: multiply-accumulates of one inference.
        shared: accuracy of the subnet cut out of the supernet.
        alone: accuracy of the network trained alone.
        alone_seconds: time that training it took.
    """

    arch: str
    description: str
    macs: int
    shared: float
    alone: float
    alone_seconds: float

    @property
    def gap(self) -> float:
        """Points that the supernet costs."""
        return 100 * (self.alone - self.shared)


def main() -> None:
    """Train all, test all, write the result."""
    options = _arguments()
    data = load(DATA, options.data_root, PRESET, SEED)
    space = preset(PRESET, channels=data.channels, classes=len(data.classes))
    recipe = RECIPES[PRESET].override(seed=SEED, epochs=options.epochs)
    tested = Tested(data, Kept(options.work / "rows.jsonl"))
    whole = Run("training the supernet", space, recipe, options.supernet)
    with Display(Console(stderr=True)) as display:
        exporter = whole.exporter(whole.trained(data, display), data)
        rows = []
        for arch in spread(space, options.archs, SEED):
            single = _alone(arch, whole, options.work)
            rows.append(_row(arch, exporter, single, data, tested, display))
            display.note(f"  {rows[-1]}")
    raw = {
        "recipe": asdict(recipe),
        "supernet_seconds": whole.seconds(),
        "rows": [asdict(row) for row in rows],
    }
    seeds = {"training": SEED, "architectures": SEED}
    write_result("vs_standalone", figures_of(rows), seeds, raw, options.results)


def alone_recipe(recipe: Recipe) -> Recipe:
    """The same for one network: it runs once a step and learns from labels."""
    return METHODS["spos"].on(recipe)


def figures_of(rows: Sequence[Row]) -> list[Figure]:
    """Gap and rank correlation."""
    gaps = [row.gap for row in rows]
    tau = kendall_tau([row.shared for row in rows], [row.alone for row in rows])
    return [
        Figure("trained alone above supernet, mean", statistics.fmean(gaps), "points", 0.5, "<="),
        Figure("the same, worst architecture (informational)", max(gaps), "points", 1.0, "<="),
        Figure("Kendall's tau of both accuracies", tau, "", 0.7, ">="),
        Figure("architectures compared", len(rows), "", 12, ">="),
    ]


def _alone(arch: Arch, whole: Run, work: Path) -> Run:
    name = f"training {arch.id} alone ({whole.space.macs(arch) / 1e6:.2f} MMAC)"
    return Run(name, alone(whole.space, arch), alone_recipe(whole.recipe), work / arch.id)


def _row(
    arch: Arch, exporter: Exporter, single: Run, data: ImageData, tested: Tested, progress: Progress
) -> Row:
    checkpoint = single.trained(data, progress)
    own = single.exporter(checkpoint, data).export(single.space.largest())
    shared = exporter.export(arch)
    return Row(
        arch.id,
        arch.describe(),
        exporter.net.space.macs(arch),
        tested.accuracy(shared.path.read_bytes(), arch.resolution),
        tested.accuracy(own.path.read_bytes(), arch.resolution),
        single.seconds(),
    )


def _arguments() -> argparse.Namespace:
    parser = parser_of("vs_standalone", __doc__)
    parser.add_argument("--archs", type=int, default=12)
    parser.add_argument("--epochs", type=float, help="another length than the recipe's")
    parser.add_argument(
        "--supernet",
        type=Path,
        default=Path("benchmarks/scratch/fashion"),
        help="run folder of the supernet",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
