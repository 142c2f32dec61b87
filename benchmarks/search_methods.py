"""How many measurements each searcher needs to find the true front of a completely measured space.

    python -m benchmarks.search_methods [--table FILE] [--seeds 20] [--methods a,b] [--workers 2]

Replays the table of `benchmarks.search_ground_truth`: a proposal is answered at once with what was
measured. Counted are measurements until 95 % and 99 % of the hypervolume (accuracy, latency) of
the whole space is dominated, median over seeds; a run that does not get there in its budget counts
as twice its budget. Random search draws uniformly; each other searcher runs with its defaults. What
was replayed is kept in --work, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from benchmarks.record import Figure, write_result
from benchmarks.reduced import DEVICE, TABLES, Table, replay
from edgenas.search import SEARCHERS
from edgenas.search.random_search import RandomSearch
from edgenas.search.searcher import Searcher

BUDGETS = {
    "random": 800, "regularised": 800, "nsga2": 800, "evolution": 300, "linas": 400,
    "surrogate": 200, "optuna-tpe": 300, "optuna-nsga2": 800,
}  # fmt: skip
MARKS = (20, 30, 50, 75, 100, 150, 200, 300, 400)
GOALS = (0.95, 0.99)


@dataclass(frozen=True)
class Run:
    """One searcher with one seed.

    Attributes:
        method: name of the searcher.
        seed: its seed.
        needed: measurements to reach each of `GOALS`; None if the budget did not suffice.
        shares: share of the whole hypervolume at each of `MARKS` within the budget.
        thinking_s: processor time of proposing.
    """

    method: str
    seed: int
    needed: tuple[int | None, ...]
    shares: dict[str, float]
    thinking_s: float


def main() -> None:
    """Replay all, write the result."""
    options = _arguments()
    methods = options.methods.split(",")
    digest = hashlib.sha256(options.table.read_bytes()).hexdigest()[:12]
    kept = options.work / f"{digest}.jsonl"
    options.work.mkdir(parents=True, exist_ok=True)
    runs = _kept(kept)
    done = {(run.method, run.seed) for run in runs}
    jobs = [
        (str(options.table), method, seed)
        for method in methods
        for seed in range(options.seeds)
        if (method, seed) not in done
    ]
    spawn = get_context("spawn")
    with ProcessPoolExecutor(options.workers, spawn) as pool, kept.open("a") as file:
        for run in pool.map(_run, jobs):
            runs.append(run)
            file.write(json.dumps(asdict(run)) + "\n")
            file.flush()
            print(run.method, run.seed, run.needed, f"{run.thinking_s:.1f} s", flush=True)
    mine = [run for run in runs if run.method in methods and run.seed < options.seeds]
    figures = _figures(mine, methods)
    if options.dry:
        print("\n".join(f"{figure.name}: {figure.value:.4g}" for figure in figures))
    else:
        seeds = {"first": 0, "last": options.seeds - 1}
        write_result("search_methods", figures, seeds, [asdict(run) for run in mine])


def make(method: str, table: Table, seed: int) -> Searcher:
    """The searcher as it is compared."""
    kind: Callable[..., Searcher] = SEARCHERS[method]
    if method == "random":
        kind = partial(RandomSearch, by_size=False)
    return kind(table.space, device=DEVICE, seed=seed)


def _run(job: tuple[str, str, int]) -> Run:
    path, method, seed = job
    table = _table(path)
    found = []
    shares: dict[str, float] = {}
    needed: list[int | None] = [None] * len(GOALS)
    began = time.process_time()
    for arch in islice(replay(make(method, table, seed), table), BUDGETS[method]):
        found.append(arch)
        share = table.share(found)
        if len(found) in MARKS:
            shares[str(len(found))] = share
        for place, goal in enumerate(GOALS):
            if needed[place] is None and share >= goal:
                needed[place] = len(found)
        if None not in needed:
            break
    return Run(method, seed, tuple(needed), shares, time.process_time() - began)


@cache
def _table(path: str) -> Table:
    return Table.read(Path(path))


def _figures(runs: Sequence[Run], methods: Sequence[str]) -> list[Figure]:
    figures = []
    medians: dict[tuple[str, float], float] = {}
    for method in methods:
        mine = [run for run in runs if run.method == method]
        for place, goal in enumerate(GOALS):
            counts = [run.needed[place] or 2 * BUDGETS[method] for run in mine]
            medians[method, goal] = statistics.median(counts)
            name = f"{method}: measurements to {goal:.0%} of the hypervolume, median"
            figures.append(Figure(name, medians[method, goal], "", BUDGETS[method], "<="))
    for rival, most in (("nsga2", 0.25), ("linas", 0.5)):
        if {"surrogate", rival} <= set(methods):
            share = medians["surrogate", 0.99] / medians[rival, 0.99]
            figures.append(Figure(f"surrogate / {rival}, to 99 %", share, "", most, "<="))
    return figures


def _kept(path: Path) -> list[Run]:
    if not path.exists():
        return []
    lines = [x for x in path.read_text(encoding="utf-8").splitlines(True) if x.endswith("\n")]
    bodies = [json.loads(line) for line in lines]
    return [Run(**{**body, "needed": tuple(body["needed"])}) for body in bodies]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=TABLES / "search_ground_truth.json")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--methods", default="random,regularised,nsga2,linas,evolution,surrogate")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("benchmarks/scratch/search_methods"))
    parser.add_argument("--dry", action="store_true", help="print the figures, keep nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
