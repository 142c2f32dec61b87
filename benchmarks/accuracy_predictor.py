"""How well the accuracy of few labelled subnets tells that of others, in a space of millions.

    python -m benchmarks.accuracy_predictor --run RUN [--subnets 400] [--images 5000] [--seeds 20]

RUN is a trained run; the figures on record are of `benchmarks.cifar10_vs_mlperf_tiny`, WORK/run.
So many subnets of all sizes are exported with the parity gate and their bytes are scored on the
search split, once; each seed then labels other ones of them, and the accuracy model predicts all
others. The table of `benchmarks.search_ground_truth` cannot tell this: its accuracies are so near
to each other that the choice of images decides most of their order. How much of the order is the
images is a figure here, too.

What was scored is kept in --work: an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from scipy.stats import kendalltau

from benchmarks.options import parser_of
from benchmarks.record import Figure, write_result
from benchmarks.reliability import highest_tau, tau_of_halves
from benchmarks.scored import Scored
from benchmarks.subnets import spread
from edgenas.campaign.rundir import RunDir
from edgenas.search.accuracy_model import learn_accuracy
from edgenas.search.features import Features
from edgenas.space import Arch
from edgenas.train.checkpoint import load_checkpoint

SEED = 7
LABELLED = (25, 50, 100, 200)
GOAL = 100


def main() -> None:
    """Score, predict with every seed, write the result."""
    options = _arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    space = load_checkpoint(RunDir(options.run).checkpoint).space
    archs = spread(space, options.subnets, SEED)
    scoring = Scored(options.run, options.images, options.work, options.workers)
    scored = scoring.rows(archs)
    halves = scoring.halves(archs, scored, len(archs), SEED)
    known = {a: float(scored[a.id]["accuracy"]) for a in archs if "accuracy" in scored[a.id]}
    features = Features(space)
    taus = {
        count: [predicted_tau(features, known, count, seed) for seed in range(options.seeds)]
        for count in LABELLED
        if count < len(known)
    }
    raw = {
        "space": space.name,
        "subnets": space.size(),
        "accuracies": sorted(known.values()),
        "failed": len(archs) - len(known),
        "halves": halves,
        "taus": {str(count): found for count, found in taus.items()},
    }
    seeds = {"pool": SEED, "first": 0, "last": options.seeds - 1}
    figures = figures_of(list(known.values()), halves, taus)
    write_result("accuracy_predictor", figures, seeds, raw, options.results)


def predicted_tau(
    features: Features, known: Mapping[Arch, float], labelled: int, seed: int
) -> float:
    """Kendall's tau of predicted and true accuracies of all but the labelled subnets."""
    mixed = random.Random(f"labelled/{seed}").sample(list(known), len(known))
    given, unseen = mixed[:labelled], mixed[labelled:]
    model = learn_accuracy(features, given, [known[arch] for arch in given])
    true = [known[arch] for arch in unseen]
    return float(kendalltau(model.predict(unseen), true).statistic)


def figures_of(
    accuracies: Sequence[float],
    halves: Sequence[tuple[float, float]],
    taus: Mapping[int, Sequence[float]],
) -> list[Figure]:
    """Medians over the seeds, and what the images allow."""
    found = [
        Figure(_told(count), statistics.median(each), "", 0.9, ">=") for count, each in taus.items()
    ]
    points = 100 * (max(accuracies) - min(accuracies))
    return [
        *found,
        Figure("the same of two halves of the images (informational)", tau_of_halves(halves), "",
               0.9, ">="),
        Figure("the same of a predictor that knew the true accuracies (informational)",
               highest_tau(halves), "", 0.9, ">="),
        Figure("accuracies from the lowest to the highest (informational)", points, "points", 5,
               ">="),
    ]  # fmt: skip


def _told(count: int) -> str:
    name = f"Kendall's tau at {count} labelled subnets"
    return name if count == GOAL else f"{name} (informational)"


def _arguments() -> argparse.Namespace:
    parser = parser_of("accuracy_predictor", __doc__, data=False)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--subnets", type=int, default=400, help="scored in all")
    parser.add_argument("--images", type=int, default=5000, help="of the search split")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2, help="processes that export and score")
    return parser.parse_args()


if __name__ == "__main__":
    main()
