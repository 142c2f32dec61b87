"""The adapter to the TFLite runtime: shapes, inputs, distances, and refusals as its own errors."""

import sys

import numpy as np
import pytest

from firmware_bridge.bench.passes import prove
from firmware_bridge.interpreter import (
    NOT_FINITE_LSB,
    InputMismatchError,
    Model,
    ModelRefusedError,
    Runtime,
    RuntimeBrokenError,
    RuntimeMissingError,
    find_runtime,
    random_inputs,
)
from tests.firmware_bridge.bench import tiny_model

EYE = np.eye(4, dtype=np.int8)


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return find_runtime()


def test_a_model_computes_what_integer_arithmetic_says(runtime: Runtime) -> None:
    source = np.random.default_rng(1)
    weights = source.integers(-2, 3, (16, 32), dtype=np.int8)
    inputs = source.integers(-10, 11, (20, 32), dtype=np.int8)
    model = Model(tiny_model.dense(weights), 1, runtime)
    expected = tiny_model.dense_answer(weights, inputs)
    for row, answer in zip(inputs, expected, strict=True):
        model.feed_bytes(row.tobytes())
        model.run_checked()
        assert model.distance_lsb(answer.tobytes()) == 0


def test_several_inputs_and_outputs_are_back_to_back(runtime: Runtime) -> None:
    model = Model(tiny_model.two_dense(EYE, 2 * EYE), 1, runtime)
    assert model.input_bytes == 8
    model.feed_bytes(bytes(range(8)))
    model.run_checked()
    assert model.distance_lsb(bytes([0, 1, 2, 3, 8, 10, 12, 14])) == 0
    assert model.distance_lsb(bytes([0, 1, 2, 3, 8, 10, 12, 19])) == 5


def test_a_dynamic_batch_runs_one_item(runtime: Runtime) -> None:
    model = Model(tiny_model.dense(EYE, batched=True), 1, runtime)
    assert model.inputs[0].shape == (1, 4)
    assert model.inputs[0].dtype == "int8"


def test_distance_of_int8_does_not_wrap(runtime: Runtime) -> None:
    model = Model(tiny_model.dense(EYE), 1, runtime)
    model.feed_bytes(np.array([127, 0, 0, 0], np.int8).tobytes())
    model.run_checked()
    assert model.distance_lsb(np.array([-128, 0, 0, 0], np.int8).tobytes()) == 255


def test_outputs_that_are_not_numbers_are_as_far_as_can_be(runtime: Runtime) -> None:
    model = Model(tiny_model.dense(EYE.astype(np.float32), float32=True), 1, runtime)
    model.feed_bytes(np.full(4, np.nan, np.float32).tobytes())
    model.run_checked()
    assert model.distance_lsb(np.zeros(4, np.float32).tobytes()) == NOT_FINITE_LSB


def test_bytes_of_another_length_are_refused(runtime: Runtime) -> None:
    model = Model(tiny_model.dense(EYE), 1, runtime)
    with pytest.raises(InputMismatchError, match="expected 4 bytes of inputs, got 5"):
        model.feed_bytes(bytes(5))
    model.run_checked()
    with pytest.raises(InputMismatchError, match="expected outputs, got 3"):
        model.distance_lsb(bytes(3))


def test_random_inputs_repeat_and_cover_the_whole_range(runtime: Runtime) -> None:
    model = Model(tiny_model.dense(np.ones((1, 4096), np.int8)), 1, runtime)
    first, again, other = (random_inputs(model, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.int8
    assert (first.min(), first.max()) == (-128, 127)
    floats = Model(tiny_model.dense(np.ones((1, 4096), np.float32), float32=True), 1, runtime)
    values = random_inputs(floats, 1)[0]
    assert values.dtype == np.float32
    assert -1 <= values.min() < -0.9
    assert 0.9 < values.max() < 1


def test_a_model_with_an_unknown_operator_is_refused(runtime: Runtime) -> None:
    with pytest.raises(ModelRefusedError, match="NoSuchOperator"):
        Model(tiny_model.unknown_operator(), 1, runtime)


def test_a_sound_runtime_is_proved_and_labelled(runtime: Runtime) -> None:
    assert prove(runtime).startswith(f"{runtime.name} {runtime.version} ")


def test_a_runtime_that_cannot_build_an_interpreter_is_broken_and_not_missing() -> None:
    class Unbuildable:
        def Interpreter(self, **arguments: object) -> None:
            raise SystemError("_ARRAY_API not found")

    with pytest.raises(RuntimeBrokenError, match="numpy<2"):
        prove(Runtime("tflite-runtime", "2.14.0", Unbuildable()))


def test_no_runtime_at_all_says_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeMissingError, match=r"ai-edge-litert.*tflite-runtime.*pip install"):
        find_runtime()
