"""Gradients of shared weights: which are shared, that they are right, that nothing is changed."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from edgenas.model.images import to_input
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch
from edgenas.space.narrowing import choices, narrowed, with_option
from edgenas.space.space import ArchSpace
from edgenas.train.batches import Augmentation, Batches
from edgenas.train.inheriting import read_source
from edgenas.train.losses import label_loss
from edgenas.train.splitting import SplittingError, disagreement, expected_bytes
from edgenas.train.splitting.agreement import cosine_distances, shared_gradients
from tests.edgenas.train.inheriting.plain import RESNET
from tests.edgenas.train.inheriting.test_checkpoints import SHORT, SPACES, start
from tests.edgenas.train.runs import SPACE, digits, run

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Supernet]:
    """Supernets that have learned a little."""
    return {
        space.name: run(tmp_path_factory.mktemp("net"), SHORT, space=space).supernet()
        for space in SPACES.values()
    }


def batches(size: int = 32) -> Batches:
    split = digits()
    return Batches(split.images[:256], split.labels[:256], size, Augmentation(), 0)


def test_distances_of_known_directions() -> None:
    rows = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [1.0, 1.0]])
    found = cosine_distances(rows)
    half = 1 - math.sqrt(0.5)
    wanted = [[0, 0, 1, 2, half], [0, 0, 1, 2, half], [1, 1, 0, 1, half], [2, 2, 1, 0, 2 - half],
              [half, half, half, 2 - half, 0]]  # fmt: skip
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))


@every_space
def test_shared_weights_are_those_that_every_option_uses(
    space: ArchSpace, nets: dict[str, Supernet]
) -> None:
    """Found another way: the elastic layers slice the places of their own numbers."""
    net, split = nets[space.name], digits()
    labels = torch.from_numpy(split.labels[:32])
    for choice in (c for c in choices(space) if c.always and len(c.options) > 1):
        archs = [with_option(space.largest(), choice.name, option) for option in choice.options]
        inputs = [to_input(split.images[:32], arch.resolution) for arch in archs]
        masks = [used(net, arch) for arch in archs]
        shared = {name: torch.stack([mask[name] for mask in masks]).all(0) for name in masks[0]}
        rows = shared_gradients(net, archs, inputs, labels)
        assert rows.shape == (len(archs), sum(int(mask.sum()) for mask in shared.values()))
        for arch, x, row in zip(archs, inputs, rows, strict=True):
            net.zero_grad()
            label_loss(net(x, arch, numerics=Numerics.INT8), labels, 0.0).backward()
            square = sum(
                float((parameter.grad[shared[name]] ** 2).sum())
                for name, parameter in net.named_parameters()
                if parameter.grad is not None
            )
            assert float((row**2).sum()) == pytest.approx(square, rel=1e-4)
        net.zero_grad(set_to_none=True)


def used(net: Supernet, arch: Arch) -> dict[str, Tensor]:
    """Which numbers of each parameter a subnet uses."""
    found = {name: torch.zeros(p.shape, dtype=torch.bool) for name, p in net.named_parameters()}
    owners = {module: name for name, module in net.named_modules()}
    for layer in (layer for layer in net.space.layers(arch) if layer.weighted):
        module = net.module(layer)
        for name, parameter in module.named_parameters():
            places = torch.arange(parameter.numel()).view(parameter.shape)
            if name == "weight":
                places = type(module).slice(SimpleNamespace(weight=places), layer)  # type: ignore[arg-type]
            else:
                places = places[: layer.cout]
            found[f"{owners[module]}.{name}"].view(-1)[places.flatten()] = True
    return found


def test_a_choice_is_compared_on_the_rest_of_its_part_only(nets: dict[str, Supernet]) -> None:
    net = nets["tiny"]
    kernel = next(c for c in choices(SPACE) if c.name == "s0.b0.kernel")
    part = narrowed(narrowed(SPACE, "s0.width", (16,)), "resolution", (8,))
    whole = disagreement(net, SPACE, kernel, batches(), 3, 0)
    less = disagreement(net, part, kernel, batches(), 3, 0)
    assert whole.distances != less.distances


@every_space
def test_distances_are_distances_and_nothing_is_changed(
    space: ArchSpace, nets: dict[str, Supernet]
) -> None:
    net = nets[space.name].train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for choice in (c for c in choices(space) if c.always and len(c.options) > 1):
        found = disagreement(net, space, choice, batches(), 2, 7)
        matrix = torch.tensor(found.distances)
        assert found.choice == choice
        assert torch.equal(matrix, matrix.T)
        assert (matrix.diagonal() == 0).all()
        assert ((matrix >= 0) & (matrix <= 2)).all()
        assert matrix.max() > 0  # different options do differ
        again = disagreement(net, space, choice, batches(), 2, 7)
        assert again == found
        assert disagreement(net, space, choice, batches(), 2, 8) != found
    assert net.training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_the_mean_over_batches(nets: dict[str, Supernet]) -> None:
    """Two batches are the mean of the first and of the second."""
    net, choice = nets["residual"], choices(RESNET)[0]
    one = torch.tensor(disagreement(net, RESNET, choice, batches(), 1, 0).distances)
    two = torch.tensor(disagreement(net, RESNET, choice, batches(), 2, 0).distances)
    second = 2 * two - one
    assert ((second >= 0) & (second <= 2)).all()
    assert not torch.equal(one, two)


def test_a_net_that_has_diverged_is_told() -> None:
    net = Supernet(SPACE)
    with torch.no_grad():
        net.modules_by_layer["head"].get_parameter("weight").fill_(math.nan)
    with pytest.raises(SplittingError, match="expected finite gradients"):
        disagreement(net, SPACE, choices(SPACE)[0], batches(), 1, 0)


@pytest.mark.parametrize(
    ("name", "kept"), [("s0.width", (16,)), ("s0.depth", (1,)), ("s0.b0.kernel", (3,))]
)
def test_the_size_of_a_part_is_foreseen(name: str, kept: tuple[int, ...], tmp_path: Path) -> None:
    parent = start(tmp_path / "parent", None, SHORT.override(epochs=0.3))
    file = tmp_path / "parent" / "checkpoint.pt"
    part = narrowed(SPACE, name, kept)
    foreseen = expected_bytes(part, parent, file.stat().st_size)
    run(tmp_path / "part", SHORT.override(epochs=0.3), space=part)
    real = (tmp_path / "part" / "checkpoint.pt").stat().st_size
    assert foreseen == pytest.approx(real, rel=0.06)
    assert foreseen < file.stat().st_size
    assert expected_bytes(SPACE, parent, file.stat().st_size) == file.stat().st_size
    assert read_source(file).identity == parent.digest()
