"""A classifier of 4 x 4 pictures whose features are known by hand, written on the spot.

Its features are weights times codes, its logits a second product of those. What a runtime makes of
it is left to the tests.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from firmware_bridge.slots import CURRENT, Slots
from tests.firmware_bridge.bench.tflite_schema import schema
from tests.firmware_bridge.bench.tiny_model import Graph

SIDE, DIMENSION, ZERO = 4, 6, -10
BUNDLE = "0b" * 32
WEIGHTS = np.random.default_rng(5).integers(-2, 3, (DIMENSION, SIDE * SIDE), dtype=np.int8)


def classifier() -> bytes:
    """The file: input [1, 4, 4, 1], features [1, 6] with zero point -10, logits [1, 3]."""
    graph = Graph()
    int8, code = schema.TensorType.INT8, schema.BuiltinOperator.FULLY_CONNECTED
    source = graph.tensor([1, SIDE, SIDE, 1], int8)
    weights = graph.tensor(WEIGHTS.shape, int8, WEIGHTS)
    feature = graph.tensor([1, DIMENSION], int8)
    graph.tensors[feature].quantization.zeroPoint = [ZERO]
    last = np.eye(3, DIMENSION, dtype=np.int8)
    answers = graph.tensor(last.shape, int8, last)
    logits = graph.tensor([1, 3], int8)
    graph.operator(code, [source, weights, -1], feature, schema.FullyConnectedOptionsT())
    graph.operator(code, [feature, answers, -1], logits, schema.FullyConnectedOptionsT())
    return graph.model([source], [logits])


def feature_of(codes: npt.NDArray[np.int8]) -> list[int]:
    """What the features of 16 input codes must be."""
    sums = WEIGHTS.astype(np.int64) @ codes.reshape(-1).astype(np.int64)
    found: list[int] = np.clip(sums, -128 - ZERO, 127 - ZERO).tolist()
    return found


def codes_of(number: int) -> npt.NDArray[np.int8]:
    """Repeatable input codes, small enough that nothing saturates."""
    source = np.random.default_rng(number)
    return source.integers(-6, 7, (1, SIDE, SIDE, 1), dtype=np.int8)


def write_example(folder: Path, label: str, number: int) -> Path:
    """One file of input codes in the folder of its class."""
    path = folder / label / f"{number}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(codes_of(number).tobytes())
    return path


def install(state_dir: Path, model: bytes, head: bytes | None = None) -> str:
    """Let slot `main` of a state directory run a model, as the daemon leaves it; its digest."""
    slots = Slots(state_dir, state_dir / "run")
    blob = state_dir / "model.blob"
    blob.write_bytes(model)
    files = {"model": blob}
    if head is not None:
        files["head"] = state_dir / "head.blob"
        files["head"].write_bytes(head)
    slots.install(BUNDLE, files, b"{}")
    slots.point("main", CURRENT, BUNDLE)
    return hashlib.sha256(model).hexdigest()
