"""What every step did, as one JSON line each: `metrics.jsonl`.

Written before the checkpoint of the step, cut back to it when a run goes on. TensorBoard's form of
the same is `edgenas.train.events`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgenas.train.checkpoint import disk_errors
from edgenas.whole_file import write_whole

NAME = "metrics.jsonl"


@dataclass(frozen=True)
class StepReport:
    """What one step did; losses in nats, NaN for what the step did not run.

    Attributes:
        step: steps done with this one.
        steps: of the whole run.
        phase: `float` or `int8`.
        rate: learning rate.
        loss_largest: training loss of the largest subnet.
        loss_smallest: of the smallest.
        loss_random: mean over all other subnets.
        images_per_s: images of the batch over the wall time of the step.
        skipped: the step was not taken, for its loss or gradient was unusable.
        cpu_s: processor time of this process in the step, seconds over all its threads; NaN in
            files of before it was written down.
        watched_largest: loss of the largest subnet against labels on the watched images, which are
            not augmented; NaN where the step was followed by no look at it.
        watched_smallest: of the smallest.
    """

    step: int
    steps: int
    phase: str
    rate: float
    loss_largest: float
    loss_smallest: float
    loss_random: float
    images_per_s: float
    skipped: bool
    cpu_s: float = math.nan
    watched_largest: float = math.nan
    watched_smallest: float = math.nan


def append_metrics(folder: Path, report: StepReport) -> None:
    """Append one line.

    Raises:
        CheckpointError: the disk refuses it.
    """
    path = folder / NAME
    with disk_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(report)) + "\n")


def read_metrics(folder: Path) -> list[StepReport]:
    """The recorded steps of a run; a torn last line is left out."""
    path = folder / NAME
    reports = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                reports.append(StepReport(**json.loads(line)))
            except (ValueError, TypeError):
                continue
    return reports


def cut_metrics(folder: Path, step: int) -> None:
    """Forget the lines of steps after `step`, and torn ones."""
    path = folder / NAME
    if not path.exists():
        return
    kept = [r for r in read_metrics(folder) if r.step <= step]
    write_whole(path, "".join(json.dumps(asdict(r)) + "\n" for r in kept).encode())


def training_seconds(reports: Sequence[StepReport], batch: int) -> float:
    """Wall time of the recorded steps; time between a kill and the resumption does not count."""
    return sum(batch / report.images_per_s for report in reports)


def training_core_hours(reports: Sequence[StepReport]) -> float:
    """Processor time of the recorded steps, hours: what a budget counts where cores are shared."""
    return sum(report.cpu_s for report in reports) / 3600
