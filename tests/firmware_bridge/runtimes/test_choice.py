"""Which runtime runs which file: by content, by what is installed, by an explicit choice; and what
a wheel that this CPU cannot run does to a device.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import firmware_bridge
from firmware_bridge.bench.container import file_format_of, flaw_of
from firmware_bridge.bench.stub import STUB_INPUT, STUB_MODEL, STUB_ONNX
from firmware_bridge.bench.supervise import measure, probe_runtime, self_test
from firmware_bridge.runtimes.choice import (
    RUNTIME_NAMES,
    RUNTIME_VARIABLE,
    chosen_runtime,
    offers_for,
    runs_only,
)
from firmware_bridge.runtimes.errors import (
    ModelRefusedError,
    RuntimeMissingError,
    RuntimeUnknownError,
)
from firmware_bridge.runtimes.installed import find_runtime
from firmware_bridge.wire.messages import JobFailed, Measurement
from tests.firmware_bridge.bench.plans import brisk

TFLITE_MODULES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


@pytest.fixture(params=["tflite", "onnx"])
def stub(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The built-in model, under a name that says nothing."""
    path = tmp_path / "model"
    path.write_bytes({"tflite": STUB_MODEL, "onnx": STUB_ONNX}[request.param])
    return path


def suffix_of(path: Path) -> str:
    return "tflite" if path.read_bytes() == STUB_MODEL else "onnx"


def names(file_format: str | None, chosen: str | None) -> list[str]:
    return [offer.name for offer in offers_for(file_format, chosen)]  # type: ignore[arg-type]


def test_the_format_decides_and_the_choice_wins() -> None:
    tflite = ["ai-edge-litert", "tflite-runtime"]
    assert names("tflite", None) == tflite
    assert names("onnx", None) == ["onnxruntime"]
    assert names(None, None) == [*tflite, "onnxruntime"]
    for name in RUNTIME_NAMES:
        assert names(None, name) == [name]
    assert names("tflite", "tflite-runtime") == ["tflite-runtime"]
    assert names("onnx", "onnxruntime-tensorrt") == ["onnxruntime-tensorrt"]
    assert names("onnx", "ai-edge-litert") == []


def test_the_choice_is_read_from_the_environment() -> None:
    assert chosen_runtime({}) is None
    assert chosen_runtime({RUNTIME_VARIABLE: " "}) is None
    assert chosen_runtime({RUNTIME_VARIABLE: "onnxruntime-cuda"}) == "onnxruntime-cuda"
    with pytest.raises(RuntimeUnknownError, match=r"EDGENAS_RUNTIME: expected one of .*'tensorrt'"):
        chosen_runtime({RUNTIME_VARIABLE: "tensorrt"})


@pytest.mark.parametrize(
    ("label", "file_format"),
    [
        ("ai-edge-litert 2.1.2 xnnpack", "tflite"),
        ("tflite-runtime 2.14.0 builtin", "tflite"),
        ("onnxruntime 1.26.0 cuda", "onnx"),
        ("something new 1.0", None),
        ("", None),
        (None, None),
    ],
)
def test_a_label_tells_what_a_device_must_be_given(
    label: str | None, file_format: str | None
) -> None:
    assert runs_only(label) == file_format


def test_a_chosen_runtime_does_not_take_other_files() -> None:
    with pytest.raises(ModelRefusedError, match=r"a file for onnxruntime.*got \.tflite"):
        find_runtime("tflite", "onnxruntime")


def test_no_runtime_at_all_says_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*TFLITE_MODULES, "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeMissingError, match=r"ai-edge-litert.*tflite-runtime.*pip install"):
        find_runtime("tflite")
    with pytest.raises(RuntimeMissingError, match=r"ONNX runtime.*onnxruntime: .*edgenas\[onnx\]"):
        find_runtime("onnx")
    with pytest.raises(RuntimeMissingError, match="the chosen runtime tflite-runtime, got none"):
        find_runtime(None, "tflite-runtime")


def test_the_first_runtime_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    for name in TFLITE_MODULES:
        monkeypatch.setitem(sys.modules, name, None)
    tried: list[str] = []
    assert find_runtime(None, None, tried.append).name == "onnxruntime"
    assert tried == ["ai-edge-litert", "tflite-runtime", "onnxruntime"]


def test_content_tells_the_format_of_a_file(stub: Path) -> None:
    assert file_format_of(stub) == suffix_of(stub)
    assert flaw_of(stub) is None


def test_every_truncation_of_an_onnx_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for size in range(0, len(STUB_ONNX), 7):
        path.write_bytes(STUB_ONNX[:size])
        assert flaw_of(path) is not None, size


def test_damaged_onnx_files_never_break_the_check(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for place in range(len(STUB_ONNX)):
        for byte in (0x00, 0xFF):
            path.write_bytes(STUB_ONNX[:place] + bytes([byte]) + STUB_ONNX[place + 1 :])
            flaw_of(path)  # whatever it says, it says it without an exception


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x08\x07" + b"\x12\x04text" * 9, "expected an ONNX model (a version and a graph)"),
        (b"\x08\x07" + b"\xff" * 40, "no protobuf"),
        (b"\x08\x07\x3a\x80\x80\x40" + bytes(40), "cut short"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "an ONNX model (a protobuf that opens with"),
    ],
)
def test_what_only_looks_like_onnx_is_named(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert told in (flaw_of(path) or "")


def test_a_file_is_run_by_the_runtime_for_its_content(stub: Path) -> None:
    pytest.importorskip("onnxruntime")
    found = measure(brisk(stub))
    assert isinstance(found, Measurement), found
    expected = "onnxruntime " if suffix_of(stub) == "onnx" else ("ai-edge-litert ", "tflite-")
    assert (found.runtime or "").startswith(expected)


def test_a_reference_of_the_other_format_is_run_beside(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "c").write_bytes(STUB_ONNX)
    (tmp_path / "r").write_bytes(STUB_MODEL)
    found = measure(brisk(tmp_path / "c", reference_path=tmp_path / "r"))
    assert isinstance(found, Measurement), found
    assert {leg.model for leg in found.legs} == {"C", "R"}
    assert (found.runtime or "").startswith("onnxruntime ")


def test_the_chosen_runtime_is_probed_and_refuses_the_other_format(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv(RUNTIME_VARIABLE, "onnxruntime")
    assert (probe_runtime().label or "").startswith("onnxruntime ")
    path = tmp_path / "model"
    path.write_bytes(STUB_MODEL)
    found = measure(brisk(path))
    assert isinstance(found, Measurement)
    assert found.verdict == "unsupported_op"
    assert "unset EDGENAS_RUNTIME" in (found.detail or "")
    tested = self_test(path, None)
    assert not tested.ok
    assert "EDGENAS_RUNTIME" in (tested.detail or "")


def test_a_misspelt_choice_is_the_installation_and_not_the_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(RUNTIME_VARIABLE, "onnx")
    path = tmp_path / "model"
    path.write_bytes(STUB_MODEL)
    found = measure(brisk(path))
    assert isinstance(found, JobFailed)
    assert found.code == "INTERNAL"
    assert "expected one of ai-edge-litert" in found.detail
    assert "expected one of ai-edge-litert" in (probe_runtime().flaw or "")


def test_a_missing_provider_is_noted_in_probe_and_measurement(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    native = pytest.importorskip("onnxruntime")
    if "TensorrtExecutionProvider" in native.get_available_providers():
        pytest.skip("this onnxruntime has TensorRT")
    monkeypatch.setenv(RUNTIME_VARIABLE, "onnxruntime-tensorrt")
    probe = probe_runtime()
    assert (probe.label or "").endswith(" cpu")
    assert "expected TensorrtExecutionProvider, got cpu" in (probe.note or "")
    path = tmp_path / "model"
    path.write_bytes(STUB_ONNX)
    found = measure(brisk(path))
    assert isinstance(found, Measurement)
    assert (found.runtime or "").endswith(" cpu")
    assert "expected TensorrtExecutionProvider" in (found.detail or "")


@pytest.fixture
def deadly_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ai_edge_litert that dies on import, as one does that was built for a newer CPU."""
    if "site-packages" in Path(firmware_bridge.__file__).parts:
        pytest.skip("the neighbours of an installed wheel go before PYTHONPATH")
    package = tmp_path / "site" / "ai_edge_litert"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    dies = "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n"
    (package / "interpreter.py").write_text(dies)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


@pytest.mark.usefixtures("deadly_wheel")
def test_an_illegal_instruction_kills_the_child_only_and_names_the_wheel(tmp_path: Path) -> None:
    told = "this CPU cannot run ai-edge-litert: importing it died by SIGILL"
    assert told in (probe_runtime().flaw or "")
    path = tmp_path / "model"
    path.write_bytes(STUB_MODEL)
    found = measure(brisk(path))
    assert isinstance(found, JobFailed)  # the candidate is not to blame, and not quarantined
    assert found.code == "INTERNAL"
    assert told in found.detail
    assert told in (self_test(path, None).detail or "")


@pytest.mark.usefixtures("deadly_wheel")
def test_another_runtime_can_be_chosen_past_a_deadly_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv(RUNTIME_VARIABLE, "onnxruntime")
    assert (probe_runtime().label or "").startswith("onnxruntime ")
    path = tmp_path / "model"
    path.write_bytes(STUB_ONNX)
    assert self_test(path, None).ok


def test_both_stubs_are_the_identity() -> None:
    for content, file_format in ((STUB_MODEL, "tflite"), (STUB_ONNX, "onnx")):
        if file_format == "onnx":
            pytest.importorskip("onnxruntime")
        model = find_runtime(file_format).open(content, 1)  # type: ignore[arg-type]
        model.feed_bytes(STUB_INPUT)
        model.run_checked()
        assert model.distance_lsb(STUB_INPUT) == 0
