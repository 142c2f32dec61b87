"""A loaded model that gives its features: the deployed file, with one more output.

Runs in a child process on a device, and on the host. Which tensor holds the features is left to
``features``, what they are good for to ``firmware_bridge.heads``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from firmware_bridge.runtimes.choice import chosen_runtime
from firmware_bridge.runtimes.features import with_features
from firmware_bridge.runtimes.installed import find_runtime
from firmware_bridge.runtimes.model import Array, TensorSpec

MODEL_CAP_BYTES = 64 * 1024 * 1024


class FeaturedModel:
    """Features of inputs, through the runtime that runs the model itself.

    Args:
        model: Bytes of the deployed file.
        about_to_import: Told the runtime's name before it is imported.

    Raises:
        InterpreterError: No runtime for TFLite here, or the model has no such features.
    """

    def __init__(self, model: bytes, about_to_import: Callable[[str], None] = lambda _: None):
        view = with_features(model)
        runtime = find_runtime("tflite", chosen_runtime(os.environ), about_to_import)
        self._model = runtime.open(view.model, 1)
        self._zero = view.zero
        self.sha256 = hashlib.sha256(model).hexdigest()
        self.label = runtime.label(self._model.delegate)
        self.input: TensorSpec = self._model.inputs[0]

    def feature(self, codes: Array) -> list[int]:
        """Integer features u = code - zero point of one input tensor."""
        return self.run(codes)[1]

    def run(self, codes: Array) -> tuple[list[int], list[int]]:
        """Logit codes and integer features of one input tensor.

        Raises:
            ModelRefusedError: The runtime gave up while running.
        """
        self._model.feed([codes])
        self._model.run_checked()
        logits, feature = (each.reshape(-1).astype(np.int64) for each in self._model.read())
        return logits.tolist(), (feature - self._zero).tolist()


def open_featured(path: Path, about_to_import: Callable[[str], None]) -> FeaturedModel:
    """Opens a model file.

    Raises:
        InterpreterError: As of FeaturedModel.
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        return FeaturedModel(stream.read(MODEL_CAP_BYTES), about_to_import)
