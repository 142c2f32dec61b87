"""A checkpoint of ours becomes the start of another run: bit for bit, and remembered by it."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgenas.model.calibrate import calibrate
from edgenas.model.images import input_batches, to_input
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch
from edgenas.space.narrowing import choices, narrowed, narrowed_by, only_largest
from edgenas.space.space import ArchSpace
from edgenas.train.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from edgenas.train.inheriting import MismatchError, Source, SourceError, inherit, read_source
from edgenas.train.inheriting.inherit import cropped
from edgenas.train.loop import StepReport, TrainingDivergedError, train
from edgenas.train.recipe import Recipe
from edgenas.train.recipes import METHODS
from tests.edgenas.train.inheriting.plain import RESNET
from tests.edgenas.train.runs import DATA, RECIPE, SPACE, digits, equal, run

SHORT = RECIPE.override(epochs=0.5)  # 4 steps, the first in float
SPACES = {"mbconv": SPACE, "resnet and fused": RESNET}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of supernets of both spaces, ranges and all."""
    made: dict[str, Path] = {}
    for space in SPACES.values():
        folder = tmp_path_factory.mktemp("parent")
        run(folder, SHORT, space=space)
        made[space.name] = folder / "checkpoint.pt"
    return made


def answers(net: Supernet, arch: Arch) -> list[Tensor]:
    """In float, in INT8 with the shared ranges, and calibrated as it is exported."""
    images = digits().images
    x = to_input(images[300:332], arch.resolution)
    calibration = calibrate(net.eval(), arch, list(input_batches(images[:64], arch.resolution, 32)))
    with torch.no_grad():
        return [
            net(x, arch, numerics=Numerics.FLOAT),
            net(x, arch, numerics=Numerics.INT8),
            net(x, arch, calibration=calibration),
        ]


def started(space: ArchSpace, source: Source) -> Supernet:
    torch.manual_seed(99)
    net = Supernet(space)
    inherit(net, source, digits().images)
    return net


def assert_equal_bits(net: Supernet, old: Supernet, archs: list[Arch]) -> None:
    for arch in archs:
        for mine, theirs in zip(answers(net, arch), answers(old, arch), strict=True):
            assert torch.equal(mine, theirs), arch.describe()


@every_space
def test_a_supernet_of_the_same_space(space: ArchSpace, parents: dict[str, Path]) -> None:
    source = read_source(parents[space.name])
    assert isinstance(source.origin, Checkpoint)
    net = started(space, source)
    assert equal(dict(net.state_dict()), source.origin.weights)
    assert_equal_bits(net, source.origin.supernet(), [space.largest()])


@every_space
def test_the_largest_subnet_trained_alone(space: ArchSpace, tmp_path: Path) -> None:
    alone = narrowed_by(space, only_largest(space))
    recipe = METHODS["spos"].on(SHORT)
    checkpoint = run(tmp_path, recipe, space=alone)
    net = started(space, read_source(tmp_path / "checkpoint.pt"))
    assert_equal_bits(net, checkpoint.supernet(), [space.largest()])
    assert net(to_input(digits().images[:8], 8), space.smallest()).isfinite().all()


@every_space
def test_every_part_has_the_subnets_of_the_whole(
    space: ArchSpace, parents: dict[str, Path]
) -> None:
    source, rng = read_source(parents[space.name]), random.Random(3)
    assert isinstance(source.origin, Checkpoint)
    old = source.origin.supernet()
    for choice in choices(space):
        if len(choice.options) > 1:
            part = narrowed(space, choice.name, choice.options[:1])
            assert_equal_bits(started(part, source), old, [part.sample(rng)])


def test_a_part_cannot_become_the_whole(parents: dict[str, Path], tmp_path: Path) -> None:
    part = narrowed_by(SPACE, {"s0.width": (16,), "s0.b0.kernel": (3,), "s0.depth": (1,)})
    run(tmp_path, SHORT.override(epochs=0.3), space=part)
    with pytest.raises(MismatchError) as caught:
        started(SPACE, read_source(tmp_path / "checkpoint.pt"))
    text = str(caught.value)
    assert "s0.b0.project weight: expected at least [24, 16, 1, 1], got [16, 16, 1, 1]" in text
    assert "s0.b0.depthwise weight: expected at least [16, 1, 5, 5], got [16, 1, 3, 3]" in text
    assert "s0.b1.expand: expected its weights, got no such layer" in text
    assert "--preset, --only" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stem_stride": 2}, "expected stem"),
        ({"stages": (replace(SPACE.stages[0], stride=1),)}, "expected kinds of blocks"),
        ({"channels": 3}, "expected input channels 3 as in space tiny, got 1"),
        ({"classes": 7}, "expected classes 7 .*got 10; start with .*--new-classifier"),
    ],
)
def test_other_forms_are_refused_though_shapes_might_fit(
    change: dict[str, object], words: str, parents: dict[str, Path]
) -> None:
    other = replace(SPACE, **change)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match=words):
        started(other, read_source(parents["tiny"]))


def test_other_classes_with_a_new_classifier(parents: dict[str, Path]) -> None:
    source = read_source(parents["tiny"], new_classifier=True)
    assert isinstance(source.origin, Checkpoint)
    seven = replace(SPACE, classes=7)
    torch.manual_seed(99)
    fresh = Supernet(seven)
    net = started(seven, source)
    for name, value in net.named_parameters():
        first = fresh.state_dict() if "logits" in name else source.origin.weights
        assert torch.equal(value, first[name]), name
    assert (net.ranges[net.row("logits")] == 0).all()


def test_the_part_that_a_smaller_subnet_uses() -> None:
    tensor = torch.arange(4 * 3 * 5 * 1).view(4, 3, 5, 1)
    assert torch.equal(cropped(tensor, (2, 3, 3, 1)), tensor[:2, :3, 1:4])
    assert torch.equal(cropped(torch.arange(6), (4,)), torch.arange(4))


# --- runs --------------------------------------------------------------------------------------


def start(folder: Path, source: Source | None, recipe: Recipe = SHORT, stop: int = 0) -> Checkpoint:
    """A run that starts from `source`, and ends after step `stop` as by an error."""
    split = digits()

    def on_step(report: StepReport) -> None:
        if report.step == stop:
            raise StoppedError

    return train(
        SPACE, split.images[:256], split.labels[:256], recipe, folder, DATA,
        source=source, on_step=on_step,
    )  # fmt: skip


class StoppedError(Exception):
    """Ends a run from its caller."""


@pytest.mark.parametrize("name", ["plain recipe", "instatune"])
def test_a_started_run_goes_on_bit_for_bit(
    name: str, parents: dict[str, Path], tmp_path: Path
) -> None:
    recipe = (
        SHORT
        if name == "plain recipe"
        else METHODS["instatune"].on(SHORT).override(epochs=SHORT.epochs)
    )
    source = read_source(parents["tiny"])
    unbroken = start(tmp_path / "unbroken", source, recipe)
    with pytest.raises(StoppedError):
        start(tmp_path / "stopped", source, recipe, stop=3)
    resumed = start(tmp_path / "stopped", source, recipe)
    assert resumed.digest() == unbroken.digest() != start(tmp_path / "x", None, recipe).digest()
    assert equal(resumed.memory, unbroken.memory)
    assert unbroken.memory["source"] == source.identity


def test_a_run_is_not_continued_with_other_first_weights(
    parents: dict[str, Path], tmp_path: Path
) -> None:
    source = read_source(parents["tiny"])
    start(tmp_path / "run", source, SHORT.override(epochs=0.3))
    other = start(tmp_path / "other", None, SHORT.override(epochs=0.3))
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    wrong = [None, read_source(tmp_path / "other" / "checkpoint.pt"),
             read_source(parents["tiny"], new_classifier=True)]  # fmt: skip
    for one in wrong:
        with pytest.raises(CheckpointError, match=r"expected the same first weights .*\n.*there: "):
            start(tmp_path / "run", one, SHORT.override(epochs=0.3))
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
    assert other.memory["source"] == ""


def test_a_run_that_goes_back_to_its_beginning_starts_from_the_source_again(
    parents: dict[str, Path], tmp_path: Path
) -> None:
    source, kept = read_source(parents["tiny"]), list[Checkpoint]()
    assert isinstance(source.origin, Checkpoint)
    split, recipe = digits(), SHORT.override(epochs=4, rate=1e6, warmup=0.0, rollbacks=1)

    def on_note(text: str) -> None:
        assert "going back to step 0" in text
        kept.append(load_checkpoint(tmp_path / "checkpoint.pt"))

    with pytest.raises(TrainingDivergedError):
        train(SPACE, split.images[:256], split.labels[:256], recipe, tmp_path, DATA,
              source=source, on_note=on_note)  # fmt: skip
    assert [one.step for one in kept] == [0]
    assert equal(kept[0].weights, source.origin.weights)


def test_a_few_steps_from_a_trained_network_beat_as_many_from_chance(
    parents: dict[str, Path], tmp_path: Path
) -> None:
    longer = Recipe(epochs=8, batch=64, rate=0.15, random_subnets=1, shift=0.0, seed=1)
    alone = narrowed_by(SPACE, only_largest(SPACE))
    run(tmp_path / "alone", METHODS["spos"].on(longer), space=alone, images=448)
    recipe = METHODS["instatune"].on(longer).override(epochs=1)
    source = read_source(tmp_path / "alone" / "checkpoint.pt")
    seeded, chance = list[StepReport](), list[StepReport]()
    images, labels = digits().images[:448], digits().labels[:448]
    train(SPACE, images, labels, recipe, tmp_path / "seeded", DATA,
          source=source, on_step=seeded.append)  # fmt: skip
    train(SPACE, images, labels, longer.override(epochs=1), tmp_path / "chance", DATA,
          on_step=chance.append)  # fmt: skip
    assert max(one.loss_largest for one in seeded) < min(one.loss_largest for one in chance)
