"""What every quantiser does, run on all that are registered."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from edgenas.export.parity import twin_codes
from edgenas.model.calibrate import calibrate, estimate_ranges, estimate_statistics
from edgenas.model.elastic import ElasticConv
from edgenas.model.quant import fake_quantize, nudged_range, scale_zero
from edgenas.model.quantisers import ACTIVATIONS, WEIGHTS, ActivationQuantiser, WeightQuantiser
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch, ArchError
from edgenas.space.layers import INPUT, Layer
from edgenas.train.recipe import CHOICES
from tests.edgenas.model.nets import MIXED, awkward_net, pictures, sampled

RANGES = torch.tensor([[0.0, 1.0], [0.0, 6.0], [-3.0, 1.0], [0.0, 0.0]])
PAIRS = [(activations, weights) for activations in ACTIVATIONS for weights in WEIGHTS]


def test_recipes_name_every_quantiser() -> None:
    assert CHOICES["activations"] == tuple(ACTIVATIONS)
    assert CHOICES["weights"] == tuple(WEIGHTS)


# --- activations -------------------------------------------------------------------------------


@pytest.fixture(params=ACTIVATIONS)
def activations(request: pytest.FixtureRequest) -> ActivationQuantiser:
    """Begun from `RANGES`."""
    made = ACTIVATIONS[request.param](len(RANGES))
    made.begin(RANGES)
    return made


def test_all_begin_with_the_observed_ranges(activations: ActivationQuantiser) -> None:
    scale, zero, met = activations.grids(RANGES)
    expected, zeros = scale_zero(RANGES)
    assert scale[:3].tolist() == expected[:3].tolist()
    assert zero.tolist() == zeros.tolist()
    assert zero.dtype is torch.int32
    assert met.tolist() == [True, True, True, False]


@pytest.mark.parametrize(("row", "relu"), [(1, True), (2, False)])
def test_all_give_the_numbers_of_their_grid(
    activations: ActivationQuantiser, row: int, relu: bool
) -> None:
    scales, zeros, _ = activations.grids(RANGES)
    scale, zero = scales[row].item(), int(zeros[row])
    y = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 4
    y.requires_grad_()
    got = activations.quantise(y, row, scale, zero, relu=relu)
    expected = fake_quantize(y, scale, zero)
    assert torch.equal(got, expected)
    if relu:
        assert got.min() == 0
    (ours,) = torch.autograd.grad(got.square().sum(), y, retain_graph=True)
    (plain,) = torch.autograd.grad(expected.square().sum(), y)
    assert torch.equal(ours, plain)


def test_their_state_is_all_there_is(activations: ActivationQuantiser) -> None:
    with torch.no_grad():
        for number, parameter in enumerate(activations.parameters()):
            parameter.mul_(1.25 + number)
    fresh = type(activations)(len(RANGES))
    fresh.load_state_dict(activations.state_dict())
    for ours, theirs in zip(fresh.grids(RANGES), activations.grids(RANGES), strict=True):
        assert torch.equal(ours, theirs)


# --- weights -----------------------------------------------------------------------------------


@pytest.fixture(params=WEIGHTS)
def weights(request: pytest.FixtureRequest) -> WeightQuantiser:
    """Any of them."""
    return WEIGHTS[request.param]()


def _module(weights: WeightQuantiser) -> tuple[ElasticConv, Layer]:
    torch.manual_seed(3)
    module = ElasticConv(8, 6, (5, 5))
    weights.prepare(module)
    weights.begin(module)
    return module, Layer("conv", "conv", (INPUT,), 3, 4, (3, 3), (1, 1), (8, 8))


def test_codes_are_those_of_training_with_the_signs_of_what_is_folded_in(
    weights: WeightQuantiser,
) -> None:
    module, layer = _module(weights)
    factor = torch.tensor([0.5, -2.0, 1e-3, -1.0])
    for bits in weights.bits:
        trained = weights.fake_quantize(module, layer, bits)
        codes, scale = weights.codes(module, layer, torch.ones(4), bits)
        assert codes.abs().max() <= 127
        real = (codes * scale.view(-1, 1, 1, 1)).float()
        torch.testing.assert_close(real, trained.detach(), rtol=1e-6, atol=0.0)
        folded, folded_scale = weights.codes(module, layer, factor, bits)
        assert torch.equal(folded, codes * factor.sign().view(-1, 1, 1, 1))
        torch.testing.assert_close(folded_scale, scale * factor.abs(), rtol=1e-6, atol=0.0)


def test_fewer_bits_are_derived_from_the_stored_codes(weights: WeightQuantiser) -> None:
    module, layer = _module(weights)
    stored, scale = weights.codes(module, layer, torch.ones(4), weights.bits[0])
    for bits in weights.bits[1:]:
        codes, same_scale = weights.codes(module, layer, torch.ones(4), bits)
        step, most = 2 ** (8 - bits), 2 ** (bits - 1) - 1
        assert torch.equal(codes, step * torch.round(stored / step).clamp(-most, most))
        assert torch.equal(same_scale, scale)
        assert len(codes.unique()) <= 2 * most + 1


def test_gradients_reach_the_slice_and_the_precisions_own_steps(weights: WeightQuantiser) -> None:
    module, layer = _module(weights)
    for bits in weights.bits:
        module.zero_grad()
        weights.fake_quantize(module, layer, bits).square().sum().backward()
        assert module.weight.grad is not None
        assert module.weight.grad[:4, :3, 1:4, 1:4].any()
        assert not module.weight.grad[4:].any()
        for other in weights.bits:
            for step in weights.learned(module, other):
                assert (step.grad is not None) == (other == bits)
                if other == bits:
                    assert step.grad is not None
                    assert step.grad[:4].all()
                    assert not step.grad[4:].any()


# --- in a supernet -----------------------------------------------------------------------------


def _made(activations: str, weights: str) -> Supernet:
    """A net with awkward numbers whose learned steps are no longer where they began."""
    net = Supernet(MIXED, activations, weights)
    net.load_state_dict(awkward_net(MIXED, 4).state_dict(), strict=False)
    net.begin_int8()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for steps in net.learned_steps().values():
            for step in steps:
                step.mul_(1 + 0.2 * torch.rand(step.shape, generator=generator))
    return net.eval()


@pytest.mark.parametrize(("activations", "weights"), PAIRS)
def test_a_pass_in_training_gives_finite_gradients_to_everything(
    activations: str, weights: str
) -> None:
    net = _made(activations, weights).train()
    arch = MIXED.largest()
    x = pictures(MIXED, arch.resolution, 8, 0)
    for bits in net.weight_quantiser.bits:
        net(x, replace(arch, bits=bits)).square().mean().backward()
    steps = net.learned_steps()
    assert set(steps) == ({0} if "lsq" in activations else set()) | (
        {8, 4} if weights == "double_rounding" else set()
    )
    everything = [*net.shared_weights(), *(step for group in steps.values() for step in group)]
    assert {id(p) for p in everything} == {id(p) for p in net.parameters()}
    assert len(everything) == len(list(net.parameters()))
    for group in steps.values():
        found = [step.grad for step in group if step.grad is not None]
        assert all(gradient.isfinite().all() for gradient in found)
        assert any(gradient.any() for gradient in found)
    used = [net.module(layer) for layer in MIXED.layers(arch) if layer.weighted]
    assert all(p.grad is not None for module in used for p in module.parameters())


@pytest.mark.parametrize(("activations", "weights"), PAIRS)
def test_deployed_numbers(activations: str, weights: str) -> None:
    """As trained where that is the rule; else as estimated. All forms of a subnet agree on them."""
    net = _made(activations, weights)
    for arch in sampled(MIXED, 3, 5):
        for bits in net.weight_quantiser.bits:
            _check_deployed(net, replace(arch, bits=bits))


def _check_deployed(net: Supernet, arch: Arch) -> None:
    batches = [pictures(MIXED, arch.resolution, 8, i) for i in range(2)]
    found = calibrate(net, arch, batches)
    names = [layer.name for layer in MIXED.layers(arch)]
    statistics = estimate_statistics(net, arch, batches)
    estimated = replace(statistics, ranges=estimate_ranges(net, arch, statistics, batches))
    scale, zero, met = net.grids()
    for name in names:
        row = net.row(name)
        if net.activation_quantiser.deploys_trained and met[row]:
            assert found.scale_zero(name) == (scale[row].item(), zero[row].item())
            assert found.ranges[name] == nudged_range(*found.scale_zero(name))
        else:
            assert found.scale_zero(name) == estimated.scale_zero(name)
    assert found.scale_zero(INPUT) == (torch.tensor(1 / 255).item(), -128)
    _check_forms(net, arch, batches[0], found.scale_zero("logits"))


def _check_forms(net: Supernet, arch: Arch, x: Tensor, grid: tuple[float, int]) -> None:
    calibration = calibrate(net, arch, [x])
    subnet = net.extract(arch, calibration)
    shared = net(x, arch, calibration=calibration)
    assert torch.equal(subnet(x), shared)
    codes = torch.round(x * 255 - 128).permute(0, 2, 3, 1).to(torch.int8).numpy()
    scale, zero = calibration.scale_zero("logits")
    expected = torch.round(shared / scale) + zero
    assert expected.tolist() == twin_codes(subnet, codes).tolist()
    if net.activation_quantiser.deploys_trained:
        assert (scale, zero) == grid


@pytest.mark.parametrize("activations", [name for name in ACTIVATIONS if "lsq" in name])
def test_a_tensor_that_training_never_met_is_calibrated(activations: str) -> None:
    net, arch = _made(activations, "min_max"), MIXED.smallest()
    name = MIXED.layers(arch)[2].name
    with torch.no_grad():
        net.activation_quantiser.get_parameter("step")[net.row(name)] = 0.0
    x = pictures(MIXED, arch.resolution, 16, 2)
    calibration = calibrate(net, arch, [x])
    assert name not in calibration.grids
    assert calibration.ranges[name][1] > 0
    assert net(x, arch, calibration=calibration).isfinite().all()
    net.train()(x, arch).sum().backward()
    step = net.activation_quantiser.get_parameter("step")
    assert step.grad is not None
    assert step.grad[net.row(name)] == 0
    assert step.grad.any()


@pytest.mark.parametrize("activations", [name for name in ACTIVATIONS if "lsq" in name])
def test_steps_that_ran_away_below_0_still_make_a_network(activations: str) -> None:
    net, arch = _made(activations, "double_rounding"), MIXED.smallest()
    net.begin_int8()
    first, _, met = net.grids()
    with torch.no_grad():
        for steps in net.learned_steps().values():
            for step in (step for step in steps if step.max() < 1):  # not the zero points
                step[step != 0] = -0.05
    x = pictures(MIXED, arch.resolution, 16, 2)
    torch.testing.assert_close(net.grids().scale[met], first[met] / 16)
    for bits in (8, 4):
        subnet = net.extract(replace(arch, bits=bits), calibrate(net, arch, [x]))
        assert subnet(x).isfinite().all()
        for layer in (layer for layer in subnet.layers if layer.weighted):
            assert subnet.weight_codes(layer)[1].gt(0).all()
            assert subnet.weight_codes(layer)[0].any()


def test_bits_that_a_supernet_does_not_have() -> None:
    net, arch = _made("subnet_ranges", "min_max"), MIXED.smallest()
    assert net.check(arch) == arch
    with pytest.raises(ArchError, match=r"bits among \(8,\), got 4; .*double_rounding"):
        net.check(replace(arch, bits=4))
    with pytest.raises(ArchError, match="stem among"):
        _made("lsq", "double_rounding").check(replace(arch, bits=4, stem=3))
