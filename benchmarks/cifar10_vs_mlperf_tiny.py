"""CIFAR-10 against the image classifiers of MLPerf Tiny, on this machine and in one run.

    python -m benchmarks.cifar10_vs_mlperf_tiny --data-root DIR --peers DIR [--candidates 100]

DIR holds CIFAR-10's official files, and `mlperf_tiny_ic_resnet8_int8.tflite` and
`mlperf_tiny_ic_resnet_large_int8.tflite`, MLPerf Tiny's own INT8 files. The supernet of the preset
cifar-mixed is trained by `benchmarks/recipes/cifar10.toml`, which is

    edgenas train --data cifar10 --data-root DIR --preset cifar-mixed
        --recipe-file benchmarks/recipes/cifar10.toml --out WORK/run

and may be trained by that command beforehand, or on another machine. In the second stage a small
part of it (`PART`: around the subnets that are as small and as fast as ic_resnet8) is cut out with
its weights and trained further by `benchmarks/recipes/cifar10_small.toml`:

    edgenas train ... --weights WORK/run/checkpoint.pt --only resolution=28 ... --out WORK/small

Evolution searches that part for a subnet that is more accurate than ic_resnet8, faster and no
larger, and the whole for one that is more accurate than the large one and faster. Subnets are
chosen on the search split; the test split is read once, at the end, for the two that were chosen
and for both peers. All of them are run by the same runtime, and each latency is measured in turns
with the peer's.
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
from edgenas.campaign.starting import Start
from edgenas.campaign.training import TrainOptions, scorer_of, train_run
from edgenas.cli.display import Display
from edgenas.data import ImageData
from edgenas.search.trial import Trial
from edgenas.train.checkpoint import Checkpoint
from edgenas.train.loop import read_metrics, training_core_hours
from firmware_bridge.wire.levels import LEVELS

SEED = 0
RECIPES = Path(__file__).with_name("recipes")
WHOLE_RECIPE, PART_RECIPE = RECIPES / "cifar10.toml", RECIPES / "cifar10_small.toml"
PART = (
    "resolution=28", "s0.width=16", "s0.depth=1", "s1.width=24", "s1.depth=1", "s2.width=48",
    "s2.depth=2", "s2.b0.kernel=5", "s2.b1.kernel=5", "s2.b0.expand=3,4", "s2.b1.expand=3,4",
    "s3.depth=1", "s3.b0.kernel=3", "s3.b0.expand=2,3",
)  # fmt: skip
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


@dataclass(frozen=True)
class Stage:
    """A trained supernet and what scores its subnets.

    Attributes:
        run: its folder.
        checkpoint: what was trained.
        scorer: exports and scores its subnets.
    """

    run: RunDir
    checkpoint: Checkpoint
    scorer: Scorer

    @property
    def core_hours(self) -> float:
        """Processor time of its steps."""
        return training_core_hours(read_metrics(self.run.path))

    def about(self) -> dict[str, Any]:
        """What a reader of the result wants to know of it."""
        return {
            "recipe": asdict(self.checkpoint.recipe),
            "checkpoint": self.checkpoint.digest(),
            "training_core_hours": self.core_hours,
            "subnets": self.checkpoint.space.size(),
        }


def main() -> None:
    """Train, search, test, write the result."""
    options = _arguments()
    kept = Kept(options.work / "rows.jsonl")
    with Display(Console(stderr=True)) as display:
        whole, data = _trained(options, "run", WHOLE_RECIPE, options.epochs, Start(), display)
        start = Start(PART, whole.run.checkpoint)
        part, _ = _trained(options, "small", PART_RECIPE, options.part_epochs, start, display)
        small, large = _quarries(options.peers)
        hunts = [
            _hunt(options, part.scorer, kept, small, display),
            _hunt(options, whole.scorer, kept, large, display),
        ]
        tested = Tested(data, kept)
        duels = [_duel(hunt, tested) for hunt in hunts]
    raw = {
        "stages": {"whole": whole.about(), "part": {"only": PART, **part.about()}},
        "duels": [asdict(duel) for duel in duels],
        "trials": {hunt.quarry.name: [_trial(t) for t in hunt.trials] for hunt in hunts},
    }
    time = _time(whole.core_hours + part.core_hours)
    figures = [*(f for duel in duels for f in duel_figures(duel)), time]
    seeds = {"training": SEED, "search": SEED}
    write_result("cifar10_vs_mlperf_tiny", figures, seeds, raw, options.results)


def _trained(
    options: argparse.Namespace, folder: str, recipe: Path, epochs: float | None, start: Start,
    progress: Progress,
) -> tuple[Stage, ImageData]:  # fmt: skip
    run = RunDir(options.work / folder)
    overrides: dict[str, object] = {"epochs": epochs}
    chosen = TrainOptions(
        "cifar10", options.data_root, "cifar-mixed", None, overrides, SEED, recipe, start=start
    )
    checkpoint, data = train_run(run, chosen, "benchmark", progress)
    return Stage(run, checkpoint, scorer_of(run, checkpoint, data)), data


def _quarries(peers: Path) -> tuple[Quarry, Quarry]:
    small, large = peers / SMALL, peers / LARGE
    for path in (small, large):
        if not path.is_file():
            raise SystemExit(f"expected {path}, got none; name the folder of MLPerf Tiny's files")
    return Quarry("ic_resnet8", small, small.stat().st_size), Quarry("ic_resnet_large", large, None)


@dataclass(frozen=True)
class Hunted:
    """What a search came to.

    Attributes:
        quarry: what was to be beaten.
        scorer: of the space that was searched.
        subnet: the chosen one.
        trials: all that were tried.
    """

    quarry: Quarry
    scorer: Scorer
    subnet: Finalist
    trials: list[Trial]


def _hunt(
    options: argparse.Namespace, scorer: Scorer, kept: Kept, quarry: Quarry, progress: Progress
) -> Hunted:
    hunt = Hunt(scorer, quarry, kept, SEED)
    count = min(options.candidates, hunt.space.size())
    trials = hunt.search(count, progress)
    finalists = hunt.finals(trials, options.finalists, options.sessions, options.level, progress)
    return Hunted(quarry, scorer, choose(finalists, quarry), trials)


def _duel(hunt: Hunted, tested: Tested) -> Duel:
    peer, subnet = hunt.quarry.file.read_bytes(), hunt.subnet
    shipped = hunt.scorer.exporter.export(subnet.arch).path.read_bytes()
    return Duel(
        hunt.quarry.file.name,
        tested.accuracy(peer, PEER_SIDE),
        len(peer),
        tested.accuracy(shipped, subnet.arch.resolution),
        subnet,
        hunt.quarry.most_bytes is not None,
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
    parser.add_argument("--epochs", type=float, help="another length of the first stage")
    parser.add_argument("--part-epochs", type=float, help="another length of the second stage")
    parser.add_argument("--candidates", type=int, default=100, help="subnets tried for each peer")
    parser.add_argument("--finalists", type=int, default=5)
    parser.add_argument("--sessions", type=int, default=3, help="measurements of each finalist")
    parser.add_argument("--level", choices=sorted(LEVELS), default="standard")
    return parser.parse_args()


if __name__ == "__main__":
    main()
