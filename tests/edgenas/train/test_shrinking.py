"""A run that shrinks its space: what is left, that draws stay inside, and that it goes on alike."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import edgenas.train.loop
from edgenas.model.images import to_input
from edgenas.space.arch import ArchError
from edgenas.space.narrowing import holding
from edgenas.space.space import StageSpace
from edgenas.train.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from edgenas.train.loop import StepReport
from edgenas.train.recipe import Recipe, RecipeError
from edgenas.train.samplers.prenas import SliceScores, preferred
from edgenas.train.state import State, Task
from tests.edgenas.train.runs import DATA, RECIPE, SPACE, digits, equal, run

WIDE = replace(
    SPACE,
    name="wide",
    stages=(
        StageSpace((16, 24), (1, 2), (3, 5), (1, 2), stride=2),
        StageSpace((16, 24, 32), (1, 2), (3, 5), (1, 2, 3), stride=2),
    ),
)
SHRUNK = RECIPE.override(shrink_at=0.5, shrink_intervals=4)  # before step 8 of 16
STEP = 8


class StoppedError(Exception):
    """Ends a run from its caller."""


def stop_at(step: int) -> Callable[[StepReport], None]:
    def stop(report: StepReport) -> None:
        if report.step == step:
            raise StoppedError

    return stop


def state_of(recipe: Recipe, checkpoint: Checkpoint | None = None) -> State:
    split = digits()
    state = State(Task(WIDE, split.images[:256], split.labels[:256], recipe, DATA))
    if checkpoint is not None:
        state.restore(checkpoint)
    return state


def kept_at(folder: Path, recipe: Recipe, step: int) -> Checkpoint:
    with pytest.raises(StoppedError):
        run(folder, recipe, space=WIDE, on_step=stop_at(step))
    return load_checkpoint(folder / "checkpoint.pt")


def same(one: Checkpoint, two: Checkpoint) -> bool:
    return all(
        equal(getattr(one, name), getattr(two, name))
        for name in ("step", "space", "whole", "weights", "live", "optimiser", "memory", "skips")
    )


def test_what_is_left_is_what_the_scores_prefer_and_search_sees_it(tmp_path: Path) -> None:
    notes: list[str] = []
    done = run(tmp_path / "run", SHRUNK, space=WIDE, on_note=notes.append)
    assert done.given == WIDE
    assert done.space.size() < WIDE.size()
    assert done.space.largest() == WIDE.largest()
    assert done.space.resolutions == WIDE.resolutions
    (note,) = notes
    assert note.startswith(f"step 8: {done.space.size():,} of {WIDE.size():,} subnets are left: s")
    before = state_of(SHRUNK, kept_at(tmp_path / "until", SHRUNK, STEP))
    assert before.space == WIDE
    scores = SliceScores(WIDE, before.judge.saliency())
    wanted = [WIDE.largest(), *preferred(before.setting, scores, 4)]
    assert done.space == holding(WIDE, wanted, whole=("resolution",))
    assert done.supernet().space == WIDE  # the weights are those of all of it


def test_draws_are_from_what_is_left_and_never_from_the_rest(tmp_path: Path) -> None:
    done = run(tmp_path, SHRUNK, space=WIDE)
    whole, part = state_of(SHRUNK), state_of(SHRUNK, done)
    assert part.space == done.space
    later = {draw.arch for step in range(40) for draw in part.sampler.draw(step)}
    earlier = {draw.arch for step in range(40) for draw in whole.sampler.draw(step)}
    assert all(done.space.check(arch) == arch for arch in later)
    assert {done.space.largest(), done.space.smallest()} <= later
    with pytest.raises(ArchError):
        [done.space.check(arch) for arch in earlier]


EVERYTHING = {
    "sandwich": SHRUNK,
    "bins and banks": SHRUNK.override(sampler="elasticvit", average=0.9, clip="median"),
    "rows": SHRUNK.override(sampler="pada"),
    "two precisions": SHRUNK.override(weights="double_rounding", random_subnets=0),
    "at the first step": SHRUNK.override(shrink_at=0.01),
}


@pytest.mark.parametrize("what", EVERYTHING)
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path, what: str) -> None:
    recipe = EVERYTHING[what]
    unbroken = run(tmp_path / "unbroken", recipe, space=WIDE)
    assert unbroken.whole == WIDE
    step = STEP if recipe.shrink_at == 0.5 else 1
    assert kept_at(tmp_path / "broken", recipe, step).whole is None  # about to shrink
    assert kept_at(tmp_path / "broken", recipe, step + 3).whole == WIDE
    assert same(run(tmp_path / "broken", recipe, space=WIDE), unbroken)


def test_a_run_that_goes_back_before_it_shrank_has_the_whole_space_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, notes = 0, list[str]()

    def prepare(images: object, resolution: int) -> torch.Tensor:
        nonlocal calls
        calls += 1
        x = to_input(images, resolution)  # type: ignore[arg-type]
        return x * torch.nan if 3 * 13 <= calls < 3 * 25 else x

    monkeypatch.setattr(edgenas.train.loop, "to_input", prepare)
    recipe = SHRUNK.override(epochs=4, shrink_at=12 / 32, check_every=8)
    done = run(tmp_path, recipe, space=WIDE, on_note=notes.append)
    assert [note.split(":")[0] for note in notes if "left" in note] == ["step 12", "step 12"]
    assert any("going back to step 8" in note for note in notes)
    assert done.whole == WIDE


def test_a_shrunk_run_is_the_run_of_its_recipe_and_space_only(tmp_path: Path) -> None:
    run(tmp_path, SHRUNK, space=WIDE)
    with pytest.raises(CheckpointError, match="expected the same recipe"):
        run(tmp_path, SHRUNK.override(shrink_at=0.6), space=WIDE)
    part = load_checkpoint(tmp_path / "checkpoint.pt").space
    with pytest.raises(CheckpointError, match="expected the same space"):
        run(tmp_path, SHRUNK, space=part)


def test_checkpoints_without_the_field_are_whole(tmp_path: Path) -> None:
    save_checkpoint(run(tmp_path / "run"), tmp_path / "new.pt")
    body = torch.load(tmp_path / "new.pt", weights_only=True)
    for name in ("shrink_at", "shrink_intervals"):
        del body["recipe"][name]
    del body["whole"]
    torch.save(body, tmp_path / "old.pt")
    old = load_checkpoint(tmp_path / "old.pt")
    assert (old.given, old.whole) == (SPACE, None)
    assert old.recipe == RECIPE


def test_a_sampler_that_trains_a_chosen_list_cannot_shrink_it() -> None:
    with pytest.raises(RecipeError, match="expected 0 with the sampler prenas"):
        Recipe(sampler="prenas", shrink_at=0.5)
    with pytest.raises(RecipeError, match="shrink_at"):
        Recipe(shrink_at=1.0)
