"""Subnets of a supernet against the same networks trained alone.

    python -m benchmarks.vs_standalone --data-root DIR [--archs 12] [--epochs E] [--workers 2]
        [--supernet RUN] [--longer RUN] [--now N]

DIR holds Fashion-MNIST's official files. The supernet is trained by its preset's recipe (the run
of `benchmarks.fashion` is gone on with, or taken as it is). Then each of the architectures, spread
over the costs, is trained alone: the same recipe, data, augmentation, batches, rates and number of
steps, labels in place of a teacher, INT8 from the same step on. All are calibrated and exported
alike; accuracies are those of the bytes on the test split, which nothing was chosen by.

Equal steps are the strict comparison: every network alone has all of them to itself. What a
supernet is for is that it is trained once for all; `--longer` names a run of the same space that
was trained for longer, and puts the same subnets of it beside.

Hours can be spent in parts, on any machine: `--now N` trains the N cheapest networks that are
missing, and what the result on record says of the others is taken over where recipe, data and the
packages that compute are the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.kept import Kept
from benchmarks.options import parser_of
from benchmarks.record import Figure, commit, machine, write_result
from benchmarks.runs import Run, train_all
from benchmarks.scores import kendall_tau
from benchmarks.subnets import alone, spread
from benchmarks.tested import Tested
from edgenas.campaign.progress import Progress
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.training import load, open_run
from edgenas.cli.display import Display
from edgenas.data import ImageData
from edgenas.export.exporter import Exporter
from edgenas.space.arch import Arch
from edgenas.space.presets import preset
from edgenas.space.space import ArchSpace
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
        longer: accuracy of the subnet cut out of a supernet that was trained for longer.
        commit: at which it was measured.
    """

    arch: str
    description: str
    macs: int
    shared: float
    alone: float
    alone_seconds: float
    longer: float | None = None
    commit: str = ""

    @property
    def gap(self) -> float:
        """Points that the supernet costs."""
        return 100 * (self.alone - self.shared)


def main() -> None:
    """Train all, test all, write the result."""
    options = _arguments()
    loading = partial(load, DATA, options.data_root, PRESET, SEED)
    data = loading()
    space = preset(PRESET, channels=data.channels, classes=len(data.classes))
    recipe = RECIPES[PRESET].override(seed=SEED, epochs=options.epochs)
    tested = Tested(data, Kept(options.work / "rows.jsonl"))
    whole = Run("training the supernet", space, recipe, options.supernet)
    archs = spread(space, options.archs, SEED)
    other = None if options.longer is None else _complete(options.longer, space)
    same = holds_for(recipe, None if other is None else other.recipe, data.fingerprint)
    rows = on_record(options.results / "vs_standalone.json", same)
    due = [arch for arch in archs if arch.id not in rows][: options.now]
    singles = [_alone(arch, whole, options.work) for arch in due]
    with Display(Console(stderr=True)) as display:
        train_all([whole, *reversed(singles)], loading, options.workers, display)
        exporter = whole.exporter(whole.trained(data, display), data)
        longer = None if other is None else other.exporter(other.trained(data, display), data)
        for arch, single in zip(due, singles, strict=True):
            rows[arch.id] = _row(arch, exporter, longer, single, data, tested, display)
            display.note(f"  {rows[arch.id]}")
    compared = [rows[arch.id] for arch in archs if arch.id in rows]
    raw = {
        "holds_for": same,
        "recipe": asdict(recipe),
        "supernet_seconds": whole.seconds(),
        "longer": None if other is None else asdict(other.recipe),
        "rows": [asdict(row) for row in compared],
    }
    seeds = {"training": SEED, "architectures": SEED}
    write_result("vs_standalone", figures_of(compared), seeds, raw, options.results)


def holds_for(recipe: Recipe, longer: Recipe | None, data: str) -> str:
    """Digest of what rows must have in common to stand in one table.

    Args:
        recipe: of the supernet and, but for the draws, of every network alone.
        longer: of the supernet of more steps.
        data: fingerprint of the data.
    """
    packages = {name: machine()[name] for name in ("cpu", "torch", "ai-edge-litert")}
    parts = (asdict(recipe), None if longer is None else asdict(longer), data, packages)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def on_record(result: Path, same: str) -> dict[str, Row]:
    """Rows of an earlier part by architecture; none if they hold for something else."""
    raw = json.loads(result.read_text("utf-8"))["raw"] if result.exists() else {}
    rows = raw["rows"] if raw.get("holds_for") == same else []
    return {row["arch"]: Row(**row) for row in rows}


def alone_recipe(recipe: Recipe) -> Recipe:
    """The same for one network: it runs once a step and learns from labels."""
    return METHODS["spos"].on(recipe)


def figures_of(rows: Sequence[Row]) -> list[Figure]:
    """Gap and rank correlation; one network alone has no order."""
    gaps = [row.gap for row in rows]
    tau = kendall_tau([row.shared for row in rows], [row.alone for row in rows])
    return [
        Figure("trained alone above supernet, mean", statistics.fmean(gaps), "points", 0.5, "<="),
        Figure("the same, worst architecture (informational)", max(gaps), "points", 1.0, "<="),
        *([Figure("Kendall's tau of both accuracies", tau, "", 0.7, ">=")] if rows[1:] else []),
        Figure("architectures compared", len(rows), "", 12, ">="),
        *_of_longer(rows),
    ]


def _of_longer(rows: Sequence[Row]) -> list[Figure]:
    """What a supernet of more steps leaves of the gap, where one was named."""
    pairs = [(row.longer, row.alone) for row in rows if row.longer is not None]
    if not pairs:
        return []
    gap = 100 * statistics.fmean(alone - longer for longer, alone in pairs)
    tau = kendall_tau(*zip(*pairs, strict=True))
    return [
        Figure("the same above a supernet of more steps, mean (informational)", gap, "points", 0.5,
               "<="),
        Figure("Kendall's tau of these (informational)", tau, "", 0.7, ">="),
    ]  # fmt: skip


def _alone(arch: Arch, whole: Run, work: Path) -> Run:
    name = f"training {arch.id} alone ({whole.space.macs(arch) / 1e6:.2f} MMAC)"
    return Run(name, alone(whole.space, arch), alone_recipe(whole.recipe), work / arch.id)


def _complete(folder: Path, space: ArchSpace) -> Run:
    """A run of the space that has ended, by whatever recipe."""
    checkpoint, _ = open_run(RunDir(folder))
    if checkpoint.space != space:
        raise SystemExit(f"expected a run of the preset {PRESET}, got another space in {folder}")
    return Run("the supernet of more steps", space, checkpoint.recipe, folder)


def _row(
    arch: Arch, exporter: Exporter, longer: Exporter | None, single: Run, data: ImageData,
    tested: Tested, progress: Progress,
) -> Row:  # fmt: skip
    checkpoint = single.trained(data, progress)
    own = single.exporter(checkpoint, data).export(single.space.largest())
    return Row(
        arch.id,
        arch.describe(),
        exporter.net.space.macs(arch),
        _tested(exporter, arch, tested),
        tested.accuracy(own.path.read_bytes(), arch.resolution),
        single.seconds(),
        None if longer is None else _tested(longer, arch, tested),
        commit(),
    )


def _tested(exporter: Exporter, arch: Arch, tested: Tested) -> float:
    return tested.accuracy(exporter.export(arch).path.read_bytes(), arch.resolution)


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
    parser.add_argument("--longer", type=Path, help="a complete run of the same space, to compare")
    parser.add_argument(
        "--now", type=int, help="networks that are trained this time, cheapest first"
    )
    parser.add_argument("--workers", type=int, default=2, help="networks trained at a time (2)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
