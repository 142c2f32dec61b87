"""Features of files on this board, computed by the active model in child processes.

A file that kills a decoder or a model that kills its runtime ends a child, never the caller. Leaves
what is learnt from features to ``notebook``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_bridge.bench.container import file_format_of, flaw_of
from firmware_bridge.bench.plan import MEMORY_CAP_BYTES
from firmware_bridge.bench.process import Ending, Limits, run_child
from firmware_bridge.wire.errors import BridgeError

MODULE = "firmware_bridge.heads.worker"
FILES_A_CHILD = 128  # at 4,096 features each an answer stays below what a parent takes
START_S, FILE_S = 120.0, 5.0


class FeaturesError(BridgeError):
    """No features of these files: the model, the runtime or a file is at fault."""


@dataclass(frozen=True)
class Featured:
    """What a child found.

    Attributes:
        sha256: Of the model file that ran.
        runtime: Label of what computed it.
        rows: Digest of the input and integer features, in the order of the files.
    """

    sha256: str
    runtime: str
    rows: tuple[tuple[str, tuple[int, ...]], ...]


def features_of(
    model: Path, files: Sequence[Path], argv_prefix: Sequence[str] = (sys.executable,)
) -> Featured:
    """Computes the features of files; a few seconds of work for each hundred.

    Args:
        model: The deployed model file.
        files: Images, or raw input codes.
        argv_prefix: How to start Python here.

    Raises:
        FeaturesError: The model has none, no runtime is here, or a file cannot be used.
    """
    _check_model(model)
    parts = [
        _child(model, files[start : start + FILES_A_CHILD], argv_prefix)
        for start in range(0, len(files), FILES_A_CHILD)
    ]
    if not parts or len({(part.sha256, part.runtime) for part in parts}) != 1:
        raise FeaturesError(f"expected one model to run on some files, got {len(parts)} runs")
    rows = tuple(row for part in parts for row in part.rows)
    return Featured(parts[0].sha256, parts[0].runtime, rows)


def _check_model(model: Path) -> None:
    flaw = flaw_of(model)
    if flaw is None and file_format_of(model) != "tflite":
        flaw = "expected a .tflite model, whose features can be read; got an ONNX one: ship .tflite"
    if flaw is not None:
        raise FeaturesError(f"{model}: {flaw}")


def _child(model: Path, files: Sequence[Path], argv_prefix: Sequence[str]) -> Featured:
    deadline_s = START_S + FILE_S * len(files)
    limits = Limits(deadline_s, MEMORY_CAP_BYTES, math.ceil(deadline_s) + 1)
    request = {"cpus": [], "model": str(model), "files": [str(path) for path in files]}
    try:
        ending = run_child(argv_prefix, request, limits, cancelled=lambda: False, module=MODULE)
    except OSError as error:
        raise FeaturesError(
            f"expected to start a child with {list(argv_prefix)}, got {error}"
        ) from error
    return _taken(ending)


def _taken(ending: Ending) -> Featured:
    if ending.result is None:
        raise FeaturesError(ending.story())
    found: dict[str, Any] = ending.result
    rows = tuple((str(digest), tuple(feature)) for digest, feature in found["examples"])
    return Featured(found["sha256"], found["runtime"], rows)
