"""Accuracy of files on a test split, which is read only if a figure is missing, and then once."""

from __future__ import annotations

import hashlib
from functools import cached_property

from benchmarks.kept import Kept
from edgenas.data import ImageData, Split
from edgenas.export.run_bytes import accuracy, run_codes
from edgenas.model.images import Codes, to_codes
from edgenas.space.arch import Resolution


class Tested:
    """Runs files on the test split of one data set.

    Args:
        data: whose test split nobody has read yet.
        kept: where figures are kept; they are found again by the digest of the file.
    """

    def __init__(self, data: ImageData, kept: Kept) -> None:
        self.data, self.kept = data, kept
        self._codes: dict[Resolution, Codes] = {}

    def accuracy(self, model: bytes, resolution: Resolution) -> float:
        """Share of all test images that an INT8 .tflite file gets right.

        Args:
            model: the file; its input code is pixel - 128.
            resolution: that it expects.
        """
        digest = hashlib.sha256(model).hexdigest()
        key = f"{self.data.name} {self.data.fingerprint[:12]} {digest}"
        return float(self.kept.row(key, lambda: self._measured(model, resolution))["accuracy"])

    def _measured(self, model: bytes, resolution: Resolution) -> dict[str, float]:
        if resolution not in self._codes:
            self._codes[resolution] = to_codes(self._split.images, resolution)
        outputs = run_codes(model, self._codes[resolution])
        return {"accuracy": accuracy(outputs, self._split.labels), "images": len(self._split)}

    @cached_property
    def _split(self) -> Split:
        return self.data.read_test()
