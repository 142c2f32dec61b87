"""A plain float model becomes the largest subnet: equal outputs, whatever its names and form."""

import io
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgenas.model.calibrate import estimate_statistics
from edgenas.model.images import to_input
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.presets import PRESETS
from edgenas.space.space import ArchSpace
from edgenas.train.inheriting import MismatchError, SourceError, inherit, read_names, read_source
from edgenas.train.inheriting.inherit import statistics_batches
from tests.edgenas.train.inheriting.plain import (
    RESNET,
    SPACES,
    Plain,
    trained,
    write_safetensors,
)
from tests.edgenas.train.runs import SPACE, digits

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


@torch.no_grad()
def float_answer(net: Supernet) -> Tensor:
    """What the largest subnet says with statistics as they are taken for its export."""
    arch = net.space.largest()
    batches = statistics_batches(digits().images, net.space)
    statistics = estimate_statistics(net, arch, batches, Numerics.FLOAT)
    x = to_input(digits().images[1100:1164], arch.resolution)
    answer: Tensor = net(x, arch, numerics=Numerics.FLOAT, calibration=statistics)
    return answer


@torch.no_grad()
def plain_answer(model: Plain, space: ArchSpace) -> Tensor:
    answer: Tensor = model(to_input(digits().images[1100:1164], space.largest().resolution))
    return answer


def taken_over(space: ArchSpace, path: Path, names: Path | None = None) -> Supernet:
    torch.manual_seed(1)
    net = Supernet(space).eval()
    source = read_source(path, names=None if names is None else read_names(names))
    inherit(net, source, digits().images)
    return net


def assert_same(net: Supernet, model: Plain) -> None:
    wanted = plain_answer(model, net.space)
    assert wanted.std() > 0.1
    torch.testing.assert_close(float_answer(net), wanted, rtol=2e-4, atol=2e-4)


@every_space
def test_a_model_with_running_statistics(space: ArchSpace, tmp_path: Path) -> None:
    model = trained(space)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    net = taken_over(space, tmp_path / "model.pt")
    assert_same(net, model)
    stem = net.modules_by_layer["stem"].get_parameter("weight")
    assert torch.equal(stem, model.unit("stem").conv.weight)


@every_space
def test_a_model_whose_batchnorm_is_folded(space: ArchSpace, tmp_path: Path) -> None:
    """As `Supernet.extract` cuts it, by our names and in any order."""
    model = trained(space)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    net, arch = taken_over(space, tmp_path / "model.pt"), space.largest()
    batches = statistics_batches(digits().images, space)
    subnet = net.extract(arch, estimate_statistics(net, arch, batches, Numerics.FLOAT))
    folded = {f"{name}.weight": value for name, value in subnet.weights.items()}
    folded |= {f"{name}.bias": value for name, value in subnet.biases.items()}
    torch.save(dict(reversed(folded.items())), tmp_path / "folded.pt")
    assert_same(taken_over(space, tmp_path / "folded.pt"), model)


@every_space
def test_safetensors_forget_the_order(space: ArchSpace, tmp_path: Path) -> None:
    """`answer` comes before `body.0`, so the order must be said; BatchNorm after its kernel."""
    model = trained(space)
    write_safetensors(model.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(MismatchError, match="--weights-names"):
        taken_over(space, tmp_path / "model.safetensors")
    lines = ["logits = 'answer'"]
    for name, number in model.number.items():
        lines.append(f"{name} = ['body.{number}.conv', 'body.{number}.norm']")
    (tmp_path / "names.toml").write_text("\n".join(lines), "utf-8")
    assert_same(taken_over(space, tmp_path / "model.safetensors", tmp_path / "names.toml"), model)


def test_what_others_save_around_a_state_dict(tmp_path: Path) -> None:
    model = trained(SPACE)
    wrapped = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "model.pth")
    assert_same(taken_over(SPACE, tmp_path / "model.pth"), model)
    half = {name: value.half() for name, value in model.state_dict().items()}
    half["answer.weight"] = half["answer.weight"][:, :, None, None]  # a 1x1 convolution
    torch.save(half, tmp_path / "half.pt")
    wanted = plain_answer(model, SPACE)
    found = float_answer(taken_over(SPACE, tmp_path / "half.pt"))
    torch.testing.assert_close(found, wanted, rtol=0.02, atol=0.02)


def test_layers_that_the_largest_lacks_keep_their_chance(tmp_path: Path) -> None:
    model = trained(RESNET, steps=1)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    wide = replace(RESNET, stages=(replace(RESNET.stages[0], stride=1), RESNET.stages[1]))
    torch.manual_seed(1)
    fresh = Supernet(wide)
    key = "s0_b0_shortcut"  # 16 channels in, 16 out: in the largest subnet it does not stand
    assert key not in {layer.name.replace(".", "_") for layer in wide.layers(wide.largest())}
    same = Plain(wide)
    torch.save(same.state_dict(), tmp_path / "wide.pt")
    net = taken_over(wide, tmp_path / "wide.pt")
    for name, value in net.modules_by_layer[key].named_parameters():
        assert torch.equal(value, fresh.modules_by_layer[key].get_parameter(name))


def test_each_tensor_that_does_not_fit_is_named(tmp_path: Path) -> None:
    model = trained(SPACE, steps=1)
    state = model.state_dict()
    state["body.0.conv.weight"] = torch.zeros(16, 1, 3, 3)
    state["more.weight"] = torch.zeros(10, 10)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(MismatchError) as caught:
        taken_over(SPACE, tmp_path / "model.pt")
    text = str(caught.value)
    line = "stem: expected [8, 1, 3, 3], got body.0.conv [16, 1, 3, 3] with a BatchNorm of another"
    assert line in text
    assert len(caught.value.lines) == 2
    assert "expected nothing more, got more [10, 10]" in text
    assert "--preset, --only" in text
    torch.save(Plain(PRESETS["digits"]).state_dict(), tmp_path / "other.pt")
    with pytest.raises(MismatchError, match=r"got \d+ that are not:(\n  .*){12}\n  and \d+ more"):
        taken_over(SPACE, tmp_path / "other.pt")


def test_a_model_without_its_last_layers(tmp_path: Path) -> None:
    state = {k: v for k, v in trained(SPACE, 1).state_dict().items() if "answer" not in k}
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(MismatchError, match=r"logits: expected \[10, 32\], got nothing"):
        taken_over(SPACE, tmp_path / "model.pt")
    net = Supernet(SPACE)
    before = net.modules_by_layer["logits"].get_parameter("weight").clone()
    taken = inherit(net, read_source(tmp_path / "model.pt", new_classifier=True), digits().images)
    assert torch.equal(net.modules_by_layer["logits"].get_parameter("weight"), before)
    assert taken.layers == len([la for la in SPACE.layers(SPACE.largest()) if la.weighted]) - 1


def test_channels_that_do_not_vary_are_told(tmp_path: Path) -> None:
    model = trained(SPACE)
    with torch.no_grad():
        model.unit("s0.b0.project").norm.weight[:3] = 0.0
        model.unit("s0.b0.project").norm.bias[:3] = 0.5
    torch.save(model.state_dict(), tmp_path / "model.pt")
    net = Supernet(SPACE).eval()
    taken = inherit(net, read_source(tmp_path / "model.pt"), digits().images)
    assert taken.faint == 3
    assert "3 channels that hardly vary are held at 0.0001" in taken.describe()
    torch.testing.assert_close(float_answer(net), plain_answer(model, SPACE), rtol=0.01, atol=0.01)


def test_other_tensors_give_another_identity(tmp_path: Path) -> None:
    state = Plain(SPACE).state_dict()
    one, two, three = (tmp_path / f"{number}.pt" for number in range(3))
    torch.save(state, one)
    torch.save({"model": state}, two)
    torch.save({**state, "answer.bias": state["answer.bias"] + 1}, three)
    identities = [read_source(path).identity for path in (one, two, three)]
    assert identities[0] == identities[1] != identities[2]
    assert read_source(one, new_classifier=True).identity not in identities
    assert read_source(one, names={"stem": ("body.0.conv",)}).identity not in identities


# --- files -------------------------------------------------------------------------------------


class Trap:
    """Would leave a file behind if it were ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_file_that_would_run_code_does_not(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    torch.save({"weight": Trap(trap)}, tmp_path / "model.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Trap(trap)))
    for name in ("model.pt", "raw.pt"):
        with pytest.raises(SourceError, match="cannot be read safely"):
            read_source(tmp_path / name)
    assert not trap.exists()


def _saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


WRONG_FILES = {
    "empty.pt": (b"", "cannot be read safely"),
    "text.pt": (b"not weights at all", "cannot be read safely"),
    "list.pt": (_saved([1.0, 2.0]), "expected a state dict, got list"),
    "nothing.pt": (_saved({}), "no tensor at all"),
    "ints.pt": (_saved({"a.weight": torch.ones(2, dtype=torch.int32)}), "others as 'a.weight'"),
    "nan.pt": (_saved({"a.weight": torch.tensor([float("nan")])}), "finite numbers"),
    "short.safetensors": (b"\x01", "a header of"),
    "long.safetensors": ((10**9).to_bytes(8, "little") + b"{}", "a header of"),
    "list.safetensors": ((2).to_bytes(8, "little") + b"[]", "no table"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_file_that_holds_no_weights_is_told(name: str, tmp_path: Path) -> None:
    content, words = WRONG_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=words):
        read_source(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"at most 8 GiB at .*none.pt, got none"):
        read_source(tmp_path / "none.pt")


@pytest.mark.parametrize(
    "change", [{"data_offsets": [0, 12]}, {"shape": [5]}, {"shape": [-4]}, {"dtype": "F8"},
               {"data_offsets": [8, 24]}]
)  # fmt: skip
def test_a_header_that_lies(tmp_path: Path, change: dict[str, object]) -> None:
    import json

    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **change}
    text = json.dumps({"a.weight": entry}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
    with pytest.raises(SourceError, match="expected a safetensors file"):
        read_source(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stem = 3", "3 for stem"),
        ("stem = []", "for stem"),
        ("stem = [1]", "for stem"),
        ("stem =", "expected lines such as"),
    ],
)
def test_a_file_of_names_that_says_something_else(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "names.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(SourceError, match=words):
        read_names(path)
    with pytest.raises(SourceError, match="No such file"):
        read_names(tmp_path / "none.toml")


def test_names_that_miss_a_layer_or_a_tensor(tmp_path: Path) -> None:
    torch.save(Plain(SPACE).state_dict(), tmp_path / "model.pt")
    names = tmp_path / "names.toml"
    names.write_text("stem = ['body.0.conv', 'nowhere']\nfoot = 'answer'", "utf-8")
    with pytest.raises(MismatchError) as caught:
        taken_over(SPACE, tmp_path / "model.pt", names)
    lines = "\n".join(caught.value.lines)
    assert "head: expected prefixes of tensors in the file, got none" in lines
    assert "foot: expected a layer with weights, got another name" in lines
    assert "stem: expected a kernel and its BatchNorm, got body.0.conv nowhere" in lines
