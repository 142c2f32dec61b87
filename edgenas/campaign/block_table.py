"""The table that spaces are scored by: every form of every stage imitates, is judged and timed.

What is done is kept line by line, so that an interrupted table goes on: `losses.jsonl` (one line a
sub-stage), `latencies.jsonl` (one a measurement), the trained stages and the files that were timed.
A form that has not learnt is trained again at half the rates, one whose latencies make no sense is
measured again; after two more attempts it is excluded, with the reason. Only latencies that came
out alike each time are believed: then the device is as odd as that.
"""

from __future__ import annotations

import functools
import hashlib
import io
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from edgenas.campaign.block_meter import BlockMeter
from edgenas.campaign.errors import CampaignError
from edgenas.campaign.kept import Kept, Row
from edgenas.campaign.progress import Progress
from edgenas.export.blocks import stage_bytes
from edgenas.model.images import Pixels
from edgenas.model.supernet import Supernet
from edgenas.search.space_checks import Fault, faults_of
from edgenas.search.space_score import SubStage, Table
from edgenas.space.arch import Arch
from edgenas.space.excerpt import STAGE, StageExcerpt, excerpt
from edgenas.space.superspace import BlockForm, SuperSpace
from edgenas.train.blockwise import (
    ImitationRecipe,
    StageLesson,
    StageTeacher,
    calibrated,
    imitate,
    judged,
)
from edgenas.whole_file import write_whole

MORE_ATTEMPTS = 2
ALIKE = 0.2
"""Share by which the two lowest latencies of a file differ at most, in half of a form's files, for
figures that do not follow the arithmetic to be believed."""
_DRAWS_PER_ROW = 20
_CALIBRATION_INPUTS = 512


@dataclass(frozen=True)
class TablePlan:
    """How large the table is and how its stages are trained.

    Attributes:
        rows: sub-stages of each width of a form.
        imitation: how a stage is trained.
        images: training images that stages learn from.
        asked: images of the search split that they are judged on.
        seed: of the drawn sub-stages.
    """

    rows: int = 8
    imitation: ImitationRecipe = field(default_factory=ImitationRecipe)
    images: int = 4096
    asked: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("rows", 1), ("images", 2), ("asked", 2)):
            if getattr(self, name) < least:
                raise CampaignError(
                    f"table of stages: expected {name} >= {least}, got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class Filled:
    """A table that may be trusted.

    Attributes:
        super_space: without the forms that were excluded.
        table: its rows.
        excluded: what was left out, and why.
    """

    super_space: SuperSpace
    table: Table
    excluded: tuple[Fault, ...]


Cell = tuple[int, BlockForm]


class BlockTable:
    """Fills the table of one super-space for one device.

    Args:
        folder: where everything is kept.
        super_space: whose stages are judged.
        teacher: the network that is imitated.
        images: training split, uint8 [n, h, w, c].
        asked: images that stages are judged on, from the search split.
        plan: how.
        meter: times files on the device.
        progress: is told how it goes.
    """

    def __init__(
        self,
        folder: Path,
        super_space: SuperSpace,
        teacher: StageTeacher,
        images: Pixels,
        asked: Pixels,
        plan: TablePlan,
        meter: BlockMeter,
        progress: Progress,
    ) -> None:
        self.folder, self.super_space, self.teacher = folder, super_space, teacher
        self.images, self.asked = images[: plan.images], asked[: plan.asked]
        self.plan, self.meter, self.progress = plan, meter, progress
        self._losses = Kept(folder / "losses.jsonl")
        self._latencies = Kept(folder / "latencies.jsonl")
        self._lessons: dict[int, tuple[StageLesson, StageLesson]] = {}
        self._tell: Callable[[str], None] = lambda text: None

    def fill(self) -> Filled:
        """Train, judge, time, check; again where that may help.

        Raises:
            ArchError: no form of a stage can be trusted.
            ExportError, MeasuringError: a stage cannot be exported or timed.
        """
        attempts = {cell: {"loss": 0, "latency": 0} for cell in self._cells()}
        while True:
            table = self._table(attempts)
            faults = faults_of(table)
            open_faults = [f for f in faults if attempts[f.stage, f.form][f.kind] < MORE_ATTEMPTS]
            if not open_faults:
                break
            for fault in open_faults:
                self.progress.note(f"  once more: {fault.describe()}")
                attempts[fault.stage, fault.form][fault.kind] += 1
        believed = [f for f in faults if f.kind == "latency" and self._alike(f, attempts)]
        for fault in believed:
            self.progress.note(f"  so it is, again and again: {fault.describe()}")
        faults = [fault for fault in faults if fault not in believed]
        excluded = {(fault.stage, fault.form): fault for fault in faults}
        for fault in excluded.values():
            self.progress.note(f"  excluded: {fault.describe()}")
        kept = {cell: rows for cell, rows in table.items() if cell not in excluded}
        return Filled(self.super_space.without(excluded), kept, tuple(excluded.values()))

    def timed(self, model: bytes, times: int = 1) -> float:
        """Median latency in ms of a file, the least of several measurements; kept."""
        digest = hashlib.sha256(model).hexdigest()
        path = self.folder / "blocks" / f"{digest}.tflite"
        if not path.exists():
            _write(path, model)
        return min(self._measured(digest, path, again) for again in range(times))

    def _alike(self, fault: Fault, attempts: dict[Cell, dict[str, int]]) -> bool:
        """Whether most files of a form took the same time again."""
        cell = (fault.stage, fault.form)
        gaps = []
        for row in self._judged(cell, attempts[cell]["loss"]):
            path = self.folder / "blocks" / f"{row['sha256']}.tflite"
            times = [self._measured(row["sha256"], path, i) for i in range(MORE_ATTEMPTS + 1)]
            low, next_low, *_ = sorted(times)
            gaps.append(next_low / low - 1)
        return statistics.median(gaps) <= ALIKE

    def _measured(self, digest: str, path: Path, again: int) -> float:
        def measure() -> Row:
            return {"ms": self.meter.latency_ms(path, again), "device": self.meter.device}

        return float(self._latencies.row(f"{digest}/{again}", measure)["ms"])

    def _cells(self) -> Iterator[Cell]:
        for index, stage in enumerate(self.super_space.stages):
            for form in stage.forms:
                yield index, form

    def _table(self, attempts: dict[Cell, dict[str, int]]) -> dict[Cell, list[SubStage]]:
        """All rows; what was made before is read."""
        cells = list(attempts)
        self.progress.phase("imitating the teacher's stages", len(cells))
        judged_rows: dict[Cell, list[Row]] = {}
        for done, cell in enumerate(cells, 1):
            self._tell = functools.partial(
                self._told, done - 1, f"stage {cell[0]}, {cell[1].describe()}"
            )
            judged_rows[cell] = self._judged(cell, attempts[cell]["loss"])
            median = statistics.median(float(row["loss"]) for row in judged_rows[cell])
            text = f"stage {cell[0]}, {cell[1].describe()}: median loss {median:.3f}"
            self.progress.advance(done, text)
        return self._with_latencies(judged_rows, attempts)

    def _told(self, done: int, cell: str, text: str) -> None:
        self.progress.advance(done, f"{cell}: {text}")

    def _with_latencies(
        self, judged_rows: dict[Cell, list[Row]], attempts: dict[Cell, dict[str, int]]
    ) -> dict[Cell, list[SubStage]]:
        """In random order, so that drift of the device spreads over all forms alike."""
        asked = [(cell, row) for cell, rows in judged_rows.items() for row in rows]
        random.Random(f"order/{self.plan.seed}").shuffle(asked)
        self.progress.phase(f"timing stages on {self.meter.device}", len(asked))
        table: dict[Cell, list[SubStage]] = {cell: [] for cell in judged_rows}
        for done, (cell, row) in enumerate(asked, 1):
            model = (self.folder / "blocks" / f"{row['sha256']}.tflite").read_bytes()
            ms = self.timed(model, 1 + attempts[cell]["latency"])
            table[cell].append(SubStage(row["width"], row["loss"], row["macs"], ms))
            self.progress.advance(done, f"{ms:.3g} ms")
        return table

    # --- one form of one stage -----------------------------------------------------------------

    def _judged(self, cell: Cell, attempt: int) -> list[Row]:
        """Loss and file of every drawn sub-stage of a form."""
        index, form = cell
        source, target = self.teacher.ends[index : index + 2]
        space = excerpt(self.super_space, index, form, source, target)
        archs = drawn_stages(space, self.plan.rows, self.plan.seed)
        keys = [f"{space.name}/{attempt}/{arch.id}" for arch in archs]
        if any(self._losses.find(key) is None for key in keys):
            net = self._student(space, index, attempt)
            for number, (key, arch) in enumerate(zip(keys, archs, strict=True), 1):
                self._tell(f"judging sub-stage {number} of {len(archs)}")
                self._losses.row(key, functools.partial(self._judge, net, arch, index))
        return [row for row in map(self._losses.find, keys) if row is not None]

    def _judge(self, net: Supernet, arch: Arch, index: int) -> Row:
        lesson, asked = self._lesson(index)
        few = replace(
            lesson,
            inputs=lesson.inputs[:_CALIBRATION_INPUTS],
            targets=lesson.targets[:_CALIBRATION_INPUTS],
        )
        calibration = calibrated(net, arch, few)
        model = stage_bytes(net.extract(arch, calibration), STAGE)
        digest = hashlib.sha256(model).hexdigest()
        _write(self.folder / "blocks" / f"{digest}.tflite", model)
        assert isinstance(net.space, StageExcerpt)
        return {
            "arch": arch.to_dict(),
            "width": arch.stages[0].width,
            "loss": judged(net, arch, calibration, asked),
            "macs": sum(layer.macs for layer in net.space.inner(arch)),
            "bytes": len(model),
            "sha256": digest,
        }

    def _student(self, space: StageExcerpt, index: int, attempt: int) -> Supernet:
        """The trained stage, from the folder or trained now."""
        digest = hashlib.sha256(f"{space.name}/{attempt}".encode()).hexdigest()[:16]
        path = self.folder / "students" / f"{digest}.pt"
        net = Supernet(space).eval()
        if path.exists():
            net.load_state_dict(torch.load(path, weights_only=True))
            return net
        recipe = self.plan.imitation.again(attempt)
        net = imitate(
            space, self._lesson(index)[0], recipe,
            lambda step, loss: self._tell(f"step {step} of {recipe.total}, loss {loss:.3f}"),
        )  # fmt: skip
        buffer = io.BytesIO()
        torch.save(net.state_dict(), buffer)
        _write(path, buffer.getvalue())
        return net

    def _lesson(self, index: int) -> tuple[StageLesson, StageLesson]:
        """What a stage learns from and what it is asked; of one stage at a time: they are large."""
        if index not in self._lessons:
            of_stage = (
                self.teacher.lesson(index, self.images),
                self.teacher.lesson(index, self.asked),
            )
            self._lessons = {index: of_stage}
        return self._lessons[index]


def drawn_stages(space: StageExcerpt, rows: int, seed: int) -> list[Arch]:
    """Distinct sub-stages, `rows` of each width where there are so many; the same for a seed."""
    found: list[Arch] = []
    for width in space.stages[0].widths:
        rng = random.Random(f"rows/{seed}/{space.name}/{width}")
        fixed = replace(space, stages=(replace(space.stages[0], widths=(width,)),))
        drawn = {fixed.sample(rng): None for _ in range(_DRAWS_PER_ROW * rows)}
        found += list(drawn)[:rows]
    return found


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
