"""Killed and interrupted runs go on bit for bit, and lose no more than they may."""

import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from edgenas.train.checkpoint import Checkpoint, load_checkpoint
from edgenas.train.interrupts import interrupts_held
from edgenas.train.loop import StepReport, read_metrics
from tests.edgenas.train.runs import (
    LONG,
    RECIPE,
    RICH,
    equal,
    run,
    start_child,
    wait_for_step,
)

GENEROUS_S = 60.0


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The run that nothing happened to."""
    return run(tmp_path_factory.mktemp("unbroken"))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The long run that nothing happened to."""
    return run(tmp_path_factory.mktemp("long"), LONG)


def _same(one: Checkpoint, two: Checkpoint) -> bool:
    ours, theirs = one.optimiser["state"], two.optimiser["state"]
    momenta = [torch.equal(ours[i]["momentum_buffer"], theirs[i]["momentum_buffer"]) for i in ours]
    return one.digest() == two.digest() and ours.keys() == theirs.keys() and all(momenta)


def _steps(folder: Path) -> list[int]:
    return [report.step for report in read_metrics(folder)]


def test_killed(tmp_path: Path, long: Checkpoint) -> None:
    with start_child(tmp_path, checkpoint_every=1) as child:
        told = wait_for_step(child, 40)
        child.kill()
        child.wait(GENEROUS_S)
        assert child.returncode == -signal.SIGKILL
    kept = load_checkpoint(tmp_path / "checkpoint.pt").step
    assert told <= kept < long.steps  # what was told is never lost
    assert len(_steps(tmp_path)) <= kept + 1
    resumed: list[int] = []
    final = run(tmp_path, LONG, on_step=lambda report: resumed.append(report.step))
    assert resumed == list(range(kept + 1, long.steps + 1))
    assert _same(final, long)
    assert _steps(tmp_path) == list(range(1, long.steps + 1))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_killed_again_and_again_with_everything_that_remembers(tmp_path: Path) -> None:
    unbroken = run(tmp_path / "unbroken", RICH.override(checkpoint_every=4))
    folder, rng = tmp_path / "killed", random.Random(7)
    for number in range(2):
        with start_child(folder, checkpoint_every=4, name="rich") as child:
            told = wait_for_step(child, 20 + 35 * number)
            time.sleep(rng.uniform(0, 0.05))  # anywhere in a step, or in writing one down
            child.kill()
            child.wait(GENEROUS_S)
        kept = load_checkpoint(folder / "checkpoint.pt").step
        assert told - 4 < kept < unbroken.steps
    final = run(folder, RICH.override(checkpoint_every=4))
    assert final.digest() == unbroken.digest()
    assert equal(final.optimiser, unbroken.optimiser)
    assert equal(final.live, unbroken.live)
    assert equal(final.memory, unbroken.memory)
    assert _steps(folder) == list(range(1, unbroken.steps + 1))


def test_ctrl_c_keeps_the_last_whole_step(tmp_path: Path, long: Checkpoint) -> None:
    recipe = LONG.override(checkpoint_every=10)
    with start_child(tmp_path, checkpoint_every=10) as child:
        told = wait_for_step(child, 7)
        child.send_signal(signal.SIGINT)
        child.wait(GENEROUS_S)
        assert child.stdout is not None
        rest = [int(line) for line in child.stdout]
        assert child.returncode != 0
    kept = load_checkpoint(tmp_path / "checkpoint.pt").step
    last = max([told, *rest])
    assert last <= kept <= last + 1 < long.steps  # the step under way is whole or absent
    assert _steps(tmp_path) == list(range(1, kept + 1))
    assert _same(run(tmp_path, recipe), long)


def _interrupt_in_optimiser(monkeypatch: pytest.MonkeyPatch, step: int, times: int) -> None:
    """Send SIGINT while one of two parameter groups has been updated and the other has not."""
    plain: Callable[..., Any] = torch.optim.SGD.step
    calls = 0

    def half_way(self: torch.optim.SGD) -> None:
        nonlocal calls
        calls += 1
        groups = self.param_groups
        for group in groups:
            self.param_groups = [group]
            try:
                plain(self)
            finally:
                self.param_groups = groups
            if calls == step and group is groups[0]:
                for _ in range(times):
                    signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(torch.optim.SGD, "step", half_way)


@pytest.mark.parametrize("checkpoint_every", [1, 10])
def test_ctrl_c_inside_the_optimiser_waits_for_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unbroken: Checkpoint, checkpoint_every: int
) -> None:
    recipe = RECIPE.override(checkpoint_every=checkpoint_every)
    with monkeypatch.context() as patch:
        _interrupt_in_optimiser(patch, 7, times=1)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, recipe)
    assert load_checkpoint(tmp_path / "checkpoint.pt").step == 7
    assert _steps(tmp_path) == list(range(1, 8))
    assert _same(run(tmp_path, recipe), unbroken)


def test_a_second_ctrl_c_keeps_no_half_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unbroken: Checkpoint
) -> None:
    recipe = RECIPE.override(checkpoint_every=4)
    with monkeypatch.context() as patch:
        _interrupt_in_optimiser(patch, 7, times=2)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, recipe)
    assert load_checkpoint(tmp_path / "checkpoint.pt").step == 4
    assert _same(run(tmp_path, recipe), unbroken)
    assert _steps(tmp_path) == list(range(1, unbroken.steps + 1))


def test_an_error_of_the_caller_keeps_the_step(tmp_path: Path, unbroken: Checkpoint) -> None:
    def fail(report: StepReport) -> None:
        if report.step == 6:
            raise OSError("the caller's display is gone")

    recipe = RECIPE.override(checkpoint_every=10)
    with pytest.raises(OSError, match="display"):
        run(tmp_path, recipe, on_step=fail)
    assert load_checkpoint(tmp_path / "checkpoint.pt").step == 6
    assert _same(run(tmp_path, recipe), unbroken)


def test_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts_held():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _interrupted_block(done)
    assert done
    assert signal.getsignal(signal.SIGINT) is before


def _interrupted_block(done: list[str]) -> None:
    with interrupts_held():
        signal.raise_signal(signal.SIGINT)
        done.append("the block ran to its end")


def test_other_threads_train_without_handlers(tmp_path: Path, unbroken: Checkpoint) -> None:
    made: list[Checkpoint] = []
    thread = threading.Thread(target=lambda: made.append(run(tmp_path)))
    thread.start()
    thread.join(GENEROUS_S)
    assert not thread.is_alive()
    assert _same(made[0], unbroken)
