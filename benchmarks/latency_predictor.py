"""How well few measured subnets tell latency, memory and accuracy of the others.

    python -m benchmarks.latency_predictor [--table FILE] [--seeds 20]

From the table of `benchmarks.search_ground_truth`: 60 subnets of every size are known, the cost
models predict all others; the accuracy model knows 100. The latency is that of the least disturbed
pass; the two passes themselves differ by what is given beside the errors.

Beside them: how many measurements are saved by choosing them for the predictor instead of evenly by
size (`edgenas.search.informative`), and by beginning with the model of a device that is known. The
known device is this one as its table has it, with every depthwise layer slower by --weakness: a
device of the same kind with a weakness of its own. Either accuracy model alone, by the number of
labelled subnets, is in the raw rows.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from benchmarks.record import Figure, write_result
from benchmarks.reduced import TABLES, Table
from edgenas.search.accuracy_model import learn_accuracy, learn_ranked
from edgenas.search.cost_model import CostModel, learn_cost
from edgenas.search.features import Features, Rows
from edgenas.search.informative import most_informative
from edgenas.search.regressors import frugal
from edgenas.search.surrogate import stratified
from edgenas.space import Arch

KNOWN = 60
FEW = (10, 20, 40)
LABELLED = (25, 50, 100, 200)
POOL = 400  # networks among which those that tell most are chosen
SEEDED = 6  # of every size, before anything is chosen


@dataclass(frozen=True)
class Found:
    """What one seed gave.

    Attributes:
        within_5: share of unseen subnets whose latency is within 5 % of the prediction.
        within_10: within 10 %.
        tau: Kendall's tau of the latency.
        covered: share within one predicted standard deviation.
        memory_within_10: share of unseen subnets whose memory is within 10 %.
        accuracy_tau: Kendall's tau of the accuracy, by number of labelled subnets.
        ranked_tau: the same of the pretrained predictor alone.
        within_5_by_size: share within 5 %, by number of subnets measured evenly by size.
        within_5_chosen: the same for subnets chosen for the predictor.
        within_5_begun: the same by size, begun with the model of the known device.
    """

    within_5: float
    within_10: float
    tau: float
    covered: float
    memory_within_10: float
    accuracy_tau: dict[str, float]
    ranked_tau: dict[str, float]
    within_5_by_size: dict[str, float]
    within_5_chosen: dict[str, float]
    within_5_begun: dict[str, float]


def main() -> None:
    """Fit and predict with every seed, write the result."""
    options = _arguments()
    table = Table.read(options.table)
    features = Features(table.space)
    with frugal():
        start = _known_device(table, features, options.weakness)
        found = [_seed(table, features, seed, start) for seed in range(options.seeds)]
    figures = _figures(found, table)
    if options.dry:
        print("\n".join(f"{f.name}: {f.value:.4g} {f.unit}" for f in figures))
    else:
        seeds = {"first": 0, "last": options.seeds - 1}
        write_result("latency_predictor", figures, seeds, [asdict(one) for one in found])


def _known_device(table: Table, features: Features, weakness: float) -> CostModel:
    """Model of a device with other latencies: where depthwise layers are slower, and all is."""
    archs = _known(table, 2 * KNOWN, -1)
    latencies = []
    for arch in archs:
        layers = table.space.layers(arch)
        depthwise = sum(layer.out_elements for layer in layers if layer.kind == "depthwise")
        share = depthwise / sum(layer.out_elements for layer in layers)
        latencies.append(2.0 * table.rows[arch].latency_ms * (1 + weakness * share))
    return learn_cost(features, archs, latencies, features.time_columns)


def _few(table: Table, features: Features, archs: Sequence[Arch], start: CostModel | None) -> float:
    """Share of all other subnets within 5 %, with these known."""
    costs = [table.rows[arch].latency_ms for arch in archs]
    model = learn_cost(features, archs, costs, features.time_columns, start)
    unseen = _unseen(table, archs)
    true = np.array([table.rows[arch].latency_ms for arch in unseen])
    return float(np.mean(abs(model.predict(unseen) / true - 1) <= 0.05))


def _chosen(table: Table, features: Features, count: int, seed: int) -> list[Arch]:
    """A few of every size, then those that tell most."""
    first = _known(table, SEEDED, seed)
    pool = random.Random(f"pool/{seed}").sample(sorted(table.rows, key=lambda a: a.id), POOL)
    return [*first, *most_informative(features, first, pool, count - len(first))]


def _seed(table: Table, features: Features, seed: int, start: CostModel) -> Found:
    known = _known(table, KNOWN, seed)
    unseen = _unseen(table, known)
    latency = learn_cost(
        features, known, [table.rows[a].latency_ms for a in known], features.time_columns
    )
    memory = learn_cost(
        features, known, [float(table.rows[a].memory_bytes) for a in known],
        features.memory_columns,
    )  # fmt: skip
    true = np.array([table.rows[arch].latency_ms for arch in unseen])
    expected, deviation = latency.spread(unseen)
    error = abs(expected / true - 1)
    bytes_true = np.array([table.rows[arch].memory_bytes for arch in unseen])
    return Found(
        float(np.mean(error <= 0.05)),
        float(np.mean(error <= 0.10)),
        _tau(expected, true),
        float(np.mean(abs(np.log(true / expected)) <= deviation)),
        float(np.mean(abs(memory.predict(unseen) / bytes_true - 1) <= 0.10)),
        {str(n): _accuracy_tau(table, features, n, seed) for n in LABELLED},
        {str(n): _ranked_tau(table, features, n, seed) for n in LABELLED},
        {str(n): _few(table, features, _known(table, n, seed), None) for n in FEW},
        {str(n): _few(table, features, _chosen(table, features, n, seed), None) for n in FEW},
        {str(n): _few(table, features, _known(table, n, seed), start) for n in FEW},
    )


def _accuracy_tau(table: Table, features: Features, labelled: int, seed: int) -> float:
    known = _known(table, labelled, seed)
    unseen = _unseen(table, known)
    model = learn_accuracy(features, known, [table.rows[arch].accuracy for arch in known])
    true = np.array([table.rows[arch].accuracy for arch in unseen])
    return _tau(model.predict(unseen), true)


def _ranked_tau(table: Table, features: Features, labelled: int, seed: int) -> float:
    known = _known(table, labelled, seed)
    unseen = _unseen(table, known)
    goodness = -np.log(1.005 - np.array([table.rows[arch].accuracy for arch in known]))
    model = learn_ranked(features, known, goodness)
    true = np.array([table.rows[arch].accuracy for arch in unseen])
    return _tau(model.predict(unseen), true)


def _known(table: Table, count: int, seed: int) -> list[Arch]:
    """Networks of every size, as a search begins with; those that failed are left out."""
    drawn = stratified(table.space, count, random.Random(f"known/{seed}"))
    return [arch for arch in drawn if arch in table.rows]


def _unseen(table: Table, known: Sequence[Arch]) -> list[Arch]:
    """All that were measured but these."""
    learned = frozenset(known)
    return [arch for arch in table.rows if arch not in learned]


def _tau(left: Rows, right: Rows) -> float:
    return float(kendalltau(left, right).statistic)


def _figures(found: Sequence[Found], table: Table) -> list[Figure]:
    rows = table.rows.values()
    spread = [max(row.p50_us) / min(row.p50_us) - 1 for row in rows]

    def median(name: str) -> float:
        return statistics.median(float(getattr(one, name)) for one in found)

    def few(name: str, count: int) -> float:
        return 100 * statistics.median(float(getattr(one, name)[str(count)]) for one in found)

    taus = [one.accuracy_tau["100"] for one in found]
    return [
        Figure("latency within 10 %, share of unseen", 100 * median("within_10"), "%", 95, ">="),
        Figure("latency within 5 %, share of unseen", 100 * median("within_5"), "%", 80, ">="),
        Figure("latency, Kendall tau", median("tau"), "", 0.95, ">="),
        Figure("latency within one predicted sigma", 100 * median("covered"), "%", 60, ">="),
        Figure("memory within 10 %", 100 * median("memory_within_10"), "%", 95, ">="),
        Figure("accuracy at 100, Kendall tau", statistics.median(taus), "", 0.90, ">="),
        Figure("within 5 % from 20 chosen, over 20 by size",
               few("within_5_chosen", 20) - few("within_5_by_size", 20), "points", 0, ">="),
        Figure("within 5 % from 10 begun with a known device, over 20 afresh",
               few("within_5_begun", 10) - few("within_5_by_size", 20), "points", 0, ">="),
        Figure("passes within 5 % of each other", 100 * float(np.mean(np.array(spread) <= 0.05)),
               "%", 95, ">="),
    ]  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=TABLES / "search_ground_truth.json")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--weakness", type=float, default=0.5, help="of the known device, in depthwise layers"
    )
    parser.add_argument("--dry", action="store_true", help="print the figures, keep nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
