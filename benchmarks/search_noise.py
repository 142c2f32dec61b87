"""Picks under noise: a background load that doubles the latency of 10 % of samples.

    python -m benchmarks.search_noise [--table FILE] [--seeds 20] [--trials 100]

Replays the table of `benchmarks.search_ground_truth`: a measurement is a set of samples
around the true latency, of which one in ten is doubled. Search, shortlist, race and pick are the
real ones; only the device is a table. Regret is the accuracy of the most accurate subnet that is
truly inside the limit less that of the pick (5 points without a pick), a violation a pick whose
undisturbed 95th percentile exceeds the limit.

`benchmarks.search_noise_machine` does the same on this machine with a real load.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path

from benchmarks.record import RESULTS, Figure, write_result
from benchmarks.reduced import DEVICE, TABLES, Table
from edgenas.search import SEARCHERS
from edgenas.search.budget import Budget
from edgenas.search.disturbance import REMEMBERED, alone, common_disturbance, slow_share
from edgenas.search.pick import Finalist, choose, shortlist
from edgenas.search.race import contenders
from edgenas.search.trial import Outcome, Trial
from edgenas.space import Arch
from firmware_bridge.wire.statistics import summarize

DISTURBED, FACTOR = 0.10, 2.0
JITTER = 0.015  # standard deviation of the logarithm of an undisturbed sample
SESSION_JITTER = 0.01  # and between sessions
QUICK, CERTIFY = 200, 1200  # samples
P95 = math.exp(1.645 * math.hypot(JITTER, 0.0))
BUSY_PCT = 8.0  # what a device with two processors tells of such a load
FINALISTS, SESSIONS, MOST_SESSIONS = 4, 3, 8
QUANTILES = (0.10, 0.25, 0.50)
NO_PICK_PT = 5.0
MOST_REGRET_PT = 0.2


@dataclass(frozen=True)
class Run:
    """One search and its pick.

    Attributes:
        seed: of the search and of the noise.
        quantile: of the latencies of the space at which the limit lay; None on a machine.
        regret_pt: accuracy lost against the best that is truly inside, in points.
        overshoot: true latency of the pick over the limit, less 1; None without a pick.
        sessions: measurements of finalists.
    """

    seed: int
    quantile: float | None
    regret_pt: float
    overshoot: float | None
    sessions: int


class NoisyTable:
    """A device that answers from the table, with the noise of somebody else's load."""

    def __init__(self, table: Table, seed: int) -> None:
        self._table, self._rng = table, random.Random(seed)

    def true_p95_ms(self, arch: Arch) -> float:
        """What the network takes when nothing else runs."""
        return self._table.rows[arch].latency_ms * P95

    def measure(self, arch: Arch, samples: int) -> tuple[Outcome, list[int]] | None:
        """A session; None if the network fails."""
        known = self._table.outcome(arch)
        if known is None:
            return None
        usual_ns = 1e6 * known.latency_p50_ms * math.exp(self._rng.gauss(0, SESSION_JITTER))
        taken = [
            max(1, int(usual_ns * math.exp(self._rng.gauss(0, JITTER)) * self._by()))
            for _ in range(samples)
        ]
        found = summarize(taken)
        low, high = found.p50_ci95_ns
        value = replace(
            known, latency_p50_ms=found.p50_ns / 1e6, latency_p95_ms=found.p95_ns / 1e6,
            p95_upper95_ms=None if found.p95_upper95_ns is None else found.p95_upper95_ns / 1e6,
            p50_ci95_ms=(low / 1e6, high / 1e6),
        )  # fmt: skip
        return value, taken

    def _by(self) -> float:
        return FACTOR if self._rng.random() < DISTURBED else 1.0


def main() -> None:
    """Replay, write the result."""
    options = _arguments()
    runs = list(_replayed(options))
    raw = [asdict(run) for run in runs]
    write_result("search_noise", figures(runs), {"first": options.seed}, raw, options.results)


def figures(runs: Sequence[Run]) -> list[Figure]:
    """What is asked of picks under noise."""
    regrets = [run.regret_pt for run in runs]
    over = [run.overshoot for run in runs if run.overshoot is not None]
    worst = max(0.0, *over, 0.0)
    return [
        Figure("regret, median", statistics.median(regrets), "points", MOST_REGRET_PT, "<="),
        Figure("regret, worst", max(regrets), "points", MOST_REGRET_PT, "<="),
        Figure("picks above their limit alone", sum(x > 0 for x in over), "", 0, "<="),
        Figure("largest overshoot", 100 * worst, "%", 0, "<="),
    ]


def _replayed(options: argparse.Namespace) -> Iterator[Run]:
    table = Table.read(options.table)
    times = sorted(row.latency_ms * P95 for row in table.rows.values())
    for seed in range(options.seed, options.seed + options.seeds):
        for share in QUANTILES:
            limit = Budget(times[int(share * (len(times) - 1))])
            run = replay(table, limit, seed, share, options.trials, options.searcher)
            print(run, flush=True)
            yield run


def replay(
    table: Table, limit: Budget, seed: int, quantile: float, trials: int, searcher: str
) -> Run:
    """One search under noise, its race and its pick, against the truth."""
    device = NoisyTable(table, seed)
    found = list(_searched(table, device, limit, seed, trials, searcher))
    finalists, sessions = _raced(device, found, limit)
    pick = choose(finalists, limit).pick
    best = max(
        (r.accuracy for a, r in table.rows.items() if device.true_p95_ms(a) <= _ms(limit)),
        default=0.0,
    )
    if pick is None:
        return Run(seed, quantile, NO_PICK_PT, None, sessions)
    over = device.true_p95_ms(pick.arch) / _ms(limit) - 1
    regret = 100 * (best - table.rows[pick.arch].accuracy)
    return Run(seed, quantile, max(0.0, regret), over, sessions)


def _searched(
    table: Table, device: NoisyTable, limit: Budget, seed: int, trials: int, name: str
) -> Iterator[Trial]:
    searcher = SEARCHERS[name](table.space, device=DEVICE, seed=seed, budget=limit)
    slow: deque[float] = deque(maxlen=REMEMBERED)
    for number in range(trials):
        fresh = searcher.ask(1)
        if not fresh:
            return
        answer = device.measure(fresh[0], QUICK)
        if answer is not None:
            value, samples = answer
            slow.append(slow_share([samples]))
            value = alone(value, samples, common_disturbance(list(slow), [BUSY_PCT]))
            trial = Trial(number, DEVICE, searcher.name, fresh[0]).ended(value)
            searcher.tell(trial)
            yield trial


def _raced(
    device: NoisyTable, trials: Sequence[Trial], limit: Budget
) -> tuple[list[Finalist], int]:
    """The finalists after their race, and how many sessions that took."""
    archs = [trial.arch for trial in shortlist(trials, limit, FINALISTS)]
    taken: dict[Arch, list[tuple[Outcome, list[int]]]] = {arch: [] for arch in archs}
    wanted = [arch for arch in archs for _ in range(SESSIONS)]
    for _ in count():
        for arch in wanted:
            answer = device.measure(arch, CERTIFY)
            if answer is not None:
                taken[arch].append(answer)
        finalists = _judged(taken)
        running = [one.arch for one in contenders(finalists, limit)]
        wanted = [arch for arch in running if len(taken[arch]) < MOST_SESSIONS]
        if not wanted:
            return finalists, sum(map(len, taken.values()))
    raise AssertionError  # the race ends, because sessions do


def _judged(taken: dict[Arch, list[tuple[Outcome, list[int]]]]) -> list[Finalist]:
    shares = [slow_share([samples for _, samples in found]) for found in taken.values() if found]
    share = common_disturbance(shares, [BUSY_PCT])
    return [
        Finalist.of(arch, [alone(value, samples, share) for value, samples in found])
        for arch, found in taken.items()
        if found
    ]


def _ms(limit: Budget) -> float:
    return math.inf if limit.latency_p95_ms is None else limit.latency_p95_ms


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=TABLES / "search_ground_truth.json")
    parser.add_argument("--searcher", choices=sorted(SEARCHERS), default="surrogate")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
