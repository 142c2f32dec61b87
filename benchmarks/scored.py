"""Subnets of a trained run, exported and scored on the search split in several processes.

What was done is kept line by line: an interrupted run goes on.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.kept import Kept
from benchmarks.reliability import half_accuracies
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.scoring import Scorer
from edgenas.campaign.training import open_run, scorer_of
from edgenas.data import Split
from edgenas.export.errors import CandidateError
from edgenas.model.images import Codes, to_codes
from edgenas.space import Arch
from edgenas.space.arch import Resolution

Rows = dict[str, dict[str, Any]]
"""What is known of subnets, by id."""


@dataclass(frozen=True)
class Scored:
    """Scores subnets of one run.

    Attributes:
        run: folder of the run.
        images: of the search split; the first so many.
        work: folder of what is kept.
        workers: processes that export and score.
    """

    run: Path
    images: int
    work: Path
    workers: int

    def rows(self, archs: Sequence[Arch]) -> Rows:
        """Accuracy, file and digest of each subnet by its id; a failure has a reason instead."""
        kept = self.work / f"scored-{self.images}.jsonl"
        known = {row["id"]: row for row in whole_lines(kept)}
        missing = [arch for arch in archs if arch.id not in known]
        jobs = [(str(self.run), self.images, arch.to_dict()) for arch in missing]
        spawn = get_context("spawn")
        with (
            ProcessPoolExecutor(self.workers, spawn) as pool,
            kept.open("a", encoding="utf-8") as file,
        ):
            for row in pool.map(_score, jobs, chunksize=4):
                known[row["id"]] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
                if len(known) % 50 == 0:
                    print(f"scored {len(known)} of {len(archs)}", flush=True)
        return known

    def halves(
        self, archs: Sequence[Arch], scored: Rows, count: int, seed: int
    ) -> list[tuple[float, float]]:
        """Accuracies of `count` of the subnets on the even and on the odd images.

        Args:
            archs: to draw them from.
            scored: what `rows` gave for these.
            count: at most so many.
            seed: of the draw.
        """
        kept = Kept(self.work / f"halves-{self.images}.jsonl")
        found = [arch for arch in archs if "path" in scored[arch.id]]
        some = random.Random(seed).sample(found, min(count, len(found)))
        paths = {arch: Path(scored[arch.id]["path"]) for arch in some}
        rows = [kept.row(arch.id, partial(self._half, arch, paths[arch])) for arch in some]
        return [(row["even"], row["odd"]) for row in rows]

    def _half(self, arch: Arch, path: Path) -> dict[str, float]:
        codes, labels = _asked(str(self.run), self.images, arch.resolution)
        even, odd = half_accuracies(path.read_bytes(), codes, labels)
        return {"even": even, "odd": odd}


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """What is kept in a file; the last line may have been cut off by a kill, and is left out."""
    return list(_whole_lines(path)) if path.exists() else []


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def _score(job: tuple[str, int, dict[str, Any]]) -> dict[str, Any]:
    """One subnet; runs in a worker process."""
    folder, images, body = job
    arch = Arch.from_dict(body)
    try:
        found = _scorer(folder, images).candidate(arch)
    except CandidateError as error:
        return {"id": arch.id, "failure": str(error)}
    exported = found.exported
    return {
        "id": arch.id, "accuracy": found.accuracy, "path": str(exported.path),
        "sha256": exported.sha256, "bytes": exported.size_bytes, "seconds": exported.seconds,
    }  # fmt: skip


@cache
def _scorer(folder: str, images: int) -> Scorer:
    torch.set_num_threads(1)
    run = RunDir(Path(folder))
    checkpoint, data = open_run(run)
    whole = scorer_of(run, checkpoint, data)
    some = Split(data.search.images[:images], data.search.labels[:images])
    return Scorer(whole.exporter, some, f"{images}-{data.fingerprint}")


@cache
def _asked(folder: str, images: int, resolution: Resolution) -> tuple[Codes, npt.NDArray[np.int64]]:
    some = _scorer(folder, images).search
    return to_codes(some.images, resolution), some.labels
