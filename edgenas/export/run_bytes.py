"""Running an exported file on the host, as a device would: the accuracy of the bytes.

Uses the device's own interpreter adapter, so both sides run the same runtime calls.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from edgenas.model.images import Codes
from firmware_bridge.runtimes.choice import FileFormat
from firmware_bridge.runtimes.installed import find_runtime
from firmware_bridge.runtimes.model import Runtime


def run_codes(
    model: bytes, codes: Codes, threads: int = 1, file_format: FileFormat = "tflite"
) -> Codes:
    """Logit codes [n, classes] of input codes [n, h, w, c], one image an invocation.

    Raises:
        InterpreterError: no runtime is installed, or it refuses the model.
    """
    net = _runtime(file_format).open(model, threads)
    outputs = np.empty((len(codes), net.outputs[0].shape[-1]), np.int8)
    for row, image in enumerate(codes):
        net.feed([image[None]])
        net.run_checked()
        outputs[row] = net.read()[0][0]
    return outputs


def accuracy(outputs: Codes, labels: npt.NDArray[np.int64]) -> float:
    """Share of images whose largest logit is the label's (the first one, where several tie)."""
    return float((outputs.argmax(1) == labels).mean())


@cache
def _runtime(file_format: FileFormat) -> Runtime:
    return find_runtime(file_format)
