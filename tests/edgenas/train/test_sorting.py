"""Channels are sorted, and the largest subnet stays the function that it was."""

import pytest
import torch

from edgenas.model.images import to_input
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.presets import preset
from edgenas.space.space import ArchSpace
from edgenas.train.averaging import WeightAverage
from edgenas.train.losses import label_loss
from edgenas.train.optimisers import optimiser_of
from edgenas.train.recipe import Recipe
from edgenas.train.sorting import channel_groups, mover, sort_channels
from tests.edgenas.train.runs import SPACE, digits

SPACES = {"tiny": SPACE, "digits": preset("digits", channels=1, classes=10)}


def _trained(space: ArchSpace, optimiser: str) -> tuple[Supernet, torch.optim.Optimizer]:
    """A few steps of the largest subnet, so that there are moments to move."""
    torch.manual_seed(0)
    net = Supernet(space).train()
    made = optimiser_of(net.parameters(), Recipe(optimiser=optimiser, rate=0.01))
    for _ in range(3):
        _step(net, made)
    return net, made


def _step(net: Supernet, optimiser: torch.optim.Optimizer) -> None:
    largest, split = net.space.largest(), digits()
    optimiser.zero_grad()
    logits = net(to_input(split.images[:32], largest.resolution), largest, numerics=Numerics.FLOAT)
    label_loss(logits, torch.from_numpy(split.labels[:32]), 0.1).backward()
    optimiser.step()


def _answer(net: Supernet, numerics: Numerics) -> torch.Tensor:
    largest = net.space.largest()
    with torch.no_grad():
        logits: torch.Tensor = net.eval()(
            to_input(digits().images[:16], largest.resolution), largest, numerics=numerics
        )
    net.train()
    return logits


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("optimiser", ["sgd", "adamw", "schedule_free"])
def test_the_largest_subnet_and_its_next_step_stay_the_same(name: str, optimiser: str) -> None:
    (net, made), (twin, unsorted) = (_trained(SPACES[name], optimiser) for _ in range(2))
    average = WeightAverage(net, 0.9)
    sort_channels(net, mover(net, made, average.net))
    weight = net.modules_by_layer["head"].get_parameter("weight")
    assert not torch.equal(weight, twin.modules_by_layer["head"].get_parameter("weight"))
    torch.testing.assert_close(
        _answer(net, Numerics.FLOAT), _answer(twin, Numerics.FLOAT), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        _answer(average.net, Numerics.FLOAT), _answer(twin, Numerics.FLOAT), rtol=1e-4, atol=1e-5
    )
    for one, optimiser_of_one in ((net, made), (twin, unsorted)):
        _step(one, optimiser_of_one)  # momentum has moved along, or this would differ
    torch.testing.assert_close(
        _answer(net, Numerics.FLOAT), _answer(twin, Numerics.FLOAT), rtol=1e-3, atol=1e-4
    )


def test_important_channels_come_first() -> None:
    net, made = _trained(SPACES["digits"], "sgd")
    sort_channels(net, mover(net, made))
    sorted_groups = 0
    for group in channel_groups(net.space.layers(net.space.largest())):
        if group.tied or not group.readers:
            continue
        (reader,) = group.readers
        weight = net.module(reader).get_parameter("weight")
        importance = weight.abs().transpose(0, 1).flatten(1).sum(1)
        assert (importance.diff() <= 1e-6).all(), reader.name
        sorted_groups += 1
    depth = sum(stage.depths[-1] for stage in net.space.stages)
    assert sorted_groups == depth + 1  # inside of every block, and the head


def test_what_a_shortcut_may_add_stays_in_place() -> None:
    net, made = _trained(SPACES["digits"], "sgd")
    before = {
        name: module.get_parameter("weight").clone()
        for name, module in net.modules_by_layer.items()
        if name == "stem" or name.endswith("project")
    }
    sort_channels(net, mover(net, made))
    for name, weight in before.items():
        after = net.modules_by_layer[name].get_parameter("weight")
        rows = (weight.flatten(1).sum(1), after.flatten(1).sum(1))
        torch.testing.assert_close(*rows)  # each output channel where it was


def test_sorting_twice_changes_nothing() -> None:
    net, made = _trained(SPACE, "sgd")
    sort_channels(net, mover(net, made))
    once = [p.clone() for p in net.parameters()]
    sort_channels(net, mover(net, made))
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), once, strict=True))
