"""The child process that computes features: ``python -m firmware_bridge.heads.worker``.

Reads one JSON request from stdin (a model, a list of files), fences itself in as every child does,
and answers with digest and integer features of each file. The model that runs is the very file
that is deployed, seen through ``runtimes.features``. What becomes of the features is left to the
parent.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from firmware_bridge.bench.answer import AnswerLine
from firmware_bridge.bench.worker import fence
from firmware_bridge.wire.errors import BridgeError


def main() -> None:
    """Carries out the request on stdin, then ends at once, without tearing the runtime down."""
    request = json.load(sys.stdin)
    answer = AnswerLine(os.fdopen(request["answer_fd"], "w", encoding="utf-8"))
    try:
        fence(tuple(request["cpus"]), request["parent"], request["cpu_s"])
        answer.done(_features(request, answer))
    except ImportError as error:
        answer.failed(
            "runtime", f"{error}; install what a board needs with: pip install 'edgenas[device]'"
        )
    except (BridgeError, OSError, MemoryError) as error:
        answer.failed("features", str(error) or type(error).__name__)
    except Exception as error:
        answer.failed("internal", f"fault in the learning program: {error!r}")
    sys.stdout.flush()
    os._exit(0)


def _features(request: dict[str, Any], answer: AnswerLine) -> dict[str, object]:
    """Model and files to features; numpy and the runtime are imported behind the fence."""
    answer.stage(importing="numpy")
    pictures: Any = importlib.import_module("firmware_bridge.heads.pictures")
    featured: Any = importlib.import_module("firmware_bridge.runtimes.featured")
    paths = [Path(name) for name in request["files"]]
    model = featured.open_featured(
        Path(request["model"]), lambda name: answer.stage(importing=name)
    )
    examples = []
    for path in paths:
        codes = pictures.input_codes(path, model.input)
        digest = hashlib.sha256(codes.tobytes()).hexdigest()
        examples.append([digest, model.feature(codes)])
    return {"runtime": model.label, "sha256": model.sha256, "examples": examples}


if __name__ == "__main__":
    main()
