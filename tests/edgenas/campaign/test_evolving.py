"""Evolving a space: a table that goes on after a kill, blocks that are refused, a space file that
trains. Stages are timed by their arithmetic here; the bench and the daemon time in tests of theirs.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgenas.campaign.block_meter import BlockMeter
from edgenas.campaign.block_table import BlockTable, TablePlan, drawn_stages
from edgenas.campaign.errors import CampaignError, RunFolderError
from edgenas.campaign.evolving import EvolvePlan, evolve_space
from edgenas.campaign.rundir import RunDir, read_json
from edgenas.campaign.training import open_run
from edgenas.export.graph import read_graph
from edgenas.space import ArchError, ArchSpace
from edgenas.space.excerpt import excerpt
from edgenas.space.space_file import read_space_file
from edgenas.space.superspace import BlockForm, SuperSpace, super_space_around
from edgenas.train.blockwise import ImitationRecipe, StageTeacher
from tests.edgenas.campaign.runs import Killer, Listener

CONV = BlockForm("conv", (3,), (1,))
PLAN = TablePlan(1, ImitationRecipe(steps=50, batch=16), images=128, asked=64)
TWO_ROWS = replace(PLAN, rows=2)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class ByArithmetic(BlockMeter):
    """Takes 1 ms a megabyte of constants and a little a file: a device without noise."""

    device = "a device without noise"

    def __init__(self) -> None:
        self.timed: list[Path] = []

    def latency_ms(self, model: Path, again: int = 0) -> float:
        self.timed.append(model)
        graph = read_graph(model.read_bytes())
        weights = sum(t.constant.size for t in graph.tensors if t.constant is not None)
        return 0.01 + weights / 1e6


def narrow(base: ArchSpace, forms: tuple[BlockForm, ...], widths: int = 2) -> SuperSpace:
    """A super-space of these forms and few widths, of which a space has one."""
    whole = super_space_around(base, forms)
    stages = tuple(
        replace(stage, forms=forms, widths=own.widths[:widths], window=1, depths=(1,))
        for stage, own in zip(whole.stages, base.stages, strict=True)
    )
    return replace(whole, stages=stages)


def table_of(
    run: RunDir,
    out: Path,
    meter: BlockMeter,
    progress: Listener,
    plan: TablePlan = PLAN,
    widths: int = 2,
) -> BlockTable:
    """A table of one form, two widths a stage."""
    checkpoint, data = open_run(run)
    spaces = narrow(checkpoint.space, (CONV,), widths)
    master = StageTeacher(
        checkpoint.supernet(), checkpoint.space.largest(), data.train.images[:128]
    )
    images, asked = data.train.images, data.search.images
    return BlockTable(out, spaces, master, images, asked, plan, meter, progress)


@pytest.fixture(scope="module")
def whole(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a table with two rows a width; to be copied, not changed."""
    out = tmp_path_factory.mktemp("table") / "out"
    table_of(RunDir(trained), out, ByArithmetic(), Listener(), TWO_ROWS).fill()
    return out


@pytest.fixture
def untimed(whole: Path, tmp_path: Path) -> Path:
    """That folder without its latencies."""
    shutil.copytree(whole, tmp_path / "untimed", ignore=shutil.ignore_patterns("latencies.jsonl"))
    return tmp_path / "untimed"


def test_an_interrupted_table_goes_on_where_it_was(run: RunDir, tmp_path: Path) -> None:
    meter, out = ByArithmetic(), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        table_of(run, out, meter, Killer(at=1)).fill()
    losses = (out / "losses.jsonl").read_text()
    assert losses.count("\n") == 2  # the two widths of the first stage
    students = {path: path.stat().st_mtime_ns for path in (out / "students").iterdir()}
    assert len(students) == 1
    assert not meter.timed
    (out / "losses.jsonl").write_text(losses + '{"key": "torn')

    filled = table_of(run, out, meter, Listener()).fill()
    assert (out / "losses.jsonl").read_text().startswith(losses)
    assert all(path.stat().st_mtime_ns == changed for path, changed in students.items())
    assert len(meter.timed) == len(set(meter.timed)) == 4
    assert not filled.excluded
    widths = {index: [row.width for row in rows] for (index, _), rows in filled.table.items()}
    assert widths == {0: [16, 24], 1: [24, 32]}
    assert all(0 < row.loss < 0.95 for rows in filled.table.values() for row in rows)

    listener = Listener()
    again = table_of(run, out, meter, listener).fill()
    assert again == filled
    assert len(meter.timed) == 4


def test_blocks_that_never_trained_are_refused(run: RunDir, tmp_path: Path) -> None:
    idle = replace(PLAN, imitation=ImitationRecipe(steps=1, rate=1e-9, int8_rate=1e-9, batch=16))
    listener = Listener()
    with pytest.raises(ArchError, match="a form of stage 0 that can be judged, got none"):
        table_of(run, tmp_path / "out", ByArithmetic(), listener, idle, widths=1).fill()
    said = [note for note in listener.notes if "it has learnt nothing" in note]
    assert len([note for note in said if note.startswith("  once more")]) == 4
    assert len([note for note in said if note.startswith("  excluded")]) == 2


def test_latencies_without_sense_are_measured_again(trained: Path, untimed: Path) -> None:
    class Spiked(ByArithmetic):
        def latency_ms(self, model: Path, again: int = 0) -> float:
            first = again == 0 and not self.timed
            return super().latency_ms(model, again) * (1000 if first else 1)

    meter, listener = Spiked(), Listener()
    filled = table_of(RunDir(trained), untimed, meter, listener, TWO_ROWS).fill()
    assert not filled.excluded  # the second measurement of its form was sane
    assert any("once more" in note and "median latency" in note for note in listener.notes)
    assert len(meter.timed) == 8 + 4  # only the files of one form


def test_odd_latencies_that_repeat_are_believed_and_others_are_not(
    trained: Path, untimed: Path
) -> None:
    class Odd(ByArithmetic):
        """One file is slow for its arithmetic; each time alike, or else all differ each time."""

        def __init__(self, wavers: float) -> None:
            super().__init__()
            self._wavers = wavers

        def latency_ms(self, model: Path, again: int = 0) -> float:
            slow = 100.0 if not self.timed or model == self.timed[0] else 1.0
            return super().latency_ms(model, again) * slow * (1 + self._wavers * again)

    listener, run = Listener(), RunDir(trained)
    alike = table_of(run, untimed, Odd(0.0), listener, TWO_ROWS).fill()
    assert not alike.excluded
    assert any(note.startswith("  so it is, again and again") for note in listener.notes)
    (untimed / "latencies.jsonl").unlink()
    with pytest.raises(ArchError, match="that can be judged, got none"):
        table_of(run, untimed, Odd(0.5), Listener(), TWO_ROWS).fill()


def test_rows_are_drawn_for_every_width_and_stay_the_same(run: RunDir) -> None:
    checkpoint, _ = open_run(run)
    spaces = super_space_around(checkpoint.space)
    master = StageTeacher(
        checkpoint.supernet(), checkpoint.space.largest(), open_run(run)[1].train.images[:64]
    )
    space = excerpt(spaces, 1, spaces.stages[1].forms[0], *master.ends[1:3])
    archs = drawn_stages(space, 4, 7)
    assert archs == drawn_stages(space, 4, 7) != drawn_stages(space, 4, 8)
    assert len(set(archs)) == len(archs) == 4 * len(spaces.stages[1].widths)
    assert all(space.check(arch) == arch for arch in archs)


def test_a_space_is_evolved_and_written(run: RunDir, tmp_path: Path) -> None:
    base = open_run(run)[0].space
    spaces = narrow(base, (CONV,))
    plan = EvolvePlan(PLAN, wholes=1, latency_ms=0.2)
    meter, out = ByArithmetic(), tmp_path / "out"
    found = evolve_space(run, out, plan, meter, Listener(), spaces)
    read = read_space_file(found.path, channels=base.channels, classes=base.classes)
    assert read == found.space == spaces.decode(found.code, "digits-evolved")
    body = read_json(out / "evolution.json", "the test")
    assert body["scored"] == found.filled.super_space.size()
    page = found.page.read_text("utf-8")
    assert "digits-evolved for a device without noise" in page
    assert f"conv k3 e1, {spaces.stages[0].widths[0]} channels" in page  # a row of the table
    assert body["best"][0]["score"] == found.score.score
    assert abs(body["sums_off"][0]) < 1e-9  # one network tells its own rest
    timed = len(meter.timed)

    tighter = replace(plan, latency_ms=1e-6)
    with pytest.raises(CampaignError, match="give a higher --latency-ms"):
        evolve_space(run, out, tighter, meter, Listener(), spaces)
    assert len(meter.timed) == timed  # another limit needs no new table
    with pytest.raises(RunFolderError, match="got another table"):
        evolve_space(run, out, EvolvePlan(replace(PLAN, rows=2)), meter, Listener(), spaces)
