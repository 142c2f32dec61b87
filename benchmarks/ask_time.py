"""How long a searcher takes to propose when it knows 1,000 trials, on one core.

    python -m benchmarks.ask_time [--table FILE] [--searcher surrogate] [--told 1000]

From the table of `benchmarks.search_ground_truth`. Timed are an `ask` after `prepare`, as a search
calls it while devices measure, and `prepare` itself with everything told: fitting the models and
searching the predictions from scratch. Loading the libraries, once a process, is not counted.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.record import Figure, write_result
from benchmarks.reduced import DEVICE, TABLES, Table
from edgenas.search import SEARCHERS
from edgenas.search.searcher import Searcher
from edgenas.search.trial import Trial
from edgenas.space import Arch

REPEATS = 12


def main() -> None:
    """Tell, prepare, ask; write the result."""
    options = _arguments()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    table = Table.read(options.table)
    known = random.Random(0).sample(list(table.rows), options.told)
    _taught(options.searcher, table, known[:50]).prepare()  # loads the libraries
    searcher, number = _taught(options.searcher, table, known), len(known)
    raw: dict[str, list[float]] = {"prepare_ms": [], "ask_ms": []}
    for _ in range(REPEATS):
        fresh = not searcher.is_ready
        began = time.perf_counter()
        searcher.prepare()
        prepared = time.perf_counter()
        archs = searcher.ask(1)
        raw["ask_ms"].append(1e3 * (time.perf_counter() - prepared))
        if fresh:
            raw["prepare_ms"].append(1e3 * (prepared - began))
        for arch in archs:
            value = table.outcome(arch)
            if value is not None:
                searcher.tell(Trial(number, DEVICE, searcher.name, arch).ended(value))
            number += 1
    figures = [
        Figure("ask after prepare, slowest", max(raw["ask_ms"]), "ms", 100, "<="),
        Figure("ask after prepare, median", statistics.median(raw["ask_ms"]), "ms", 100, "<="),
        Figure("full fresh proposal, slowest", max(raw["prepare_ms"], default=0.0) / 1e3,
               "s", 5, "<="),
    ]  # fmt: skip
    if options.dry:
        print("\n".join(f"{f.name}: {f.value:.4g} {f.unit}" for f in figures), raw)
    else:
        write_result("ask_time", figures, {"told": 0}, raw)


def _taught(name: str, table: Table, known: Sequence[Arch]) -> Searcher:
    searcher = SEARCHERS[name](table.space, device=DEVICE, seed=0)
    for number, arch in enumerate(known):
        value = table.outcome(arch)
        assert value is not None
        searcher.tell(Trial(number, DEVICE, searcher.name, arch).ended(value))
    return searcher


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=TABLES / "search_ground_truth.json")
    parser.add_argument("--searcher", choices=sorted(SEARCHERS), default="surrogate")
    parser.add_argument("--told", type=int, default=1000)
    parser.add_argument("--dry", action="store_true", help="print the figures, keep nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
