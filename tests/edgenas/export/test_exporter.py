"""Kept exports: found again, made again when damaged, never half there."""

import json
import os
from dataclasses import replace
from pathlib import Path

import onnx
import onnx2tf
import pytest
import torch

import edgenas.export.exporter
from edgenas.export.convert import float_tflite
from edgenas.export.errors import ConversionError, ExportError, ParityError
from edgenas.export.exporter import Exported, Exporter
from edgenas.export.onnx_writer import onnx_model
from edgenas.export.parity import check_graph
from edgenas.export.run_bytes import run_codes
from edgenas.model.images import to_codes
from edgenas.model.subnet import Subnet
from edgenas.space.arch import Arch, ArchError
from edgenas.space.presets import preset
from tests.edgenas.export.trained import Trained
from tests.edgenas.train.quota import file_size_limit


@pytest.fixture
def arch(grey: Trained) -> Arch:
    return grey.space.smallest()


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _same(one: Exported, two: Exported) -> bool:
    return replace(one, seconds={}, cached=False) == replace(two, seconds={}, cached=False)


def test_the_second_time_is_free(grey: Trained, arch: Arch, tmp_path: Path) -> None:
    exporter = grey.exporter(tmp_path)
    first = exporter.export(arch)
    assert not first.cached
    assert set(first.seconds) == {"calibrate", "onnx", "onnx2tf", "quantise", "parity"}
    assert first.parity.max_lsb == 0
    assert first.size_bytes == first.path.stat().st_size > grey.space.weight_bytes(arch)
    stamp = first.path.stat().st_mtime_ns
    for again in (exporter.export(arch), grey.exporter(tmp_path).export(arch)):
        assert again.cached
        assert again.seconds == {}
        assert _same(first, again)
    assert first.path.stat().st_mtime_ns == stamp
    assert _names(tmp_path) == {
        f"{grey.digest[:16]}/{arch.id}/{name}"
        for name in ("model.tflite", "calibration.pt", "export.json")
    }


def test_a_kept_calibration_gives_the_kept_network(
    grey: Trained, arch: Arch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = grey.exporter(tmp_path)
    exported = exporter.export(arch)
    fresh = grey.exporter(tmp_path / "other").calibration(arch)
    monkeypatch.setattr(edgenas.export.exporter, "calibrate", None)  # must not be needed
    kept = exporter.calibration(arch)
    assert kept.ranges == fresh.ranges
    assert all(torch.equal(kept.var[name], fresh.var[name]) for name in fresh.var)
    check_graph(exported.path.read_bytes(), exporter.subnet(arch))


@pytest.mark.parametrize("damage", ["bit", "garbage"])
def test_a_damaged_calibration_is_not_used(
    grey: Trained, arch: Arch, tmp_path: Path, damage: str
) -> None:
    exporter = grey.exporter(tmp_path)
    path = exporter.export(arch).path.with_name("calibration.pt")
    good = exporter.calibration(arch)
    content = path.read_bytes()
    stored = good.var["head"].numpy().tobytes()
    assert content.count(stored) == 1
    bad = bytes([stored[0] ^ 1]) + stored[1:]
    path.write_bytes(content.replace(stored, bad) if damage == "bit" else b"garbage")
    found = exporter.calibration(arch)
    assert found.ranges == good.ranges
    assert all(torch.equal(found.var[name], good.var[name]) for name in good.var)


def test_another_checkpoint_is_another_cache(grey: Trained, arch: Arch, tmp_path: Path) -> None:
    grey.exporter(tmp_path).export(arch)
    other = Exporter(grey.net, "f" * 64, grey.images, tmp_path, 256)
    assert not other.export(arch).cached


@pytest.mark.parametrize("name", ["model.tflite", "calibration.pt", "export.json"])
@pytest.mark.parametrize("damage", ["changed", "truncated", "absent"])
def test_damaged_exports_are_made_again(
    grey: Trained, arch: Arch, tmp_path: Path, name: str, damage: str
) -> None:
    exporter = grey.exporter(tmp_path)
    first = exporter.export(arch)
    path = first.path.with_name(name)
    content = path.read_bytes()
    if damage == "absent":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        if name == "export.json":
            card = {**json.loads(content), "sha256": "0" * 64}
            path.write_text(json.dumps(card), "utf-8")
    again = exporter.export(arch)
    assert not again.cached
    assert _same(first, again)
    assert exporter.export(arch).cached


@pytest.mark.parametrize("card", [[], {}, {"arch": {"stages": 3}}, {"parity": {}}, "text", None])
def test_a_card_that_is_none(grey: Trained, arch: Arch, tmp_path: Path, card: object) -> None:
    exporter = grey.exporter(tmp_path)
    path = exporter.export(arch).path.with_name("export.json")
    if isinstance(card, dict) and card:
        card = {**json.loads(path.read_text("utf-8")), **card}
    path.write_text(json.dumps(card), "utf-8")
    assert not exporter.export(arch).cached


def test_a_kill_between_writing_and_renaming(grey: Trained, arch: Arch, tmp_path: Path) -> None:
    exporter = grey.exporter(tmp_path)
    first = exporter.export(arch)
    home = first.path.parent
    for written in (["model.tflite"], ["model.tflite", "calibration.pt"]):
        unfinished = home.with_name(f".making-{len(written)}")
        unfinished.mkdir()
        for name in written:
            (unfinished / name).write_bytes((home / name).read_bytes()[:100])
    for path in home.iterdir():
        path.unlink()
    home.rmdir()
    again = grey.exporter(tmp_path).export(arch)
    assert not again.cached
    assert _same(first, again)


def test_an_interrupt_leaves_nothing_half_done(
    grey: Trained, arch: Arch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            grey.exporter(tmp_path).export(arch)
    assert _names(tmp_path) == set()
    assert not grey.exporter(tmp_path).export(arch).cached


@pytest.mark.parametrize("where", ["write", "rename"])
def test_a_full_disk_keeps_what_is_there(
    grey: Trained, arch: Arch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    exporter = grey.exporter(tmp_path)
    kept = exporter.export(arch)
    before = {name: (tmp_path / name).read_bytes() for name in _names(tmp_path)}
    other = grey.space.largest()

    def refuse(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if where == "rename":
            patch.setattr(os, "replace", refuse)
        limit = 3000 if where == "write" else 2**30
        with (
            file_size_limit(limit),
            pytest.raises(ExportError, match=r"free disk space"),
        ):
            exporter.export(other)
    assert {name: (tmp_path / name).read_bytes() for name in _names(tmp_path)} == before
    assert exporter.export(arch).cached
    assert kept.path.exists()
    assert not exporter.export(other).cached


def test_a_folder_that_cannot_be(grey: Trained, arch: Arch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=r"expected room for an export .*; free disk space"):
        grey.exporter(tmp_path / "file").export(arch)


def test_bytes_that_fail_the_gate_are_not_kept(
    grey: Trained, arch: Arch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = grey.exporter(tmp_path)
    good = exporter.subnet(arch)

    def float_instead(float_model: bytes, subnet: object) -> bytes:
        return float_model

    with monkeypatch.context() as patch:
        patch.setattr(edgenas.export.exporter, "quantise", float_instead)
        with pytest.raises(ParityError, match="expected integers, got FLOAT32"):
            exporter.export(arch)
    assert _names(tmp_path) == set()
    biases = {**good.biases, "logits": good.biases["logits"] + 1.0}
    wrong = replace(good, biases=biases)
    with monkeypatch.context() as patch:  # a converter that computes something else
        model = float_tflite(onnx_model(wrong))
        patch.setattr(edgenas.export.exporter, "float_tflite", lambda graph: model)
        with pytest.raises(ParityError, match="layer logits: expected the trained biases"):
            exporter.export(arch)
    assert _names(tmp_path) == set()
    assert not exporter.export(arch).cached


def test_a_converter_that_fails(
    grey: Trained, arch: Arch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(**options: object) -> None:
        print("this operator is not implemented")
        raise SystemExit(1)

    with monkeypatch.context() as patch:
        patch.setattr(onnx2tf, "convert", give_up)
        with pytest.raises(ConversionError, match=r"got SystemExit: 1; .* is not implemented"):
            grey.exporter(tmp_path).export(arch)
    assert not grey.exporter(tmp_path).export(arch).cached


@pytest.mark.parametrize(
    ("what", "message"),
    [("foreign", r"converted graph: expected .operator, inputs"), ("empty", "expected one input")],
)
def test_a_converter_that_makes_something_of_a_broken_graph(
    grey: Trained,
    arch: Arch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    message: str,
) -> None:
    """onnx2tf drops and invents operators rather than complain."""

    def broken(subnet: Subnet) -> onnx.ModelProto:
        graph = onnx_model(subnet)
        if what == "empty":
            return onnx.ModelProto()
        graph.graph.node[3].op_type = "NoSuchOperator"
        return graph

    monkeypatch.setattr(edgenas.export.exporter, "onnx_model", broken)
    with pytest.raises(ConversionError, match=message):
        grey.exporter(tmp_path).export(arch)


def test_an_overflowing_bias_is_a_failed_export(grey: Trained, arch: Arch, tmp_path: Path) -> None:
    """A search goes on past an ExportError, and only past that."""
    net = type(grey.net)(grey.space).eval()
    net.load_state_dict(grey.net.state_dict())
    head = net.modules_by_layer["head"]
    with torch.no_grad():
        head.weight[0] = 0.0  # type: ignore[operator]
        head.beta[0] = 1.0  # type: ignore[operator]
    with pytest.raises(ExportError, match="expected a bias below"):
        Exporter(net, "0" * 64, grey.images, tmp_path, 64).export(arch)


def test_what_does_not_belong_here(grey: Trained, tmp_path: Path) -> None:
    exporter = grey.exporter(tmp_path)
    with pytest.raises(ArchError, match=r"expected .* among"):
        exporter.export(preset("cifar", channels=1, classes=10).smallest())
    with pytest.raises(ExportError, match="expected >= 2 calibration images, got 1"):
        Exporter(grey.net, grey.digest, grey.images[:1], tmp_path)
    assert _names(tmp_path) == set()


def test_few_and_uneven_calibration_images(grey: Trained, arch: Arch, tmp_path: Path) -> None:
    for count in (2, 257, 599):
        exporter = Exporter(grey.net, f"{count:064}", grey.images, tmp_path, count)
        assert exporter.export(arch).parity.max_lsb == 0


def test_the_kept_file_runs(grey: Trained, arch: Arch, tmp_path: Path) -> None:
    exported = grey.exporter(tmp_path).export(arch)
    codes = to_codes(grey.unseen[:5], arch.resolution)
    outputs = run_codes(exported.path.read_bytes(), codes)
    assert outputs.shape == (5, 10)
    assert len({row.tobytes() for row in outputs}) == 5
