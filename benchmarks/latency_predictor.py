"""How well few measured subnets tell latency, memory and accuracy of the others.

    python -m benchmarks.latency_predictor [--table FILE] [--seeds 20]

From the table of `benchmarks.search_ground_truth`: 60 subnets of every size are known, the cost
models predict all others; the accuracy model knows 100. The latency is that of the least disturbed
pass; the two passes themselves differ by what is given beside the errors.
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
from edgenas.search.accuracy_model import learn_accuracy
from edgenas.search.cost_model import learn_cost
from edgenas.search.features import Features, Rows
from edgenas.search.regressors import frugal
from edgenas.search.surrogate import stratified
from edgenas.space import Arch

KNOWN = 60
LABELLED = (25, 50, 100, 200)


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
    """

    within_5: float
    within_10: float
    tau: float
    covered: float
    memory_within_10: float
    accuracy_tau: dict[str, float]


def main() -> None:
    """Fit and predict with every seed, write the result."""
    options = _arguments()
    table = Table.read(options.table)
    features = Features(table.space)
    with frugal():
        found = [_seed(table, features, seed) for seed in range(options.seeds)]
    figures = _figures(found, table)
    if options.dry:
        print("\n".join(f"{f.name}: {f.value:.4g} {f.unit}" for f in figures))
    else:
        seeds = {"first": 0, "last": options.seeds - 1}
        write_result("latency_predictor", figures, seeds, [asdict(one) for one in found])


def _seed(table: Table, features: Features, seed: int) -> Found:
    known = _known(table, KNOWN, seed)
    unseen = [arch for arch in table.rows if arch not in set(known)]
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
    )


def _accuracy_tau(table: Table, features: Features, labelled: int, seed: int) -> float:
    known = _known(table, labelled, seed)
    unseen = [arch for arch in table.rows if arch not in set(known)]
    model = learn_accuracy(features, known, [table.rows[arch].accuracy for arch in known])
    true = np.array([table.rows[arch].accuracy for arch in unseen])
    return _tau(model.predict(unseen), true)


def _known(table: Table, count: int, seed: int) -> list[Arch]:
    """Networks of every size, as a search begins with; those that failed are left out."""
    drawn = stratified(table.space, count, random.Random(f"known/{seed}"))
    return [arch for arch in drawn if arch in table.rows]


def _tau(left: Rows, right: Rows) -> float:
    return float(kendalltau(left, right).statistic)


def _figures(found: Sequence[Found], table: Table) -> list[Figure]:
    rows = table.rows.values()
    spread = [max(row.p50_us) / min(row.p50_us) - 1 for row in rows]

    def median(name: str) -> float:
        return statistics.median(float(getattr(one, name)) for one in found)

    taus = [one.accuracy_tau["100"] for one in found]
    return [
        Figure("latency within 10 %, share of unseen", 100 * median("within_10"), "%", 95, ">="),
        Figure("latency within 5 %, share of unseen", 100 * median("within_5"), "%", 80, ">="),
        Figure("latency, Kendall tau", median("tau"), "", 0.95, ">="),
        Figure("latency within one predicted sigma", 100 * median("covered"), "%", 60, ">="),
        Figure("memory within 10 %", 100 * median("memory_within_10"), "%", 95, ">="),
        Figure("accuracy at 100, Kendall tau", statistics.median(taus), "", 0.90, ">="),
        Figure("passes within 5 % of each other", 100 * float(np.mean(np.array(spread) <= 0.05)),
               "%", 95, ">="),
    ]  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=TABLES / "search_ground_truth.json")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--dry", action="store_true", help="print the figures, keep nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
