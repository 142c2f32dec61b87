"""Spaces small enough to measure completely, and the table of what was measured.

A table is one JSON file: the choices of its space and, in the order of `everything`, one row a
subnet. How it is filled is in `benchmarks.search_ground_truth`; the benchmarks that replay it share
`Table` and `Replay`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgenas.search.front import hypervolume
from edgenas.search.searcher import Searcher
from edgenas.search.trial import Outcome, Trial
from edgenas.space import PRESETS, Arch, ArchSpace, BlockArch, StageArch, StageSpace

TABLES = Path(__file__).resolve().parent / "tables"
DEVICE = "table"
NEAR = 1.03  # passes whose latencies are nearer than this agree

REDUCED: dict[str, ArchSpace] = {
    "digits": replace(
        PRESETS["digits"],
        name="digits-reduced",
        heads=(64,),
        stages=(
            StageSpace((16, 24), (1, 2), (3,), (2, 3), stride=2),
            StageSpace((24, 40), (1, 2), (3, 7), (2, 4), stride=2),
        ),
    ),
    "fashion": replace(
        PRESETS["fashion"],
        name="fashion-reduced",
        resolutions=(20, 28),
        heads=(96,),
        stages=(
            StageSpace((8, 16), (1,), (3,), (2, 3), stride=1),
            StageSpace((24,), (1, 2), (3, 7), (2, 4), stride=2),
            StageSpace((40, 64), (1,), (3, 5), (2, 4), stride=2),
        ),
    ),
}


def everything(space: ArchSpace) -> list[Arch]:
    """Every architecture of a small space, always in the same order."""
    stages = [_stages(choices) for choices in space.stages]
    return [
        Arch(resolution, stem, chosen, head)
        for resolution, stem, head in itertools.product(space.resolutions, space.stems, space.heads)
        for chosen in itertools.product(*stages)
    ]


def _stages(choices: StageSpace) -> list[StageArch]:
    blocks = [BlockArch(*pair) for pair in itertools.product(choices.kernels, choices.expands)]
    return [
        StageArch(width, chosen)
        for width in choices.widths
        for depth in choices.depths
        for chosen in itertools.product(blocks, repeat=depth)
    ]


def lowest_that_agree(latencies: Sequence[float]) -> tuple[float, float] | None:
    """The two lowest neighbours that are within `NEAR` of each other; None if there are none."""
    return next((two for two in pairwise(sorted(latencies)) if two[1] <= NEAR * two[0]), None)


@dataclass(frozen=True)
class Row:
    """What was measured of one subnet.

    Attributes:
        accuracy: of the bytes, on the search split.
        p50_us: median latency of each pass: its ratio to a model that was measured in turns with
            it, times what that one takes typically.
        p95_us: 95th percentile, in the same terms, as the calmest pass has it.
        memory_bytes: peak above the idle process.
        model_bytes: size of the file.
        sha256: of the file.
    """

    accuracy: float
    p50_us: tuple[float, ...]
    p95_us: float
    memory_bytes: int
    model_bytes: int
    sha256: str

    @property
    def latency_ms(self) -> float:
        """Mean of the two lowest passes that agree.

        What other programs do adds time to a large network rather than to the small one beside it,
        and for minutes on end: passes that agree may have been disturbed alike, so that the nearest
        two would not do. A single low one, which the small network's bad luck explains, counts for
        nothing.
        """
        low, high = lowest_that_agree(self.p50_us) or (2 * sorted(self.p50_us))[:2]
        return (low + high) / 2 / 1e3

    def outcome(self, macs: int) -> Outcome:
        """As a device would have told it."""
        p50 = self.latency_ms
        return Outcome(
            accuracy=self.accuracy,
            latency_p50_ms=p50,
            latency_p95_ms=max(p50, self.p95_us / 1e3),
            p95_upper95_ms=None,
            p50_ci95_ms=(p50, p50),
            peak_memory_bytes=self.memory_bytes,
            model_bytes=self.model_bytes,
            macs=macs,
            sha256=self.sha256,
            level="quick",
        )


@dataclass(frozen=True)
class Table:
    """Everything about a small space: the truth that searchers are scored against."""

    space: ArchSpace
    rows: dict[Arch, Row]

    @staticmethod
    def read(path: Path) -> Table:
        """Read a table; a subnet that could not be measured has no row."""
        body = json.loads(path.read_text(encoding="utf-8"))
        space = REDUCED[body["space"].removesuffix("-reduced")]
        archs = everything(space)
        if len(archs) != len(body["rows"]):
            raise SystemExit(
                f"{path}: expected {len(archs)} rows, got {len(body['rows'])}; the space was "
                "changed since, so measure it again"
            )
        found = zip(archs, body["rows"], strict=True)
        return Table(space, {arch: _row(values) for arch, values in found if values is not None})

    def outcome(self, arch: Arch) -> Outcome | None:
        """What the device answers; None if the subnet fails."""
        row = self.rows.get(arch)
        return None if row is None else row.outcome(self.space.macs(arch))

    def share(self, archs: Sequence[Arch]) -> float:
        """Hypervolume (accuracy, latency) of these subnets, as a share of the whole space's."""
        return self._area(archs) / self._area(list(self.rows))

    def _area(self, archs: Sequence[Arch]) -> float:
        floor = min(row.accuracy for row in self.rows.values())
        ceiling = 1.02 * max(row.latency_ms for row in self.rows.values())
        found = [self.rows[arch] for arch in archs if arch in self.rows]
        points = [(row.accuracy, row.latency_ms) for row in found]
        return hypervolume(points, accuracy_floor=floor, latency_ceiling_ms=ceiling)


def _row(values: Sequence[Any]) -> Row:
    accuracy, p50_us, p95_us, memory, size, sha256 = values
    return Row(accuracy, tuple(p50_us), p95_us, memory, size, sha256)


def write_table(path: Path, space: ArchSpace, rows: Sequence[Row | None], about: Any) -> None:
    """Keep a table, one row a line."""
    lines = ["null" if row is None else json.dumps(list(asdict(row).values())) for row in rows]
    head = json.dumps({"space": space.name, "about": about}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = head.removesuffix("\n}") + ',\n "rows": [\n' + ",\n".join(lines) + "\n]}\n"
    path.write_text(text, encoding="utf-8")


def replay(searcher: Searcher, table: Table, *, idle: int = 1) -> Iterator[Arch]:
    """Ask and answer from the table for ever, `idle` devices at a time."""
    number = 0
    while True:
        fresh = searcher.ask(idle)
        if not fresh:
            return
        for arch in fresh:
            value = table.outcome(arch)
            trial = Trial(number, DEVICE, searcher.name, arch)
            number += 1
            if value is not None:
                searcher.tell(trial.ended(value))
            yield arch
