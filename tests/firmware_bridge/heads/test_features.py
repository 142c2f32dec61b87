"""Features of a deployed file: the same graph, the same logits; foreign bytes are refused."""

from __future__ import annotations

import random

import numpy as np
import pytest

from firmware_bridge.runtimes.errors import ModelRefusedError
from firmware_bridge.runtimes.features import with_features
from firmware_bridge.runtimes.installed import find_runtime
from tests.firmware_bridge.bench.tiny_model import convolution, dense, two_dense
from tests.firmware_bridge.heads.tiny_classifier import (
    DIMENSION,
    ZERO,
    classifier,
    codes_of,
    feature_of,
)

featured = pytest.importorskip("firmware_bridge.runtimes.featured")


def test_the_view_changes_nothing_but_the_list_of_outputs() -> None:
    model = classifier()
    view = with_features(model)
    assert (view.dimension, view.zero) == (DIMENSION, ZERO)
    changed = [i for i, byte in enumerate(model) if view.model[i] != byte]
    assert len(changed) <= 4  # the offset of the list
    assert len(view.model) <= len(model) + 3 + 12


def test_features_are_those_of_the_graph_and_logits_stay() -> None:
    model = classifier()
    plain = find_runtime("tflite").open(model, 1)
    shown = featured.FeaturedModel(model)
    for number in range(50):
        codes = codes_of(number)
        plain.feed([codes])
        plain.run_checked()
        logits, feature = shown.run(codes)
        assert feature == feature_of(codes)
        assert logits == plain.read()[0].reshape(-1).tolist()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (two_dense(np.eye(3, dtype=np.int8), np.eye(3, dtype=np.int8)), "2 outputs"),
        (convolution(4, 1, 2, 3), "FULLY_CONNECTED"),
        (dense(np.eye(3, dtype=np.float32), float32=True), "INT8"),
        (b"\x08\x07onnx", "another one"),
        (b"", "another one"),
    ],
)
def test_what_has_no_features_is_refused_with_the_reason(model: bytes, told: str) -> None:
    with pytest.raises(ModelRefusedError, match=told):
        with_features(model)


def test_damaged_files_are_refused_and_never_raise_anything_else() -> None:
    model, chance, refused = classifier(), random.Random(3), 0
    for _ in range(3000):
        damaged = bytearray(model[: chance.randint(8, len(model))])
        for _ in range(chance.randint(0, 8)):
            damaged[chance.randrange(8, len(damaged) + 1) - 1] = chance.choice((0, 255, 128, 4))
        damaged[4:8] = b"TFL3"
        try:
            with_features(bytes(damaged))
        except ModelRefusedError:
            refused += 1
    assert refused > 1000
