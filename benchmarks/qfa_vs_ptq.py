"""Quantised for all against quantised afterwards: two supernets, one way to INT8 bytes.

    python -m benchmarks.qfa_vs_ptq --data-root DIR [--archs 24] [--epochs E]

DIR holds Fashion-MNIST's official files. One supernet is trained in fake-quantised INT8 by its
preset's recipe (the run of `benchmarks.fashion` is gone on with, or taken as it is); the other by
the same recipe in float to the end. Subnets of both go the same way to bytes: BatchNorm statistics
and ranges are calibrated for the subnet on the same images, and nothing is trained any more; for
the second that is quantisation after training. Both forms of an architecture are the same graph, so
its latency is measured once, in turns with the subnet in the middle of them. Accuracies are those
of the bytes on the test split, which nothing was chosen by.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.kept import Kept
from benchmarks.latency import Beside, beside, typical
from benchmarks.options import parser_of
from benchmarks.record import Figure, write_result
from benchmarks.runs import Run
from benchmarks.scores import Point, worst_lead
from benchmarks.subnets import spread
from benchmarks.tested import Tested
from edgenas.campaign.training import load
from edgenas.cli.display import Display
from edgenas.export.exporter import Exporter
from edgenas.space.arch import Arch
from edgenas.space.presets import preset
from edgenas.train.recipes import RECIPES
from firmware_bridge.wire.levels import LEVELS

SEED = 0
PRESET, DATA = "fashion", "fashion-mnist"


@dataclass(frozen=True)
class Row:
    """One architecture; accuracies of INT8 bytes on the test split, 0 to 1.

    Attributes:
        arch: its id.
        macs: multiply-accumulates of one inference.
        latency: over that of the subnet in the middle, median over sessions.
        for_all: accuracy from the supernet that was trained in INT8.
        afterwards: accuracy from the one trained in float.
        sessions: the measurements.
    """

    arch: str
    macs: int
    latency: float
    for_all: float
    afterwards: float
    sessions: tuple[Beside, ...]

    @property
    def lead(self) -> float:
        """Points by which training in INT8 is ahead."""
        return 100 * (self.for_all - self.afterwards)


def main() -> None:
    """Train both, measure, test, write the result."""
    options = _arguments()
    data = load(DATA, options.data_root, PRESET, SEED)
    space = preset(PRESET, channels=data.channels, classes=len(data.classes))
    recipe = RECIPES[PRESET].override(seed=SEED, epochs=options.epochs)
    in_float = recipe.override(float_share=1.0)
    both = (
        Run("training the supernet in INT8", space, recipe, options.supernet),
        Run("training the supernet in float", space, in_float, options.work / "float"),
    )
    kept = Kept(options.work / "rows.jsonl")
    tested = Tested(data, kept)
    with Display(Console(stderr=True)) as display:
        exporters = [run.exporter(run.trained(data, display), data) for run in both]
        archs = spread(space, options.archs, SEED)
        display.phase("exporting, measuring, testing", len(archs))
        rows = []
        for done, arch in enumerate(archs):
            middle = archs[len(archs) // 2]
            sessions = _sessions(arch, middle, exporters[0], options, kept)
            rows.append(_row(arch, exporters, sessions, tested))
            display.advance(done + 1, f"{rows[-1].lead:+.2f} points at {rows[-1].latency:.2f} x")
    raw = {
        "recipe": asdict(recipe),
        "seconds": {"int8": both[0].seconds(), "float": both[1].seconds()},
        "rows": [asdict(row) for row in rows],
    }
    seeds = {"training": SEED, "architectures": SEED}
    write_result("qfa_vs_ptq", figures_of(rows), seeds, raw, options.results)


def figures_of(rows: Sequence[Row]) -> list[Figure]:
    """Leads on the fronts, of the smallest quarter and of all; rows ascend by MACs."""
    ours, theirs = ([_point(row, name) for row in rows] for name in ("for_all", "afterwards"))
    quarter = [row.lead for row in rows[: max(1, len(rows) // 4)]]
    leads = [row.lead for row in rows]
    lead = 100 * worst_lead(ours, theirs)
    return [
        Figure("front of INT8 training above the other, least", lead, "points", 0.0, ">="),
        Figure("smallest quarter of subnets, mean lead", statistics.fmean(quarter), "points", 1.0,
               ">="),
        Figure("all subnets, mean lead (informational)", statistics.fmean(leads), "points", 0.0,
               ">="),
        Figure("any subnet, least lead (informational)", min(leads), "points", 0.0, ">="),
    ]  # fmt: skip


def _point(row: Row, name: str) -> Point:
    return row.latency, float(getattr(row, name))


def _sessions(
    arch: Arch, middle: Arch, exporter: Exporter, options: argparse.Namespace, kept: Kept
) -> tuple[Beside, ...]:
    model, reference = exporter.export(arch), exporter.export(middle)

    def session(number: int) -> Beside:
        key = f"latency {model.sha256} {reference.sha256} {options.level} {number}"
        row = kept.row(key, lambda: asdict(beside(model.path, reference.path, options.level)))
        return Beside.from_row(row)

    return tuple(session(number) for number in range(options.sessions))


def _row(
    arch: Arch, exporters: Sequence[Exporter], sessions: tuple[Beside, ...], tested: Tested
) -> Row:
    for_all, afterwards = (
        tested.accuracy(exporter.export(arch).path.read_bytes(), arch.resolution)
        for exporter in exporters
    )
    macs = exporters[0].net.space.macs(arch)
    return Row(arch.id, macs, typical(sessions)[0], for_all, afterwards, sessions)


def _arguments() -> argparse.Namespace:
    parser = parser_of("qfa_vs_ptq", __doc__)
    parser.add_argument("--archs", type=int, default=24)
    parser.add_argument("--epochs", type=float, help="another length than the recipe's")
    parser.add_argument("--sessions", type=int, default=3, help="measurements of each subnet")
    parser.add_argument("--level", choices=sorted(LEVELS), default="quick")
    parser.add_argument(
        "--supernet",
        type=Path,
        default=Path("benchmarks/scratch/fashion"),
        help="run folder of the supernet trained in INT8",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
