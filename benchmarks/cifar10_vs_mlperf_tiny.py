"""CIFAR-10 against the image classifiers of MLPerf Tiny, on this machine and in one run.

    python -m benchmarks.cifar10_vs_mlperf_tiny --data-root DIR --peers DIR [--candidates 100]

DIR holds CIFAR-10's official files, and `mlperf_tiny_ic_resnet8_int8.tflite` and
`mlperf_tiny_ic_resnet_large_int8.tflite`, MLPerf Tiny's own INT8 files. The supernet of the preset
cifar-mixed is trained by `benchmarks/recipes/cifar10.toml`, which is

    edgenas train --data cifar10 --data-root DIR --preset cifar-mixed
        --recipe-file benchmarks/recipes/cifar10.toml --out WORK/run

and may be trained by that command beforehand, or on another machine. Then evolution searches for a
subnet that is more accurate than ic_resnet8, faster and no larger, and for one that is more
accurate than the large one and faster. Subnets are chosen on the search split; the test split is
read once, at the end, for the two that were chosen and for both peers. All of them are run by the
same runtime, and each latency is measured in turns with the peer's.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.hunting import Finalist, Hunt, Quarry, choose
from benchmarks.kept import Kept
from benchmarks.options import parser_of
from benchmarks.record import Figure, write_result
from benchmarks.tested import Tested
from edgenas.campaign.progress import Progress
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.scoring import Scorer
from edgenas.campaign.training import TrainOptions, scorer_of, train_run
from edgenas.cli.display import Display
from edgenas.search.trial import Trial
from edgenas.train.loop import read_metrics, training_core_hours
from firmware_bridge.wire.levels import LEVELS

SEED = 0
RECIPE = Path(__file__).with_name("recipes") / "cifar10.toml"
SMALL, LARGE = "mlperf_tiny_ic_resnet8_int8.tflite", "mlperf_tiny_ic_resnet_large_int8.tflite"
QUOTED = {SMALL: 86.97, LARGE: 91.31}
PEER_SIDE = 32
LEAST_LEAD = 0.01  # points: one image of ten thousand


@dataclass(frozen=True)
class Duel:
    """A chosen subnet and its peer on the whole test split.

    Attributes:
        peer: file of the peer.
        peer_accuracy: of it, 0 to 1.
        peer_bytes: its size.
        accuracy: of the subnet's bytes.
        subnet: the subnet.
        bytes_count: whether the size is part of the claim.
    """

    peer: str
    peer_accuracy: float
    peer_bytes: int
    accuracy: float
    subnet: Finalist
    bytes_count: bool

    @property
    def lead(self) -> float:
        """Points by which the subnet is more accurate."""
        return round(100 * (self.accuracy - self.peer_accuracy), 6)  # of whole images

    @property
    def size(self) -> float:
        """Its bytes over the peer's."""
        return self.subnet.model_bytes / self.peer_bytes

    @property
    def won(self) -> bool:
        """More accurate, faster with confidence, and not larger where that is claimed."""
        small = self.size <= 1 or not self.bytes_count
        return self.lead >= LEAST_LEAD and self.subnet.upper <= 1 and small


def main() -> None:
    """Train, search, test, write the result."""
    options = _arguments()
    run, kept = RunDir(options.work / "run"), Kept(options.work / "rows.jsonl")
    overrides: dict[str, object] = {"epochs": options.epochs}
    chosen = TrainOptions(
        "cifar10", options.data_root, "cifar-mixed", None, overrides, SEED, options.recipe_file
    )
    with Display(Console(stderr=True)) as display:
        checkpoint, data = train_run(run, chosen, "benchmark", display)
        scorer = scorer_of(run, checkpoint, data)
        hunts = [
            _hunt(options, scorer, kept, quarry, display) for quarry in _quarries(options.peers)
        ]
        tested = Tested(data, kept)
        duels = [_duel(quarry, subnet, scorer, tested) for quarry, subnet, _ in hunts]
    hours = training_core_hours(read_metrics(run.path))
    space = checkpoint.space
    raw = {
        "recipe": asdict(checkpoint.recipe),
        "checkpoint": checkpoint.digest(),
        "training_core_hours": hours,
        "subnets": space.size(),
        "duels": [asdict(duel) for duel in duels],
        "trials": {quarry.name: [_trial(t) for t in trials] for quarry, _, trials in hunts},
    }
    figures = [*(f for duel in duels for f in duel_figures(duel)), _time(hours)]
    seeds = {"training": SEED, "search": SEED}
    write_result("cifar10_vs_mlperf_tiny", figures, seeds, raw, options.results)


def _quarries(peers: Path) -> list[Quarry]:
    small, large = peers / SMALL, peers / LARGE
    for path in (small, large):
        if not path.is_file():
            raise SystemExit(f"expected {path}, got none; name the folder of MLPerf Tiny's files")
    return [
        Quarry("ic_resnet8", small, small.stat().st_size),
        Quarry("ic_resnet_large", large, None),
    ]


def _hunt(
    options: argparse.Namespace, scorer: Scorer, kept: Kept, quarry: Quarry, progress: Progress
) -> tuple[Quarry, Finalist, list[Trial]]:
    hunt = Hunt(scorer, quarry, kept, SEED)
    trials = hunt.search(options.candidates, progress)
    finalists = hunt.finals(trials, options.finalists, options.sessions, options.level, progress)
    return quarry, choose(finalists, quarry), trials


def _duel(quarry: Quarry, subnet: Finalist, scorer: Scorer, tested: Tested) -> Duel:
    peer = quarry.file.read_bytes()
    shipped = scorer.exporter.export(subnet.arch).path.read_bytes()
    return Duel(
        quarry.file.name,
        tested.accuracy(peer, PEER_SIDE),
        len(peer),
        tested.accuracy(shipped, subnet.arch.resolution),
        subnet,
        quarry.most_bytes is not None,
    )


def duel_figures(duel: Duel) -> list[Figure]:
    """The claim against one peer, and what it is made of."""
    name = duel.peer.removeprefix("mlperf_tiny_").removesuffix("_int8.tflite")
    size = Figure(f"{name}: bytes of the subnet over its", duel.size, "x", 1.0, "<=")
    quoted = QUOTED[duel.peer]
    return [
        Figure(f"{name}: beaten in every respect (1: yes)", float(duel.won), "", 1, ">="),
        Figure(f"{name}: test accuracy of the subnet", 100 * duel.accuracy, "%", quoted, ">="),
        Figure(f"{name}: its own, quoted {quoted} %", 100 * duel.peer_accuracy, "%", quoted, ">="),
        Figure(f"{name}: lead of the subnet", duel.lead, "points", LEAST_LEAD, ">="),
        Figure(f"{name}: latency of the subnet over its", duel.subnet.ratio, "x", 1.0, "<="),
        *([size] if duel.bytes_count else []),
    ]


def _time(core_hours: float) -> Figure:
    return Figure("training, two cores", core_hours / 2, "h", 4.0, "<=")


def _trial(trial: Trial) -> dict[str, Any]:
    value = trial.value
    if value is None:
        return {"arch": trial.arch.to_dict(), "failure": trial.failure and asdict(trial.failure)}
    return {
        "arch": trial.arch.to_dict(),
        "accuracy_search": value.accuracy,
        "latency_ratio": value.latency_p50_ms,
        "bytes": value.model_bytes,
        "macs": value.macs,
    }


def _arguments() -> argparse.Namespace:
    parser = parser_of("cifar10_vs_mlperf_tiny", __doc__)
    parser.add_argument("--peers", type=Path, required=True, help="folder of MLPerf Tiny's files")
    parser.add_argument("--recipe-file", type=Path, default=RECIPE)
    parser.add_argument("--epochs", type=float, help="another length than the recipe's")
    parser.add_argument("--candidates", type=int, default=100, help="subnets tried for each peer")
    parser.add_argument("--finalists", type=int, default=5)
    parser.add_argument("--sessions", type=int, default=3, help="measurements of each finalist")
    parser.add_argument("--level", choices=sorted(LEVELS), default="standard")
    return parser.parse_args()


if __name__ == "__main__":
    main()
