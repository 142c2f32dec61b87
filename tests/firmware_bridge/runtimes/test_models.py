"""Every runtime that is installed behaves alike behind the seam: shapes, inputs, distances,
refusals.

One suite, run on each of ai-edge-litert, tflite-runtime and onnxruntime; those that are not
installed are skipped. Which one is taken for a file is shown in test_choice.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_bridge.bench.passes import prove
from firmware_bridge.runtimes.choice import OFFERS, Offer
from firmware_bridge.runtimes.errors import (
    InputMismatchError,
    ModelRefusedError,
    RuntimeBrokenError,
)
from firmware_bridge.runtimes.installed import find_runtime
from firmware_bridge.runtimes.model import NOT_FINITE_LSB, Runtime, random_inputs
from firmware_bridge.runtimes.tflite import TfliteRuntime

EYE = np.eye(4, dtype=np.int8)
OFFERED = [offer for offer in OFFERS if not offer.needs_choosing]


def _present(offer: Offer) -> bool:
    return importlib.util.find_spec(offer.module.partition(".")[0]) is not None


@pytest.fixture(scope="module", params=OFFERED, ids=lambda offer: offer.name)
def offer(request: pytest.FixtureRequest) -> Offer:
    found: Offer = request.param
    if not _present(found):
        pytest.skip(f"{found.name} is not installed in this environment")
    return found


@pytest.fixture(scope="module")
def runtime(offer: Offer) -> Runtime:
    return find_runtime(offer.file_format, offer.name)


@pytest.fixture(scope="module")
def tiny(offer: Offer) -> Any:
    """The module that writes small models in this runtime's file format."""
    if offer.file_format == "tflite":
        return pytest.importorskip("tests.firmware_bridge.bench.tiny_model")
    return pytest.importorskip("tests.firmware_bridge.runtimes.tiny_onnx")


def dense_answer(weights: Any, inputs: Any) -> Any:
    """What a dense layer with scales of 1 must give: a saturated integer product."""
    sums = inputs.astype(np.int64) @ weights.astype(np.int64).T
    return np.clip(sums, -128, 127).astype(np.int8)


def test_a_model_computes_what_integer_arithmetic_says(runtime: Runtime, tiny: Any) -> None:
    source = np.random.default_rng(1)
    weights = source.integers(-2, 3, (16, 32), dtype=np.int8)
    inputs = source.integers(-10, 11, (20, 32), dtype=np.int8)
    model = runtime.open(tiny.dense(weights), 1)
    expected = dense_answer(weights, inputs)
    for row, answer in zip(inputs, expected, strict=True):
        model.feed_bytes(row.tobytes())
        model.run_checked()
        assert model.distance_lsb(answer.tobytes()) == 0


def test_several_inputs_and_outputs_are_back_to_back(runtime: Runtime, tiny: Any) -> None:
    model = runtime.open(tiny.two_dense(EYE, 2 * EYE), 1)
    assert model.input_bytes == 8
    model.feed_bytes(bytes(range(8)))
    model.run_checked()
    assert model.distance_lsb(bytes([0, 1, 2, 3, 8, 10, 12, 14])) == 0
    assert model.distance_lsb(bytes([0, 1, 2, 3, 8, 10, 12, 19])) == 5


def test_a_dynamic_batch_runs_one_item(runtime: Runtime, tiny: Any) -> None:
    model = runtime.open(tiny.dense(EYE, batched=True), 1)
    assert model.inputs[0].shape == (1, 4)
    assert model.inputs[0].dtype == "int8"


def test_distance_of_int8_does_not_wrap(runtime: Runtime, tiny: Any) -> None:
    model = runtime.open(tiny.dense(EYE), 1)
    model.feed_bytes(np.array([127, 0, 0, 0], np.int8).tobytes())
    model.run_checked()
    assert model.distance_lsb(np.array([-128, 0, 0, 0], np.int8).tobytes()) == 255


def test_outputs_that_are_not_numbers_are_as_far_as_can_be(runtime: Runtime, tiny: Any) -> None:
    model = runtime.open(tiny.dense(EYE.astype(np.float32), float32=True), 1)
    model.feed_bytes(np.full(4, np.nan, np.float32).tobytes())
    model.run_checked()
    assert model.distance_lsb(np.zeros(4, np.float32).tobytes()) == NOT_FINITE_LSB


def test_bytes_of_another_length_are_refused(runtime: Runtime, tiny: Any) -> None:
    model = runtime.open(tiny.dense(EYE), 1)
    with pytest.raises(InputMismatchError, match="expected 4 bytes of inputs, got 5"):
        model.feed_bytes(bytes(5))
    model.run_checked()
    with pytest.raises(InputMismatchError, match="expected outputs, got 3"):
        model.distance_lsb(bytes(3))


def test_random_inputs_repeat_and_cover_the_whole_range(runtime: Runtime, tiny: Any) -> None:
    model = runtime.open(tiny.dense(np.ones((1, 4096), np.int8)), 1)
    first, again, other = (random_inputs(model, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.int8
    assert (first.min(), first.max()) == (-128, 127)
    floats = runtime.open(tiny.dense(np.ones((1, 4096), np.float32), float32=True), 1)
    values = random_inputs(floats, 1)[0]
    assert values.dtype == np.float32
    assert -1 <= values.min() < -0.9
    assert 0.9 < values.max() < 1


def test_a_model_with_an_unknown_operator_is_refused(runtime: Runtime, tiny: Any) -> None:
    with pytest.raises(ModelRefusedError, match="NoSuchOperator"):
        runtime.open(tiny.unknown_operator(), 1)


def test_what_is_fed_is_copied(runtime: Runtime, tiny: Any) -> None:
    model = runtime.open(tiny.dense(EYE), 1)
    given = np.array([[1, 2, 3, 4]], np.int8)
    model.feed([given])
    given[:] = 99
    model.run_checked()
    (first,) = model.read()
    assert first.tolist() == [[1, 2, 3, 4]]
    model.feed([given])
    model.run_checked()
    assert first.tolist() == [[1, 2, 3, 4]]
    assert model.read()[0].tolist() == [[99] * 4]


def test_a_file_and_its_bytes_are_the_same_model(
    runtime: Runtime, tiny: Any, tmp_path: Path
) -> None:
    path = tmp_path / f"model.{runtime.file_format}"
    path.write_bytes(tiny.dense(2 * EYE))
    for source in (path, path.read_bytes()):
        model = runtime.open(source, 2)
        model.feed_bytes(bytes([1, 2, 3, 4]))
        model.run_checked()
        assert model.distance_lsb(bytes([2, 4, 6, 8])) == 0


def test_bytes_that_are_no_model_are_refused(runtime: Runtime) -> None:
    with pytest.raises(ModelRefusedError, match=f"{runtime.name} refuses the model: "):
        runtime.open(b"This is not a model, only a text." * 4, 1)


def test_operator_times_add_up_or_are_not_known(runtime: Runtime, tiny: Any) -> None:
    model = runtime.open(tiny.two_dense(EYE, EYE), 1)
    times = model.operator_times(7)
    if runtime.file_format == "tflite":
        assert times is None
        return
    assert times is not None
    assert [each.kind for each in times] == ["QLinearMatMul"] * 2
    assert {each.count for each in times} == {7}
    assert len({each.name for each in times}) == 2
    assert all(each.ns >= 0 for each in times)


def test_a_sound_runtime_is_proved_and_labelled(runtime: Runtime) -> None:
    delegate = prove(runtime)
    assert delegate in ("xnnpack", "builtin", "cpu")
    assert runtime.label(delegate) == f"{runtime.name} {runtime.version} {delegate}"
    assert runtime.shortfall(delegate) is None


def test_a_runtime_that_cannot_build_an_interpreter_is_broken_and_not_missing() -> None:
    class Unbuildable:
        def Interpreter(self, **arguments: object) -> None:
            raise SystemError("_ARRAY_API not found")

    with pytest.raises(RuntimeBrokenError, match="numpy<2"):
        prove(TfliteRuntime("tflite-runtime", "2.14.0", Unbuildable()))


def test_text_is_nothing_to_measure() -> None:
    tiny = pytest.importorskip("tests.firmware_bridge.runtimes.tiny_onnx")
    pytest.importorskip("onnxruntime")
    with pytest.raises(ModelRefusedError, match=r"tensor x: expected numbers, got tensor\(string"):
        find_runtime("onnx").open(tiny.of_text(), 1)


def test_a_provider_that_is_not_there_falls_back_and_says_why() -> None:
    """True of every build without CUDA, as a plain wheel is."""
    native = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in native.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    runtime = find_runtime("onnx", "onnxruntime-cuda")
    delegate = prove(runtime)
    assert delegate == "cpu"
    assert (runtime.shortfall(delegate) or "").startswith(
        "expected CUDAExecutionProvider, got cpu: this build of onnxruntime has "
    )
