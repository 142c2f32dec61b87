"""Two real processes train as one does, keep one set of files, stop and fail together.

Everything that needs two processes is done by one launch of `tests.edgenas.train.ranks`; what can
be decided alone is tested alone.
"""

import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from edgenas.model.peers import ALONE, Peers
from edgenas.train.batches import Augmentation, Batches
from edgenas.train.checkpoint import load_checkpoint
from edgenas.train.distributed import (
    DistributedError,
    Place,
    check_alike,
    check_shared,
    stopping_together,
    together,
)
from edgenas.train.keeping import Keeper
from edgenas.train.keeping_together import keeper_of
from edgenas.train.loop import StepReport, read_metrics
from tests.edgenas.train.ranks import (
    IMAGES,
    LAST_WORDS,
    SHORT,
    VARIANTS,
    pictures,
    run_together,
    stop_after,
)

pytestmark = pytest.mark.timeout(320)  # a launch is three processes that import torch

ROOT = Path(__file__).parents[3]
GENEROUS_S = 300.0
LOSSES = ("loss_largest", "loss_smallest", "loss_random")
# Sums in another order differ in their last bits; in INT8 a code may then fall the other way.
TOLERANCE = {"float": {"rel": 1e-5, "abs": 1e-6}, "int8": {"rel": 5e-3, "abs": 1e-3}}


class Launch:
    """What two processes have found, and what they left."""

    def __init__(self, root: Path, done: subprocess.CompletedProcess[str]) -> None:
        self.root, self.done = root, done
        assert (root / "found-1.json").exists(), done.stderr[-3000:]
        self.found = [json.loads((root / f"found-{rank}.json").read_text()) for rank in (0, 1)]

    def both(self, name: str) -> Any:
        """What both found, which must be the same."""
        first, second = (found[name] for found in self.found)
        assert first == second
        return first


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """One launch by torchrun; a run of one process lies there to be gone on with."""
    root = tmp_path_factory.mktemp("together")
    run_together(root / "taken over" / "0", SHORT, on_step=stop_after(6))
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
        *("-m", "tests.edgenas.train.ranks", str(root)),
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=GENEROUS_S, check=False
    )
    return Launch(root, done)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same runs by one process each."""
    root = tmp_path_factory.mktemp("alone")
    for name, recipe in VARIANTS.items():
        run_together(root / name, recipe)
    return root


def _losses(report: StepReport) -> list[float]:
    return [getattr(report, name) for name in LOSSES]


def _same_curves(one: Path, two: Path) -> None:
    a, b = read_metrics(one), read_metrics(two)
    assert [r.step for r in a] == [r.step for r in b]
    assert [r.phase for r in a] == [r.phase for r in b]
    assert not any(report.skipped for report in a + b)
    for ours, theirs in zip(a, b, strict=True):
        expected = pytest.approx(_losses(theirs), nan_ok=True, **TOLERANCE[ours.phase])
        assert _losses(ours) == expected, f"step {ours.step}"


# --- what processes tell each other ---------------------------------------------------------------


def test_answers_are_of_all_processes(launch: Launch) -> None:
    answers = [found["answers"] for found in launch.found]
    assert [a["part"] for a in answers] == [[0, 2], [1, 3]]  # equally many, so 4 is nobody's
    for name in ("whole", "gathered", "mean", "extremes", "told"):
        assert answers[0][name] == answers[1][name]
    assert answers[0]["whole"] == torch.arange(8).view(4, 2).tolist()
    own = torch.tensor([a["own"] for a in answers])
    assert answers[0]["gathered"] == own[:, 0].tolist()
    assert answers[0]["mean"] == own.mean(0).t().tolist()
    assert answers[0]["extremes"] == [[1.0, 10.0], [-4.0, 6.0]]
    assert answers[0]["told"] == ["from 0", ""]
    assert answers[0]["means"][0] == 1.5
    assert math.isnan(answers[0]["means"][1])
    assert answers[0]["alike"] == ""
    assert "in process 1 than in process 0" in answers[0]["unlike"]


def test_alone_every_answer_is_the_question() -> None:
    x = torch.tensor([[1.0, math.nan], [-2.0, 3.0]])
    assert all(answer is x for answer in (ALONE.mean(x), ALONE.extremes(x)))
    assert torch.equal(ALONE.part(x).nan_to_num(), x.nan_to_num())
    assert torch.equal(ALONE.whole(x).nan_to_num(), x.nan_to_num())
    assert ALONE.gathered(x).shape == (1, 2, 2)
    assert (ALONE.means([2.5]), ALONE.told(b"x")) == ([2.5], b"x")
    check_alike(ALONE, "nothing", pytest.fail)  # is not even looked at


def test_parts_of_a_batch_are_normalised_as_the_whole(launch: Launch) -> None:
    for found in launch.found:
        assert set(found["normalised"]) == {"y", "x", "gamma", "beta"}
        assert max(found["normalised"].values()) < 1e-10


def test_parts_of_batches_make_up_the_batches() -> None:
    looks = Augmentation(0.13, True, 0.2, 0.3)
    of = [Batches(*pictures(), 24, looks, 5, peers=Peers(rank, 3)) for rank in range(3)]
    whole = Batches(*pictures(), 24, looks, 5).at(3)
    for rank, part in enumerate(batches.at(3) for batches in of):
        assert part.share == whole.share < 1
        for name in ("images", "labels", "others", "rows"):
            assert (getattr(part, name) == getattr(whole, name)[rank::3]).all()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_what_all_have_of_a_part_is_that_part_of_the_batch(number: int) -> None:
    looks = Augmentation(0.13, True, 0.2, 0.3)
    wanted = Batches(*pictures(), 24, looks, 5).at(3).cut(number, 3)
    assert len(wanted.rows) == 8
    for rank in range(4):
        own = Batches(*pictures(), 24, looks, 5, peers=Peers(rank, 4)).at(3).cut(number, 3)
        assert own.share == wanted.share < 1
        for name in ("images", "labels", "others", "rows"):
            assert (getattr(own, name) == getattr(wanted, name)[rank::4]).all()


# --- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_have_the_losses_of_one(launch: Launch, alone: Path, name: str) -> None:
    found = launch.both(name)
    assert found["told"] == list(range(1, VARIANTS[name].steps(IMAGES) + 1)), found
    _same_curves(launch.root / name / "0", alone / name)


def test_float_and_int8_are_both_compared(alone: Path) -> None:
    for name in VARIANTS:
        assert {report.phase for report in read_metrics(alone / name)} == {"float", "int8"}


def test_only_the_first_process_keeps_files(launch: Launch, alone: Path) -> None:
    for name in VARIANTS:
        kept = {p.relative_to(alone / name) for p in (alone / name).rglob("*")}
        assert {p.relative_to(launch.root / name / "0") for p in _files(launch, name)} == kept
        assert not (launch.root / name / "1").exists()


def _files(launch: Launch, name: str) -> list[Path]:
    return list((launch.root / name / "0").rglob("*"))


def test_one_goes_on_with_a_run_of_two(launch: Launch, alone: Path) -> None:
    assert launch.both("stopped")["error"] == "StopError"
    folder = launch.root / "stopped" / "0"
    assert load_checkpoint(folder / "checkpoint.pt").step == 6
    found = run_together(folder, SHORT)
    assert found["told"] == [7, 8, 9, 10]
    _same_curves(folder, alone / "plain")


def test_two_go_on_with_a_run_of_one(launch: Launch, alone: Path) -> None:
    assert launch.both("taken over")["told"] == [7, 8, 9, 10]
    _same_curves(launch.root / "taken over" / "0", alone / "plain")
    assert not (launch.root / "taken over" / "1").exists()  # it was told the checkpoint


def test_all_go_back_and_give_up_together(launch: Launch) -> None:
    found = launch.both("diverging")
    assert found["error"] == "TrainingDivergedError"
    assert "after 1 returns to a good checkpoint" in found["text"]


def test_weights_that_drift_apart_are_noticed(launch: Launch) -> None:
    found = launch.both("drifting")
    assert found["error"] == "DistributedError"
    assert "weights after step 5: expected the same in all 2 processes" in found["text"]


def test_an_interrupt_to_one_stops_all_after_a_whole_step(launch: Launch) -> None:
    found = launch.both("interrupted")
    assert found["error"] == "KeyboardInterrupt"
    folder = launch.root / "interrupted" / "0"
    assert found["told"] == [1, 2, 3, 4]
    assert load_checkpoint(folder / "checkpoint.pt").step == 4
    assert [report.step for report in read_metrics(folder)] == [1, 2, 3, 4]


def test_what_cannot_be_trained_together_is_refused(launch: Launch) -> None:
    odd, other = launch.both("odd batch"), launch.both("other data")
    assert odd["error"] == other["error"] == "DistributedError"
    assert "expected a multiple of 2" in odd["text"]
    assert "got 33; use --batch 32" in odd["text"]
    assert "training: expected the same in all 2 processes" in other["text"]
    assert not (launch.root / "odd batch").exists()
    assert not (launch.root / "other data").exists()


def test_a_process_that_fails_ends_all_with_one_message(launch: Launch) -> None:
    assert launch.done.returncode == 1
    lines = launch.done.stderr.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == [f"error: {LAST_WORDS}"]


# --- alone ---------------------------------------------------------------------------------------


def test_the_launcher_says_who_one_is() -> None:
    said = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    assert Place.from_environment(said) == Place(5, 8, 1)
    assert Place.from_environment({}) == Place(0, 1, 0)
    assert Place.from_environment({"WORLD_SIZE": "1", "RANK": "0"}) == Place(0, 1, 0)


@pytest.mark.parametrize(
    "change", [{"RANK": None}, {"LOCAL_RANK": "x"}, {"RANK": "8"}, {"WORLD_SIZE": "many"}]
)
def test_half_a_launcher_is_refused(change: dict[str, str | None]) -> None:
    said = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"} | change
    with pytest.raises(DistributedError, match="start with `torchrun"):
        Place.from_environment({k: v for k, v in said.items() if v is not None})


def test_alone_nothing_is_joined(tmp_path: Path) -> None:
    with together(Place()) as peers:
        assert peers == ALONE
        assert not torch.distributed.is_initialized()
    with pytest.raises(ZeroDivisionError), together(Place()):
        raise ZeroDivisionError
    before = signal.getsignal(signal.SIGINT)
    with stopping_together(ALONE) as stop:
        stop()
        assert signal.getsignal(signal.SIGINT) is before
    assert type(keeper_of(ALONE, tmp_path, 1, 32)) is Keeper


@pytest.mark.parametrize(("batch", "size"), [(64, 1), (63, 1), (64, 4), (3, 3)])
def test_batches_that_can_be_shared(batch: int, size: int) -> None:
    check_shared(batch, Peers(0, size))


@pytest.mark.parametrize(("batch", "size", "fitting"), [(64, 3, 63), (2, 3, 3)])
def test_batches_that_cannot_be_shared(batch: int, size: int, fitting: int) -> None:
    with pytest.raises(DistributedError, match=f"use --batch {fitting} or"):
        check_shared(batch, Peers(0, size))


def test_each_part_of_a_batch_is_shared() -> None:
    check_shared(66, Peers(0, 3), parts=2)
    check_shared(66, Peers(0, 1), parts=2)
    with pytest.raises(DistributedError, match=r"multiple of 4 \(the batch is cut into 2 parts, .*"
                                               r"got 66; use --batch 64 or"):  # fmt: skip
        check_shared(66, Peers(0, 2), parts=2)
