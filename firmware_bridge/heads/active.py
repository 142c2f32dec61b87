"""What runs in a slot, as an application finds it: the model file, its digest, the fleet's head.

Reads the links that the daemon keeps (see ``slots``) and never changes anything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.slots import CURRENT, FILE_NAMES, ONNX_MODEL, SLOTS_NAME
from firmware_bridge.wire.errors import StoreError
from firmware_bridge.wire.heads import HEAD_CAP_BYTES, MergedHead
from firmware_bridge.wire.values import BLOB_CAP_BYTES, check_name


@dataclass(frozen=True)
class Active:
    """The bundle that a slot runs.

    Attributes:
        model: Its model file, below the bundle's own directory.
        sha256: Digest of that file.
        merged: The fleet's head in the bundle, None if it holds none for this model.
    """

    model: Path
    sha256: str
    merged: MergedHead | None


def read_active(state_dir: Path, slot: str) -> Active:
    """Look at what a slot runs now.

    Raises:
        StoreError: Nothing runs there, or its files cannot be read.
        WireError: The bundle's head is damaged, or the slot has no such name.
    """
    link = state_dir / SLOTS_NAME / check_name(slot, "slot") / CURRENT
    try:
        bundle = link.resolve(strict=True)  # once: what is read afterwards belongs together
        onnx = bundle / ONNX_MODEL
        model = onnx if onnx.exists() else bundle / FILE_NAMES["model"]
        with model.open("rb") as stream:
            sha256 = hashlib.sha256(stream.read(BLOB_CAP_BYTES)).hexdigest()
    except OSError as error:
        raise StoreError(
            f"{link}: expected a model that runs in slot {slot!r}, got {error.strerror or error}; "
            "ship one to this board, or pass its --state-dir and --slot"
        ) from error
    return Active(model, sha256, _merged(bundle / FILE_NAMES["head"], sha256))


def _merged(path: Path, sha256: str) -> MergedHead | None:
    try:
        with path.open("rb") as stream:
            head = MergedHead.from_bytes(stream.read(HEAD_CAP_BYTES + 1))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: expected a head to read, got {error}") from error
    return head if head.model == sha256 else None
