"""Hundreds of rollouts while broker, host and devices are killed, disks fill up and clocks jump.

    python -m benchmarks.chaos [--schedules 200] [--first-seed 0] [--devices 3] [--only SEED ...]

What was interrupted goes on with the schedules that are not done yet; `--work` is where they are
kept.

Each schedule is drawn from its seed (see `chaos_schedule`) and begins with an empty mosquitto, an
empty database and `--devices` real daemons with nothing installed. The real command ships a model
to each of two groups of them, and then another one, or goes back. Meanwhile the schedule strikes:
the broker is killed (it keeps, or forgets, what it knew), the command is killed, daemons are killed
or lose their power when the rollout has come to a drawn position or at a drawn moment of their own
life (before or after any durable change, so also while staging, activating and in probation), disks
are full for a while, clocks of host and devices jump by up to 60 days, and somebody in between
repeats messages, sends old ones once more, and answers requests for chunks with wrong bytes. What
has ended is started again; an operator accepts the first closed gate and rolls back at the second.

At the end, with nobody striking any more, these are compared: the link that an application on each
device would follow; the bytes behind it; what was signed for that device; what the database says
that it runs; what the rollout's records say that it should run; whether every rollout has ended;
and the chain of the audit log. A schedule fails if any two of them disagree.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.chaos_schedule import Mischief, Schedule, draw
from benchmarks.chaos_site import ChaosSite, Row
from benchmarks.kept import Kept
from benchmarks.record import RESULTS, Figure, write_result
from benchmarks.rollout_runs import scratch_folder

TARGET = 200


def main() -> None:
    """Every schedule, then the result."""
    options = _arguments()
    load = {"before": os.getloadavg()}
    kept = Kept(options.work / "rows.jsonl")
    moments = int(kept.row("moments", lambda: {"count": _moments()})["count"])
    last = options.first_seed + options.schedules
    rows = []
    for seed in options.only or range(options.first_seed, last):
        made = kept.row(f"{seed} of {options.devices}", partial(_row, seed, options, moments))
        rows.append(Row(**made))
        _tell(rows[-1])
    load["after"] = os.getloadavg()
    raw = {
        "moments_of_a_daemon": moments,
        "struck": dict(Counter(one for row in rows for one in row.struck)),
        "ordered": dict(Counter(one.partition(":")[0] for row in rows for one in row.ordered)),
        "rows": [asdict(row) for row in rows],
        "load": load,
    }
    failed = sum(bool(row.problems) for row in rows)
    figures = [
        Figure("schedules", len(rows), "", TARGET, ">="),
        Figure("schedules after which something disagreed or was stuck", failed, "", 0, "<="),
    ]
    write_result("chaos", figures, {"first_seed": options.first_seed}, raw, options.results)


def _row(seed: int, options: argparse.Namespace, moments: int) -> dict[str, Any]:
    return asdict(_run(draw(seed, options.devices, moments), options.devices))


def _run(schedule: Schedule, devices: int, log: str = "") -> Row:
    with scratch_folder("chaos") as path, ExitStack() as cleanup:
        return ChaosSite(path, schedule, devices, cleanup, log).run()


def _moments() -> int:
    """How many moments the life of a daemon has that is started and shipped two models to."""
    calm = Schedule(-1, (), "another rollout", (), Mischief(0.0, 0.0, 0.0))
    with tempfile.NamedTemporaryFile(prefix="edgenas-moments-") as log:
        row = _run(calm, 1, log.name)
        if row.problems:
            raise RuntimeError(f"expected a calm rollout to succeed, got {row.problems}")
        return len(Path(log.name).read_text(encoding="utf-8").splitlines()) // 2


def _tell(row: Row) -> None:
    outcome = "; ".join(row.problems) or "ok"
    struck = f"{', '.join(row.statuses)}; {', '.join(row.struck)}"
    print(f"seed {row.seed}: {outcome} ({struck}; {row.seconds:.0f} s)", flush=True)
    for pause in row.pauses:
        print(f"    paused: {pause}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--schedules", type=int, default=TARGET)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--devices", type=int, default=3)
    parser.add_argument("--only", type=int, nargs="+", help="these seeds instead")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("benchmarks/scratch/chaos"),
        help="folder for what is done already",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
