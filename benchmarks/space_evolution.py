"""Is a space evolved for this machine better than the one made by hand, at equal training?

    python -m benchmarks.space_evolution --data-root DIR [--data fashion-mnist] [--epochs 40]
        [--trials 60] [--rows 4] [--steps 200]

Trains the preset of the data set (`edgenas train`), evolves a space around it for this machine,
with the preset's largest network as teacher (`edgenas space evolve`), trains that space with the
same recipe, steps and seed, then searches both with the same number of measurements and the same
searcher. The networks of either front are measured again, longer. Accuracies are those of the INT8
bytes on the search split; latencies are ratios to the preset's largest network, in turns with it.

"At equal accuracy" is: for every network of the preset's front, the fastest of the evolved front
that is at least as accurate. Beside the figures stands how many have one.

Everything is kept in --work: killed at any moment, the same command goes on. Where training is too
short for the preset's own blocks to pass the table's checks, --latency-ms must be given. A trial:
`--epochs 1 --trials 10 --rows 1 --steps 100 --images 512 --asked 200 --results DIR`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.hunting import outcome_of
from benchmarks.kept import Kept
from benchmarks.latency import Beside, beside
from benchmarks.options import parser_of
from benchmarks.record import Figure, write_result
from edgenas.campaign.block_meter import LocalMeter
from edgenas.campaign.block_table import TablePlan
from edgenas.campaign.evolving import Evolved, EvolvePlan, evolve_space
from edgenas.campaign.progress import Progress
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.scoring import Scorer
from edgenas.campaign.training import TrainOptions, open_run, scorer_of, train_run
from edgenas.cli.display import Display
from edgenas.export.errors import CandidateError
from edgenas.search import SEARCHERS
from edgenas.search.trial import Failure, Outcome, Trial
from edgenas.space import Arch
from edgenas.train.blockwise import ImitationRecipe
from edgenas.train.loop import read_metrics, training_seconds

SEED = 0
SEARCHER = "surrogate"


@dataclass(frozen=True)
class Point:
    """One network of a front.

    Attributes:
        accuracy: of its bytes on the search split.
        ratio: its latency over that of the preset's largest network.
        arch: in words.
    """

    accuracy: float
    ratio: float
    arch: str


@dataclass(frozen=True)
class Comparison:
    """Two fronts at equal accuracy.

    Attributes:
        speedups: for each network of the first front that the second one matches in accuracy, how
            many times as fast the second one is.
        unmatched: networks of the first front that the second one does not match.
    """

    speedups: tuple[float, ...]
    unmatched: int


def main() -> None:
    """Train, evolve, train, search both, compare, write the result."""
    options = _arguments()
    preset, evolved = RunDir(options.work / "preset"), RunDir(options.work / "evolved")
    with Display(Console(stderr=True)) as display:
        train_run(preset, _training(options, None), "benchmark", display)
        plan = _plan(options)
        found = evolve_space(preset, options.work / "space", plan, LocalMeter(), display)
        train_run(evolved, _training(options, found.path), "benchmark", display)
        reference = _reference(preset)
        fronts = {
            run.path.name: _front(run, reference, options, display) for run in (preset, evolved)
        }
    compared = compare(fronts["preset"], fronts["evolved"])
    figures = _figures(compared, fronts)
    raw = _raw(found, fronts, compared, (preset, evolved))
    write_result("space_evolution", figures, {"seed": SEED}, raw, options.results)


def compare(first: Sequence[Point], second: Sequence[Point]) -> Comparison:
    """How much faster the second front is, network by network of the first."""
    speedups, unmatched = [], 0
    for point in first:
        matching = [other.ratio for other in second if other.accuracy >= point.accuracy]
        if matching:
            speedups.append(point.ratio / min(matching))
        else:
            unmatched += 1
    return Comparison(tuple(speedups), unmatched)


def front_of(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in accuracy and latency, the fastest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.ratio, -p.accuracy)):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front


def _training(options: argparse.Namespace, space: Path | None) -> TrainOptions:
    overrides: dict[str, object] = {"epochs": options.epochs}
    return TrainOptions(
        options.data, options.data_root, overrides=overrides, seed=SEED, space_file=space
    )


def _plan(options: argparse.Namespace) -> EvolvePlan:
    imitation = ImitationRecipe(steps=options.steps)
    table = TablePlan(options.rows, imitation, options.images, options.asked)
    return EvolvePlan(table, latency_ms=options.latency_ms)


def _reference(run: RunDir) -> Path:
    checkpoint, data = open_run(run)
    return scorer_of(run, checkpoint, data).candidate(checkpoint.space.largest()).exported.path


# --- one space ---------------------------------------------------------------------------------


def _front(
    run: RunDir, reference: Path, options: argparse.Namespace, progress: Progress
) -> list[Point]:
    """Search a run's space, then measure its front again."""
    checkpoint, data = open_run(run)
    side = _Side(scorer_of(run, checkpoint, data), reference, Kept(run.path / "rows.jsonl"))
    trials = side.search(options.trials, progress)
    quick = [
        (Point(value.accuracy, value.latency_p50_ms, trial.arch.describe()), trial.arch)
        for trial in trials
        if (value := trial.value) is not None
    ]
    shortlist = front_of([point for point, _ in quick])
    progress.phase(f"measuring the front of {run.path.name} again", len(shortlist))
    again = []
    for done, (point, arch) in enumerate((p, a) for p, a in quick if p in shortlist):
        ratio = side.session(arch, options.final_level).ratio
        again.append(Point(point.accuracy, ratio, point.arch))
        progress.advance(done + 1, f"{100 * point.accuracy:.2f} % at {ratio:.3f} x")
    return front_of(again)


class _Side:
    """One of the two spaces under search; what was measured is kept."""

    def __init__(self, scorer: Scorer, reference: Path, kept: Kept) -> None:
        self.scorer, self.reference, self.kept = scorer, reference, kept

    def search(self, count: int, progress: Progress) -> list[Trial]:
        """Try `count` networks of the space."""
        space = self.scorer.exporter.net.space
        progress.phase(f"searching {space.name}", count)
        searcher = SEARCHERS[SEARCHER](space, device="here", seed=SEED)
        trials: list[Trial] = []
        for number in range(count):
            for arch in searcher.ask():
                asked = Trial(number, "here", searcher.name, arch)
                trials.append(asked.ended(self._result(arch)))
                searcher.tell(trials[-1])
            progress.advance(number + 1, "")
        return trials

    def session(self, arch: Arch, level: str) -> Beside:
        """Latency of a network beside the reference's."""
        exported = self.scorer.candidate(arch).exported
        row = self.kept.row(
            f"{exported.sha256} {level}",
            lambda: asdict(beside(exported.path, self.reference, level)),
        )
        return Beside.from_row(row)

    def _result(self, arch: Arch) -> Outcome | Failure:
        try:
            candidate = self.scorer.candidate(arch)
        except CandidateError as error:
            return Failure("export", str(error))
        return outcome_of(candidate, self.session(arch, "quick"))


# --- the result --------------------------------------------------------------------------------


def _figures(compared: Comparison, fronts: dict[str, list[Point]]) -> list[Figure]:
    speedups = compared.speedups or (0.0,)
    matched = len(compared.speedups) / max(1, len(fronts["preset"]))
    best = {name: max(p.accuracy for p in front) for name, front in fronts.items()}
    return [
        Figure("faster at equal accuracy, best place", max(speedups), "x", 1.3, ">="),
        Figure("faster at equal accuracy, worst place", min(speedups), "x", 1.0, ">="),
        Figure("preset's front matched in accuracy", 100 * matched, "%", 100.0, ">="),
        Figure("best accuracy, evolved over preset",
               100 * (best["evolved"] - best["preset"]), "points", 0.0, ">="),
    ]  # fmt: skip


def _raw(
    found: Evolved, fronts: dict[str, list[Point]], compared: Comparison, runs: Sequence[RunDir]
) -> dict[str, Any]:
    spaces = found.filled.super_space
    minutes = {
        run.path.name: training_seconds(
            read_metrics(run.path), open_run(run)[0].recipe.batch
        ) / 60
        for run in runs
    }  # fmt: skip
    return {
        "space": spaces.describe(found.code),
        "limit_ms": found.limit_ms,
        "score": asdict(found.score),
        "score_of_the_preset": None if found.own is None else asdict(found.own),
        "excluded": [fault.describe() for fault in found.filled.excluded],
        "fronts": {name: [asdict(p) for p in front] for name, front in fronts.items()},
        "compared": asdict(compared),
        "training_minutes": minutes,
    }


def _arguments() -> argparse.Namespace:
    parser = parser_of("space_evolution", __doc__)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--epochs", type=float, default=40.0, help="of either space")
    parser.add_argument("--trials", type=int, default=60, help="measured networks of either space")
    parser.add_argument("--rows", type=int, default=4, help="sub-stages of each width and form")
    parser.add_argument("--steps", type=int, default=200, help="training steps of each form")
    parser.add_argument("--latency-ms", type=float, help="limit (default: half of the preset's)")
    parser.add_argument("--images", type=int, default=4096, help="that forms learn from")
    parser.add_argument("--asked", type=int, default=2000, help="images that forms are judged on")
    parser.add_argument("--final-level", default="standard", help="of the fronts")
    return parser.parse_args()


if __name__ == "__main__":
    main()
