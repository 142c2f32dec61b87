"""Every named method trains, and goes on after a stop as if there had been none."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch

from edgenas.train.checkpoint import Checkpoint, load_checkpoint
from edgenas.train.loop import StepReport, read_metrics
from edgenas.train.recipe import CHOICES, TEACHERS, Recipe, RecipeError
from edgenas.train.recipes import METHODS, RECIPES, recipe
from edgenas.train.samplers import ON_UNSEEN_IMAGES, SAMPLERS
from edgenas.train.samplers.phases import Progressive
from edgenas.train.state import check_recipe
from tests.edgenas.train.runs import RECIPE, SPACE, equal, run

SHORT = RECIPE.override(epochs=0.75)  # 6 steps, the first two in float
# What no method uses, all at once.
REST = SHORT.override(
    average=0.9, teachers=("average", "largest"), temperature=2.0, cutout=0.3, mixup=0.4,
    start_resolution=0.5, grow_until=0.8, schedule="one_cycle", momentum_dip=0.1, int8_rate=0.5,
    check_every=2,
)  # fmt: skip
TRIED = {
    **{name: method.on(SHORT).override(epochs=SHORT.epochs) for name, method in METHODS.items()},
    "everything else": REST,
    "two parts": METHODS["vit-resnas"].on(SHORT).override(
        epochs=1.5, batch=64, teachers=("average", "largest"), average=0.9, mixup=0.3, dropout=0.2,
        dropout_for="all", weights="double_rounding",
    ),
    "adamw": SHORT.override(optimiser="adamw", rate=0.002, dropout=0.2, dropout_for="size"),
    "rmsprop": SHORT.override(optimiser="rmsprop", rate=0.002, schedule="exponential",
                              rate_floor=0.05),
}  # fmt: skip


class StoppedError(Exception):
    """Ends a run from its caller."""


@pytest.mark.parametrize("name", TRIED)
def test_a_stopped_run_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    tried = TRIED[name]
    if tried.held_out:
        tried = tried.override(held_out=32)
    unbroken = run(tmp_path / "unbroken", tried)

    def stop(report: StepReport) -> None:
        if report.step == 4:
            raise StoppedError

    if unbroken.steps > 4:
        with pytest.raises(StoppedError):
            run(tmp_path / "stopped", tried, on_step=stop)
        assert load_checkpoint(tmp_path / "stopped" / "checkpoint.pt").step == 4
    resumed = run(tmp_path / "stopped", tried)
    assert resumed.digest() == unbroken.digest()
    assert equal(resumed.optimiser, unbroken.optimiser)
    assert equal(resumed.live, unbroken.live)
    assert equal(resumed.memory, unbroken.memory)
    reports = read_metrics(tmp_path / "stopped")
    assert [report.step for report in reports] == list(range(1, unbroken.steps + 1))
    assert not any(report.skipped for report in reports)
    assert all(value.isfinite().all() for value in resumed.weights.values())
    assert not list(tmp_path.glob("*/good.pt"))


def test_every_sampler_belongs_to_a_method() -> None:
    named = {tried.sampler for tried in TRIED.values()}
    assert named == set(SAMPLERS)


def test_names_of_methods_and_bases_differ() -> None:
    assert not set(METHODS) & set(RECIPES)


def test_a_method_keeps_what_belongs_to_the_data() -> None:
    base = RECIPES["fashion"]
    changed = recipe("alphanet", "fashion")
    assert (changed.batch, changed.shift, changed.flip) == (128, 0.07, True)
    assert changed.epochs == base.epochs / 4, "a step of four subnets where the base runs one"
    assert (changed.sampler, changed.teachers) == ("sandwich", ("largest",))
    assert changed.divergence == "alpha"
    assert changed != base
    assert recipe("quick", "fashion").epochs == pytest.approx(base.epochs / 3)
    with pytest.raises(RecipeError, match=r"expected one of digits, .*alphanet.*got 'nothing'"):
        recipe("alphanet", "nothing")


@pytest.mark.parametrize("name", [*CHOICES, "sampler"])
def test_unknown_names_in_a_recipe(name: str) -> None:
    with pytest.raises(RecipeError, match=rf"recipe {name}: expected one of .*, got 'nothing'"):
        check_recipe(Recipe().override(**{name: "nothing"}), SPACE)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teachers": ("somebody",)}, f"teachers: expected each one of {', '.join(TEACHERS)}"),
        ({"teachers": ("largest", "largest")}, "teachers: .* at most once"),
        ({"teachers": ("external",)}, "expected checkpoint files exactly if `external`"),
        ({"teacher_files": ("a.pt",)}, "expected checkpoint files exactly if `external`"),
        ({"teachers": ("average",)}, "average: expected > 0 with `average` among the teachers"),
        ({"optimiser": "schedule_free", "average": 0.9}, "expected 0 with schedule_free"),
        ({"schedule": "exponential"}, "rate_floor: expected > 0 with the exponential"),
        ({"momentum_dip": 0.95}, "momentum_dip: expected at most the momentum of 0.9"),
        ({"momentum_dip": 0.05}, "momentum_dip: expected 0 with the cosine schedule, .*one_cycle"),
        ({"decay_until": 1.5}, "decay_until: expected <= 1"),
        ({"mixup": -0.1}, "mixup: expected >= 0"),
        ({"cutout": 1.0}, "cutout: expected 0 <= x < 1"),
        ({"temperature": 0.0}, "temperature: expected > 0"),
    ],
)
def test_values_that_do_not_go_together(changes: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Recipe().override(**changes)


def test_who_compares_on_unseen_images_needs_some() -> None:
    for name in ON_UNSEEN_IMAGES:
        held_out = METHODS[name].changes["held_out"]
        check_recipe(Recipe(sampler=name).override(held_out=held_out), SPACE)
        with pytest.raises(RecipeError, match=f"`--recipe {name}`, which holds out {held_out}"):
            check_recipe(Recipe(sampler=name), SPACE)


def test_images_held_out_are_not_trained_on() -> None:
    assert Recipe(batch=10, epochs=1, held_out=9).steps(59) == 5
    with pytest.raises(RecipeError, match=r"at least one batch of 10 images, got 9 \(50 more"):
        Recipe(batch=10, held_out=50).steps(59)


def test_the_defaults_are_those_of_the_first_version() -> None:
    """What earlier checkpoints do not say must mean what it meant then."""
    recipe = Recipe()
    assert {f.name: getattr(recipe, f.name) for f in fields(recipe)} == {
        "epochs": 20.0, "batch": 128, "rate": 0.1, "warmup": 0.05, "float_share": 0.15,
        "random_subnets": 2, "label_smoothing": 0.1, "weight_decay": 1e-4, "clip_norm": 5.0,
        "shift": 0.1, "flip": False, "seed": 0, "checkpoint_every": 1,
        "sampler": "sandwich", "held_out": 0, "teachers": ("largest",), "teacher_files": (),
        "divergence": "kl", "alpha_clip": 5.0, "temperature": 1.0, "label_share": 0.0,
        "dropout": 0.0, "dropout_for": "largest", "optimiser": "sgd", "momentum": 0.9,
        "beta2": 0.999, "schedule": "cosine", "rate_floor": 0.0, "decay_until": 0.8,
        "momentum_dip": 0.0, "int8_rate": 1.0, "clip": "norm", "average": 0.0,
        "start_resolution": 1.0, "grow_until": 0.5, "cutout": 0.0, "mixup": 0.0,
        "check_every": 0, "rollbacks": 3, "shift_axes": "both", "activations": "subnet_ranges",
        "weights": "min_max", "step_rate": 0.1, "shrink_at": 0.0, "shrink_intervals": 10,
    }  # fmt: skip


def test_the_teacher_of_progressive_shrinking_is_the_full_network_after_its_training(
    tmp_path: Path,
) -> None:
    """At whatever resolution it ran: it is silent, and labels teach, while nothing else runs."""
    kept: list[Checkpoint] = []

    def keep(_: StepReport) -> None:
        kept.append(load_checkpoint(tmp_path / "checkpoint.pt"))

    asked = RECIPE.override(
        epochs=5, sampler="progressive", teachers=("frozen",), label_share=1.0, checkpoint_every=1
    )
    run(tmp_path, asked, on_step=keep)
    begins = next(n for n, one in enumerate(kept) if one.memory["frozen"])  # froze in this step
    stages = Progressive(SPACE, asked.steps(256))
    assert begins >= stages.starts[1] > 5
    taught = kept[begins].memory["frozen"]["weights"]
    before = kept[begins - 1].weights
    assert all(torch.equal(taught[name], tensor) for name, tensor in before.items())
    assert equal(kept[-1].memory["frozen"], kept[begins].memory["frozen"])
