"""Mixed precision: convolutions multiply in a short type, nothing else does."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

import edgenas.model.supernet
from edgenas.model.elastic import convolve
from edgenas.model.images import to_input
from edgenas.model.normalise import normalise
from edgenas.model.numerics import Numerics
from edgenas.model.peers import Peers
from edgenas.model.supernet import Supernet
from edgenas.space.layers import Layer
from edgenas.train.checkpoint import Checkpoint
from edgenas.train.loop import StepReport, read_metrics, train
from edgenas.train.precision import products_type
from edgenas.train.recipe import RecipeError
from tests.edgenas.train.runs import DATA, RECIPE, SPACE, digits

CPU = torch.device("cpu")
SHORT = RECIPE.override(epochs=1.25)


@pytest.mark.parametrize(
    ("precision", "found"),
    [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_a_processor_multiplies_in_float32_unless_told(precision: str, found: torch.dtype) -> None:
    assert products_type(precision, CPU) == found


def test_an_accelerator_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Units:
        @staticmethod
        def is_bf16_supported(including_emulation: bool = True) -> bool:
            return including_emulation  # it has none, it only could do as if

    device = torch.device("meta")  # stands for any that is no processor
    monkeypatch.setattr(torch, "get_device_module", lambda of: Units)
    assert products_type("auto", device) == torch.float32
    monkeypatch.setattr(Units, "is_bf16_supported", staticmethod(lambda **how: True))
    assert products_type("auto", device) == torch.bfloat16
    monkeypatch.setattr(torch, "get_device_module", lambda of: object())
    assert products_type("auto", device) == torch.float32


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(RecipeError, match="expected one of auto, float32, bfloat16, got 'half'"):
        products_type("half", CPU)


@pytest.mark.parametrize("numerics", [Numerics.FLOAT, Numerics.INT8])
def test_only_convolutions_see_the_short_type(
    monkeypatch: pytest.MonkeyPatch, numerics: Numerics
) -> None:
    torch.manual_seed(0)
    net, x = Supernet(SPACE).train(), to_input(digits().images[:32], 9)
    exact = net(x, SPACE.largest(), numerics=numerics).detach()
    multiplied: list[torch.dtype] = []
    normalised: list[torch.dtype] = []

    def convolve_seen(x: Tensor, weight: Tensor, layer: Layer) -> Tensor:
        y = convolve(x, weight, layer)
        multiplied.extend((x.dtype, weight.dtype, y.dtype))
        return y

    def normalise_seen(x: Tensor, gamma: Tensor, beta: Tensor, eps: float, peers: Peers) -> Tensor:
        normalised.append(x.dtype)
        return normalise(x, gamma, beta, eps, peers)

    monkeypatch.setattr(edgenas.model.supernet, "convolve", convolve_seen)
    monkeypatch.setattr(edgenas.model.supernet, "normalise", normalise_seen)
    net.products = torch.bfloat16
    logits = net(x, SPACE.largest(), numerics=numerics)
    logits.square().mean().backward()
    assert set(multiplied) == {torch.bfloat16}
    assert set(normalised) == {logits.dtype} == {net.ranges.dtype} == {torch.float32}
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    assert gradients
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in gradients)
    error = (logits.detach() - exact).square().mean().sqrt() / exact.std()
    assert 0 < error < 0.2


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Path]:
    """A run in bfloat16, stopped after six steps and gone on with in float32."""
    folder = tmp_path_factory.mktemp("short")
    with pytest.raises(StopIteration):
        _train(folder, torch.bfloat16, stop_after=6)
    return _train(folder, torch.float32), folder


def _train(folder: Path, products: torch.dtype, stop_after: int = -1) -> Checkpoint:
    split = digits()

    def on_step(report: StepReport) -> None:
        if report.step == stop_after:
            raise StopIteration

    return train(
        SPACE, split.images[:256], split.labels[:256], SHORT, folder, DATA,
        on_step=on_step, products=products,
    )  # fmt: skip


def test_a_short_type_trains_as_float32_does(
    tmp_path: Path, short: tuple[Checkpoint, Path]
) -> None:
    exact = _train(tmp_path, torch.float32)
    assert short[0].digest() != exact.digest()
    assert short[0].finished
    for ours, theirs in zip(read_metrics(short[1]), read_metrics(tmp_path), strict=True):
        assert ours.loss_largest == pytest.approx(theirs.loss_largest, abs=0.15)
        assert math.isfinite(ours.loss_smallest)


def test_what_was_trained_is_used_in_float32(short: tuple[Checkpoint, Path]) -> None:
    net = short[0].supernet()
    assert net.products == torch.float32
    assert all(value.dtype == torch.float32 for value in short[0].weights.values())
