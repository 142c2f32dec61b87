"""Looking at subnets leaves nothing behind; their gradients can be told apart and added up."""

import random

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edgenas.model.images import Pixels, to_input
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch
from edgenas.train.batches import Batch, Labels
from edgenas.train.gradients import add_gradient, add_measured_gradient
from edgenas.train.judging import SubnetJudge, at_most, subnet_loss
from edgenas.train.recipe import RecipeError
from tests.edgenas.train.runs import SPACE, digits

IMAGES, LABELS = digits().images[:300], digits().labels[:300]
BATCH = Batch(IMAGES[:64], LABELS[:64], LABELS[:64], 1.0, np.arange(64))
ARCHS = [SPACE.largest(), SPACE.smallest(), SPACE.sample(random.Random(2))]


@pytest.fixture
def net() -> Supernet:
    """A supernet whose blocks do something."""
    torch.manual_seed(0)
    made = Supernet(SPACE).train()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5)
        made.ranges[1:] = torch.tensor([-4.0, 4.0])
    return made


def _judge(net: Supernet, held_out: int = 0) -> SubnetJudge:
    return SubnetJudge(net, IMAGES, (IMAGES[:held_out], LABELS[:held_out]), seed=3)


def _cross_entropy(net: Supernet, arch: Arch, images: Pixels, labels: Labels) -> float:
    with torch.no_grad():
        logits = net.eval()(to_input(images, arch.resolution), arch)
    net.train()
    return F.cross_entropy(logits, torch.from_numpy(labels)).item()


def test_losses_are_cross_entropies_that_leave_nothing_behind(net: Supernet) -> None:
    judge = _judge(net, held_out=100)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for arch in ARCHS:
        judge.attend(BATCH, Numerics.INT8, 9)
        expected = _cross_entropy(net, arch, BATCH.images, BATCH.labels)
        assert judge.loss(arch) == pytest.approx(expected, rel=1e-6)
        held_out = _cross_entropy(net, arch, IMAGES[:100], LABELS[:100])
        assert judge.held_out_loss(arch) == pytest.approx(held_out, rel=1e-6)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_judge_looks_as_the_step_does(net: Supernet) -> None:
    judge, largest = _judge(net), SPACE.largest()
    judge.attend(BATCH, Numerics.FLOAT, 8)
    small = at_most(largest, 8)
    assert small.resolution == 8
    expected = subnet_loss(net, small, BATCH.images, BATCH.labels, Numerics.FLOAT)
    assert judge.loss(largest) == expected
    assert at_most(largest, 9) is largest


def test_images_held_out_must_be_asked_for(net: Supernet) -> None:
    with pytest.raises(RecipeError, match="recipe held_out: expected > 0 with a sampler"):
        _judge(net).held_out_loss(SPACE.largest())


def test_long_lists_of_images_go_piece_by_piece(net: Supernet) -> None:
    arch = SPACE.smallest()
    pieces = [subnet_loss(net, arch, IMAGES[a:b], LABELS[a:b], Numerics.FLOAT) * (b - a)
              for a, b in ((0, 256), (256, 300))]  # fmt: skip
    whole = subnet_loss(net, arch, IMAGES, LABELS, Numerics.FLOAT)
    assert whole == pytest.approx(sum(pieces) / 300, rel=1e-6)


def test_saliency_is_weight_times_gradient_as_a_share(net: Supernet) -> None:
    saliency = _judge(net).saliency()
    layers = [la for la in SPACE.layers(SPACE.largest()) if la.weighted]
    assert list(saliency) == [layer.name for layer in layers]
    for layer in layers:
        weight = net.module(layer).get_parameter("weight")
        score = saliency[layer.name]
        assert score.shape == weight.shape
        assert score.dtype == np.float64
        assert (score >= 0).all()
        assert 0 < score.sum() <= 1
    again = _judge(net).saliency()
    assert all(np.array_equal(saliency[name], again[name]) for name in saliency)
    assert all(parameter.grad is None for parameter in net.parameters())
    # The classifier's gradient is the mean feature summed over images, the same for each class.
    classifier = net.modules_by_layer["logits"].get_parameter("weight").detach()
    ratio = saliency["logits"] / classifier.abs().double().numpy()
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape), rtol=1e-4)


def _loss(net: Supernet, arch: Arch) -> torch.Tensor:
    logits = net(to_input(BATCH.images, arch.resolution), arch, numerics=Numerics.FLOAT)
    return F.cross_entropy(logits, torch.from_numpy(BATCH.labels))


def _gradients(net: Supernet) -> list[torch.Tensor]:
    found = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    return found


def test_measured_gradients_add_up_like_plain_ones(net: Supernet) -> None:
    weights = (1.0, 0.25, 0.0)
    for arch, weight in zip(ARCHS, weights, strict=True):
        assert add_gradient(_loss(net, arch), weight) == {}
    plain = _gradients(net)
    norms = [
        add_measured_gradient(net, arch, _loss(net, arch), weight)
        for arch, weight in zip(ARCHS, weights, strict=True)
    ]
    for one, two in zip(plain, _gradients(net), strict=True):
        torch.testing.assert_close(one, two)
    for arch, found in zip(ARCHS, norms, strict=True):
        _loss(net, arch).backward()
        alone = dict(zip(net.parameters(), _gradients(net), strict=True))
        layers = [layer for layer in SPACE.layers(arch) if layer.weighted]
        assert list(found) == [layer.name for layer in layers]
        for layer in layers:
            own = alone[net.module(layer).get_parameter("weight")].norm().item()
            assert found[layer.name] == pytest.approx(own, rel=1e-4)
