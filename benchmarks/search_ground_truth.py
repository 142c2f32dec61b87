"""Everything about a small space, measured once: what searchers are scored against.

    python -m benchmarks.search_ground_truth --run RUN [--space fashion] [--images 4000]
        [--passes 2] [--limit N] [--workers 2] [--out FILE]

RUN is a trained run of the space's preset. Every subnet of the reduced space is exported with the
parity gate, and its bytes are scored on the search split; then the files are measured by
`firmware_bridge.bench` at level quick, in passes of different order. Left out, because nothing in
the table depends on it: golden outputs and the second file format. Every file is measured in turns
with one of medium size, and its latency is the ratio of both times what that one takes typically:
the machine is shared and may be twice as slow an hour later, which a ratio does not see. What
another program does to only one of the two files it sees: a subnet whose lowest two passes do not
agree is measured again until they do, and so is one that is slower than layers add up to elsewhere,
since passes can be disturbed alike. How far the passes differ is a figure of its own.

What was done is kept in --work line by line: an interrupted run goes on. Without --limit the table
goes to benchmarks/tables/.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import Figure, machine, write_result
from benchmarks.reduced import (
    REDUCED,
    TABLES,
    Row,
    everything,
    lowest_that_agree,
    write_table,
)
from benchmarks.reliability import highest_tau, tau_of_halves
from benchmarks.scored import Scored, whole_lines
from edgenas.campaign.rundir import RunDir
from edgenas.search.cost_model import fit_one_sided
from edgenas.search.features import Features
from edgenas.space import Arch
from firmware_bridge.bench.plan import plan_at_level
from firmware_bridge.bench.supervise import measure
from firmware_bridge.machine_lock import MachineLock, default_lock_path
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.measured import Measurement
from firmware_bridge.wire.statistics import (
    candidate_samples,
    ratio,
    reference_samples,
    summarize,
)

SEED = 5
LEVEL = LEVELS["quick"]
AGAIN = 5  # further passes at most, over what is not settled
SLOW = 1.08  # above what layers add up to: these are looked at in `LOOKS` passes
LOOKS = 4

Passes = Sequence[dict[str, dict[str, Any]]]
"""Figures by id of the subnet, a pass each."""
HALVED = 200  # subnets whose accuracies are looked at on either half of the images


def main() -> None:
    """Export and score all, measure all, write the table."""
    options = _arguments()
    space = REDUCED[options.space]
    archs = everything(space)
    if options.limit is not None:
        archs = random.Random(SEED).sample(archs, options.limit)
    options.work.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    scoring = Scored(options.run, options.images, options.work, options.workers)
    scored = scoring.rows(archs)
    halves = scoring.halves(archs, scored, HALVED, SEED)
    scored_s = time.perf_counter() - began
    measured = _measure_all(options, archs, scored)
    typical_us = _typical_us(measured)
    rows = {a: _row(scored[a.id], [p.get(a.id) for p in measured], typical_us) for a in archs}
    about = {
        "run": RunDir(options.run).read_card().data, "images": options.images,
        "passes": options.passes, "level": LEVEL.name, "machine": machine(),
    }  # fmt: skip
    out = options.out or (TABLES / "search_ground_truth.json" if options.limit is None else None)
    figures = [*_figures(list(rows.values()), measured), *_noise_figures(halves)]
    measured_s = time.perf_counter() - began - scored_s
    print(f"{len(archs)} subnets: export and accuracy {scored_s:.0f} s, passes {measured_s:.0f} s")
    if out is not None:
        write_table(out, space, [rows.get(arch) for arch in everything(space)], about)
    if options.limit is None:
        write_result("search_ground_truth", figures, {"order": SEED}, about)
    else:
        print("\n".join(f"{f.name}: {f.value:.4g} {f.unit}" for f in figures))


# --- latency and memory ------------------------------------------------------------------------


def _measure_all(
    options: argparse.Namespace, archs: Sequence[Arch], scored: dict[str, dict[str, Any]]
) -> list[dict[str, dict[str, Any]]]:
    """The passes, each a dict from id to figures."""
    files = {arch.id: Path(scored[arch.id]["path"]) for arch in archs if "path" in scored[arch.id]}
    middle = sorted(files, key=lambda arch_id: files[arch_id].stat().st_size)[len(files) // 2]
    passes: list[dict[str, dict[str, Any]]] = []
    features = Features(REDUCED[options.space])
    with MachineLock(default_lock_path(os.environ)).hold(timeout_s=3600):
        for number in range(options.passes + AGAIN):
            kept = options.work / f"measured-{number}.jsonl"
            known = {row["id"]: row for row in whole_lines(kept)}
            due = set(files) if number < options.passes else _unsettled(features, archs, passes)
            order = sorted(due - set(known))
            random.Random(f"{SEED}/{number}").shuffle(order)
            with kept.open("a", encoding="utf-8") as file:
                for arch_id in order:
                    known[arch_id] = {"id": arch_id, **_measured(files[arch_id], files[middle])}
                    file.write(json.dumps(known[arch_id]) + "\n")
                    file.flush()
            print(f"pass {number + 1}: {len(known)} measured", flush=True)
            passes.append(known)
    return passes


def _unsettled(features: Features, archs: Sequence[Arch], passes: Passes) -> set[str]:
    """Those of which the lowest two passes do not agree, or all are slow for what they are."""
    ratios = {arch: found for arch in archs if (found := _ratios(arch.id, passes))}
    open_ = {arch.id for arch, found in ratios.items() if not agree(found)}
    lowest = {arch: (lowest_that_agree(r) or (min(r), min(r)))[0] for arch, r in ratios.items()}
    slow = slower_than_their_layers(features, lowest)
    return open_ | {arch.id for arch in slow if len(ratios[arch]) < LOOKS}


def agree(ratios: Sequence[float]) -> bool:
    """Whether the lowest two measurements of one subnet are near enough to each other."""
    return lowest_that_agree(sorted(ratios)[:2]) is not None


def slower_than_their_layers(features: Features, latencies: Mapping[Arch, float]) -> set[Arch]:
    """Those that exceed by `SLOW` what their layers add up to, by a fit to all of them.

    It only says what is worth another look; the table holds nothing but measurements.

    Args:
        features: of their space.
        latencies: in any unit.
    """
    archs, costs = list(latencies), np.array(list(latencies.values()))
    rows = features.costs(archs)[:, features.time_columns]
    excess = costs / fit_one_sided(rows, costs)[0].predict(rows)
    return {arch for arch, share in zip(archs, excess, strict=True) if share > SLOW}


def _ratios(one: str, passes: Passes) -> list[float]:
    return [float(known[one]["ratio"]) for known in passes if "ratio" in known.get(one, {})]


def _measured(path: Path, reference: Path) -> dict[str, Any]:
    outcome = measure(plan_at_level(LEVEL, path.absolute(), reference.absolute()))
    beside = ratio(outcome.legs) if isinstance(outcome, Measurement) else None
    if not isinstance(outcome, Measurement) or beside is None:
        return {"failure": str(outcome)}
    summary = summarize(candidate_samples(outcome.legs))
    return {
        "ratio": beside.ratio, "p50_us": summary.p50_ns / 1e3, "p95_us": summary.p95_ns / 1e3,
        "reference_us": summarize(reference_samples(outcome.legs)).p50_ns / 1e3,
        "memory": outcome.memory.get("peak_delta_bytes"), "verdict": outcome.verdict,
    }  # fmt: skip


# --- the table ---------------------------------------------------------------------------------


def _references_us(measured: Passes) -> list[float]:
    """Median of the reference's samples in every session."""
    each = (one for by_id in measured for one in by_id.values())
    return [float(one["reference_us"]) for one in each if "ratio" in one]


def _typical_us(measured: Passes) -> float:
    """What the reference takes when nothing is the matter: the median of its medians."""
    return statistics.median(_references_us(measured) or [0.0])


def _row(
    scored: dict[str, Any], passes: Sequence[dict[str, Any] | None], typical_us: float
) -> Row | None:
    found = [one for one in passes if one is not None and "ratio" in one]
    if not found or "accuracy" not in scored:
        return None
    p50_us = tuple(round(float(one["ratio"]) * typical_us, 3) for one in found)
    tail = min(float(one["p95_us"]) / float(one["p50_us"]) for one in found)
    memory = statistics.median_low(int(one["memory"]) for one in found)
    return Row(
        scored["accuracy"], p50_us, round(tail * statistics.median(p50_us), 3), memory,
        scored["bytes"], scored["sha256"],
    )  # fmt: skip


def _figures(rows: Sequence[Row | None], measured: Passes) -> list[Figure]:
    found = [row for row in rows if row is not None]
    spread = [100 * (max(row.p50_us[:2]) / min(row.p50_us[:2]) - 1) for row in found]
    again = sum(len(row.p50_us) > 2 for row in found)
    never = sum(not agree(row.p50_us) for row in found)
    accuracies = len({row.accuracy for row in found})
    references = _references_us(measured)
    drift = statistics.quantiles(references, n=20)[-1] / min(references)
    return [
        Figure("subnets measured completely", len(found), "", 2000, ">="),
        Figure("subnets that failed", len(rows) - len(found), "", 0, "<="),
        Figure("difference of the first two passes, median", statistics.median(spread), "%", 5.0,
               "<="),
        Figure("the same, 95th percentile (informational)", statistics.quantiles(spread, n=20)[-1],
               "%", 10.0, "<="),
        Figure("measured again, for these did not agree (informational)", again, "", 500, "<="),
        Figure("without two passes that agree", never, "", 0.01 * len(found), "<="),
        Figure("the machine's speed, 95th percentile over its best (informational)", drift, "times",
               1.1, "<="),
        Figure("distinct accuracies", accuracies, "", 50, ">="),
    ]  # fmt: skip


def _noise_figures(halves: Sequence[tuple[float, float]]) -> list[Figure]:
    return [
        Figure("Kendall's tau of accuracies on two halves of the images (informational)",
               tau_of_halves(halves), "", 0.9, ">="),
        Figure("the same, of a predictor that knew the true accuracies, on all (informational)",
               highest_tau(halves), "", 0.9, ">="),
    ]  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--space", choices=sorted(REDUCED), default="fashion")
    parser.add_argument("--images", type=int, default=4000, help="of the search split (4000)")
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="processes that export and score")
    parser.add_argument("--limit", type=int, help="only so many subnets, and no result file")
    parser.add_argument("--out", type=Path, help="write the table there")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/scratch/ground_truth"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
