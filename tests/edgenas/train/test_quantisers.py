"""Learned steps in training: where they begin, how they move, that they are kept."""

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import edgenas.train.loop
from edgenas.model.images import Pixels, to_input
from edgenas.model.numerics import Numerics
from edgenas.model.quant import scale_zero
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch, Resolution
from edgenas.space.space import ArchSpace
from edgenas.train.averaging import WeightAverage
from edgenas.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgenas.train.judging import subnet_loss
from edgenas.train.loop import StepReport, read_metrics
from edgenas.train.observing import observe_ranges
from edgenas.train.optimisers import OPTIMISERS, optimiser_of, set_pace
from edgenas.train.quantisers import (
    begin_int8,
    bound_steps,
    in_every_precision,
    mixed_at,
    rate_scaling,
)
from edgenas.train.recipe import Recipe, RecipeError
from edgenas.train.samplers import Draw, build_sampler
from edgenas.train.state import State, Task, check_recipe
from tests.edgenas.model.nets import MIXED, pictures
from tests.edgenas.train.runs import DATA, RECIPE, SPACE, digits, run

LSQ = RECIPE.override(
    activations="lsq_plus", step_rate=0.2, flip=False, shift=0.0, random_subnets=0
)
BOTH = LSQ.override(weights="double_rounding")
EPOCHS = 8


def _task(recipe: Recipe) -> Task:
    split = digits()
    return Task(SPACE, split.images[:256], split.labels[:256], recipe, DATA)


def _tensors(space: ArchSpace) -> set[str]:
    """Names of tensors that some subnet has."""
    rng = random.Random(1)
    archs = [space.sample(rng) for _ in range(300)]
    return {layer.name for arch in archs for layer in space.layers(arch)}


def _met(net: Supernet) -> set[str]:
    met = net.grids().met
    return {name for name in net.tensors if met[net.row(name)]}


# --- where they begin --------------------------------------------------------------------------


def test_every_tensor_is_met_before_steps_begin() -> None:
    state = State(_task(LSQ))
    sampler = build_sampler("sandwich", state.setting)
    observe_ranges(state.net, state.task.batches(), sampler)
    begin_int8(state.net, state.average)
    scale, zero, met = state.net.grids()
    assert _met(state.net) >= _tensors(SPACE)
    expected, zeros = scale_zero(state.net.ranges)
    assert torch.equal(scale[met], expected[met])
    assert torch.equal(zero, zeros)


def test_observing_looks_for_tensors_that_only_some_subnets_have() -> None:
    recipe = LSQ.override(batch=8)
    images = (pictures(MIXED, 16, 64, 0) * 255).byte().permute(0, 2, 3, 1).numpy()
    state = State(Task(MIXED, images, digits().labels[:64] % 5, recipe, DATA))
    fixed = build_sampler("uniform", state.setting)
    draw = fixed.draw
    fixed.draw = lambda step: [Draw(MIXED.largest()), *draw(step)[:0]]  # type: ignore[method-assign]
    observe_ranges(state.net, state.task.batches(), fixed)
    begin_int8(state.net, None)
    assert _tensors(MIXED) > {layer.name for layer in MIXED.layers(MIXED.largest())}
    assert _met(state.net) >= _tensors(MIXED)


def test_the_average_begins_where_the_weights_do() -> None:
    torch.manual_seed(0)
    net = Supernet(SPACE, "lsq_plus", "double_rounding")
    average = WeightAverage(net, 0.99)
    net.ranges[:, 0], net.ranges[:, 1] = -1.0, 2.0
    begin_int8(net, average)
    for mine, its in zip(net.grids(), average.net.grids(), strict=True):
        assert torch.equal(mine, its)
    assert net.grids().scale[1].item() == pytest.approx(3 / 255)


# --- how they move -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_have_a_rate_of_their_own_and_no_decay(name: str) -> None:
    weight, step = nn.Parameter(torch.ones(4, 3)), nn.Parameter(torch.ones(4))
    recipe = Recipe(optimiser=name, weight_decay=0.5, step_rate=0.25, momentum=0.0)
    optimiser = optimiser_of([weight], recipe, {0: [step]})
    set_pace(optimiser, 0.1, None)
    rates = [group["lr"] for group in optimiser.param_groups]
    assert rates == [0.1, 0.1, 0.025]
    weight.grad, step.grad = torch.zeros(4, 3), torch.zeros(4)
    optimiser.step()
    assert (step == 1).all()
    assert (weight < 1).all()


@pytest.mark.parametrize(
    ("bits", "slowed"),
    [(8, 1.0), (7, 0.5), (6, 0.1), (5, 0.05), (4, 0.01), (3, 0.005), (2, 0.001)],
)
def test_rate_scaling_is_its_formula(bits: int, slowed: float) -> None:
    calm = [torch.zeros(5), torch.zeros(3)]
    assert rate_scaling(bits, calm) == pytest.approx(slowed)
    mixed = [torch.tensor([0.1, -0.5]), torch.tensor([0.0, 7.0]), torch.tensor([0.0])]
    assert rate_scaling(bits, mixed) == pytest.approx(slowed * (1 - (0.5 + 1 + 0) / 3))
    assert rate_scaling(bits, [torch.tensor([-3.0])]) == 0.0


def test_each_group_of_steps_is_bounded_and_scaled_by_itself() -> None:
    weight, *steps = (nn.Parameter(torch.ones(2)) for _ in range(4))
    groups = {0: [steps[0]], 8: [steps[1]], 4: [steps[2]]}
    optimiser = optimiser_of([weight], Recipe(step_rate=0.5), groups)
    set_pace(optimiser, 0.2, None)
    weight.grad = torch.tensor([30.0, 40.0])
    for step, size in zip(steps, (3.0, 0.25, 0.5), strict=True):
        step.grad = torch.tensor([size, 0.0])
    assert bound_steps(optimiser) == pytest.approx(3.75)
    assert weight.grad.tolist() == [30.0, 40.0]
    assert [step.grad[0].item() for step in steps if step.grad is not None] == pytest.approx(
        [1.0, 0.25, 0.5], rel=1e-5
    )
    rates = [group["lr"] for group in optimiser.param_groups]
    assert rates == pytest.approx([0.2, 0.2, 0.1, 0.1 * 0.75, 0.1 * 0.01 * 0.5])
    set_pace(optimiser, 0.2, None)  # the next step begins anew
    assert optimiser.param_groups[-1]["lr"] == 0.1


def test_without_learned_steps_nothing_is_bounded() -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([30.0, math.nan])
    assert bound_steps(optimiser_of([weight], Recipe())) == 0.0


def test_an_unusable_gradient_of_a_step_shows() -> None:
    weight, step = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimiser = optimiser_of([weight], Recipe(), {0: [step]})
    step.grad = torch.tensor([math.inf, 0.0])
    assert not math.isfinite(bound_steps(optimiser))


def test_precisions_come_widest_first() -> None:
    draws = [Draw(SPACE.largest()), Draw(SPACE.smallest(), 0.5, "others")]
    assert in_every_precision(draws, (8,)) == draws
    both = in_every_precision(draws, (8, 4))
    assert both[:2] == draws
    assert [(d.arch.bits, d.arch.stem, d.weight, d.learns_from) for d in both[2:]] == [
        (4, d.arch.stem, d.weight, d.learns_from) for d in draws
    ]


def test_every_second_step_mixes_precisions_where_layers_choose_theirs() -> None:
    space = replace(SPACE, stages=(replace(SPACE.stages[0], bits=(4, 8)),))
    draws = [Draw(space.largest()), Draw(space.smallest(), 0.5, "others")]
    assert mixed_at(SPACE, 0, 1) is None
    assert mixed_at(space, 0, 2) is None
    mixed = mixed_at(space, 0, 1)
    whole, few = in_every_precision(draws, (8, 4))[:2], in_every_precision(draws, (8, 4), mixed)
    assert few[:2] == whole  # the teacher has all bits everywhere
    assert few == in_every_precision(draws, (8, 4), mixed_at(space, 0, 1))
    for one, draw in zip(few[2:], draws, strict=True):
        assert replace(one, arch=one.arch.in_bits(8)) == replace(draw, arch=draw.arch.in_bits(8))
        assert all(len(block.bits) == 3 for block in one.arch.stages[0].blocks)
    steps = [mixed_at(space, 0, step) for step in range(1, 41, 2)]
    seen = {m(draws[0].arch, 1).stages[0].blocks[0].bits for m in steps if m is not None}
    assert len(seen) == 8


def test_a_run_whose_layers_choose_bits_learns_all_of_them(tmp_path: Path) -> None:
    stage = replace(SPACE.stages[0], bits=(4, 8))
    space = replace(SPACE, stages=(stage,), bits=(4, 8))
    with pytest.raises(RecipeError, match=r"bits among \(8,\), got \(4, 8\)"):
        check_recipe(RECIPE, replace(SPACE, stages=(stage,)))
    recipe = BOTH.override(epochs=1)
    unbroken = run(tmp_path / "unbroken", recipe, space=space)

    class StoppedError(Exception):
        pass

    def stop(report: StepReport) -> None:
        if report.step == 5:  # the next step is one that mixes
            raise StoppedError

    with pytest.raises(StoppedError):
        run(tmp_path / "stopped", recipe, space=space, on_step=stop)
    assert run(tmp_path / "stopped", recipe, space=space).digest() == unbroken.digest()
    net, plain = unbroken.supernet(), run(tmp_path / "plain", recipe)
    assert plain.digest() != unbroken.digest()
    rng = random.Random(0)
    for arch in (space.sample(rng) for _ in range(5)):
        assert net.check(arch) == arch
        assert math.isfinite(_loss_of(net, arch))


@pytest.mark.parametrize("changes", [{"activations": "lsq"}, {"weights": "double_rounding"}])
def test_what_learns_in_int8_needs_int8(changes: dict[str, str]) -> None:
    Recipe(float_share=1.0)
    with pytest.raises(RecipeError, match="float_share: expected < 1 with quantisers that learn"):
        Recipe(float_share=1.0).override(**changes)


def test_a_space_chooses_among_bits_that_are_trained(tmp_path: Path) -> None:
    space = replace(SPACE, bits=(4, 8))
    with pytest.raises(RecipeError, match=r"expected a space with bits among \(8,\), got \(4, 8"):
        check_recipe(RECIPE, space)
    check_recipe(BOTH, space)
    made = run(tmp_path, RECIPE.override(weights="double_rounding", epochs=1), space=space)
    assert made.space.bits == (4, 8)
    reports = list(read_metrics(tmp_path))
    assert math.isfinite(reports[-1].loss_largest)
    assert math.isfinite(reports[-1].loss_smallest)
    for bits in made.space.bits:
        made.supernet().check(replace(made.space.smallest(), bits=bits))


# --- in a run ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Both kinds of learned steps, 64 steps of training."""
    folder = tmp_path_factory.mktemp("both")
    made = run(folder, BOTH.override(epochs=EPOCHS))
    assert not any(report.skipped for report in read_metrics(folder))
    return made


def _loss(net: Supernet, bits: int) -> float:
    return _loss_of(net, SPACE.largest().in_bits(bits))


def _loss_of(net: Supernet, arch: Arch) -> float:
    images, labels = digits().images[300:812], digits().labels[300:812]
    return subnet_loss(net, arch, images, labels, Numerics.INT8)


def test_steps_have_moved_but_not_run_away(trained: Checkpoint) -> None:
    net = trained.supernet()
    observed, _ = scale_zero(net.ranges)
    scale, zero, met = net.grids()
    assert _met(net) >= _tensors(SPACE)
    ratio = (scale / observed)[met][1:]
    assert (ratio != 1).sum() > len(ratio) // 2
    assert ((ratio > 0.2) & (ratio < 3)).all()
    relu = {layer.name for layer in SPACE.every_layer() if layer.relu}
    assert all(zero[net.row(name)] == -128 for name in relu)
    for layer in SPACE.every_layer():
        if layer.weighted:
            module = net.module(layer)
            wide, narrow = module.get_parameter("step_8"), module.get_parameter("step_4")
            assert narrow.any()
            assert (narrow.abs() < 0.5 * wide).all()


def test_both_precisions_have_learned(trained: Checkpoint) -> None:
    net = trained.supernet()
    fresh = State(_task(BOTH)).net
    assert _loss(fresh, 8) > 2.0
    assert _loss(net, 8) < 1.8
    assert _loss(net, 4) < 1.8


def test_a_run_that_goes_back_takes_its_steps_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve steps of NaN pictures in INT8: neither steps nor weights keep anything of them."""
    calls = 0

    def poisoned(images: Pixels, resolution: Resolution) -> torch.Tensor:
        nonlocal calls
        calls += 1
        x = to_input(images, resolution)
        return x * math.nan if 36 < calls <= 84 else x

    notes: list[str] = []
    monkeypatch.setattr(edgenas.train.loop, "to_input", poisoned)
    made = run(tmp_path, BOTH.override(epochs=4), on_note=notes.append)
    assert len(notes) == 1
    assert "going back to step" in notes[0]
    assert made.finished
    assert all(value.isfinite().all() for value in made.weights.values())
    assert any(name.startswith("activation_quantiser.step") for name in made.weights)


def test_a_checkpoint_brings_the_steps_back(tmp_path: Path) -> None:
    state = State(_task(BOTH))
    state.net.ranges[:, 1] = 2.0
    begin_int8(state.net, None)
    save_checkpoint(state.checkpoint(), tmp_path / "checkpoint.pt")
    steps = [step for group in state.net.learned_steps().values() for step in group]
    before = [step.detach().clone() for step in steps]
    with torch.no_grad():
        for step in steps:
            step.add_(1.0)
    state.restore(load_checkpoint(tmp_path / "checkpoint.pt"))
    assert all(torch.equal(step, old) for step, old in zip(steps, before, strict=True))
    assert state.net.grids().scale[1].item() == pytest.approx(2 / 255)
