"""Fashion-MNIST: how good the INT8 supernet is after at most 30 minutes of training on 2 cores.

    python -m benchmarks.fashion --data-root DIR [--work FOLDER]

DIR holds the four official idx files. Trains with the preset's own recipe; an interrupted run goes
on. The test split is read once, for the largest and the smallest subnet, by the bytes that would
be shipped.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks.record import Figure, write_result
from edgenas.campaign.final_test import final_figures
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.training import TrainOptions, open_run, scorer_of, train_run
from edgenas.cli.display import Display
from edgenas.train.loop import read_metrics, training_seconds

SEED = 0


def main() -> None:
    """Train, export the two extremes, test, write the result."""
    options = _arguments()
    run = RunDir(options.work)
    chosen = TrainOptions("fashion-mnist", options.data_root, seed=SEED)
    with Display(Console(stderr=True)) as display:
        train_run(run, chosen, "benchmark", display)
    checkpoint, data = open_run(run)
    scorer, space = scorer_of(run, checkpoint, data), checkpoint.space
    extremes = (space.largest(), space.smallest())
    found = final_figures(run, scorer, data, [(arch, "tflite") for arch in extremes])
    largest, smallest = (found[arch.id, "tflite"] for arch in extremes)
    gap = max(abs(f.bytes - f.fake_quant) for f in found.values())
    minutes = training_seconds(read_metrics(run.path), checkpoint.recipe.batch) / 60
    figures = [
        Figure("largest INT8 subnet, test, bytes", 100 * largest.bytes, "%", 90.5, ">="),
        Figure("smallest INT8 subnet, test, bytes", 100 * smallest.bytes, "%", 87.0, ">="),
        Figure("bytes against fake-quantised accuracy, worst", 100 * gap, "points", 0.2, "<="),
        Figure("training time", minutes, "min", 30.0, "<="),
    ]  # fmt: skip
    raw = {
        "recipe": asdict(checkpoint.recipe),
        "largest": asdict(largest),
        "smallest": asdict(smallest),
        "macs": {"largest": space.macs(space.largest()), "smallest": space.macs(space.smallest())},
        "subnets": space.size(),
    }
    write_result("fashion", figures, {"seed": SEED}, raw)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("benchmarks/scratch/fashion"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
