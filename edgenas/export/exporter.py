"""One candidate from choice to bytes: calibrate, extract, convert, quantise, check, keep.

Exports are kept by (checkpoint, arch): the second time costs nothing. What the accuracy of the
bytes is on which images is asked of `Exported` with the images at hand; which candidates to export
is the search's business.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from edgenas.export.convert import float_tflite
from edgenas.export.errors import CandidateError, ExportError, ParityError
from edgenas.export.onnx_writer import onnx_model
from edgenas.export.parity import Parity, check_graph, measure_parity, require_parity
from edgenas.export.quantise import quantise
from edgenas.model.calibrate import calibrate
from edgenas.model.calibration import Calibration
from edgenas.model.images import Pixels, input_batches, to_codes
from edgenas.model.subnet import BiasOverflowError, Subnet
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch, ArchError
from firmware_bridge.interpreter import ModelRefusedError

CALIBRATION_IMAGES = 2048
CALIBRATION_BATCH = 256
PARITY_IMAGES = 256
_T = TypeVar("_T")


@dataclass(frozen=True)
class Exported:
    """A subnet as bytes, with the proof that they are the subnet.

    Attributes:
        arch: what was exported.
        path: the .tflite file.
        sha256: of the file, in hex.
        size_bytes: of the file.
        parity: integer twin against the bytes.
        seconds: time that each step took; empty if the file was found in the cache.
        cached: whether it was found in the cache.
    """

    arch: Arch
    path: Path
    sha256: str
    size_bytes: int
    parity: Parity
    seconds: dict[str, float]
    cached: bool


class Exporter:
    """Exports subnets of one trained supernet.

    Args:
        net: the supernet, in evaluation mode.
        checkpoint: digest of its weights; part of the cache's key.
        images: training images (uint8 [n, h, w, c]) to calibrate and to check parity on.
        folder: where exports are kept.
        calibration_images: how many of the images are used.
    """

    def __init__(
        self,
        net: Supernet,
        checkpoint: str,
        images: Pixels,
        folder: Path,
        calibration_images: int = CALIBRATION_IMAGES,
    ) -> None:
        self.net, self.images = net, images[:calibration_images]
        if len(self.images) < 2:
            raise ExportError(f"expected >= 2 calibration images, got {len(self.images)}")
        self.folder = folder / checkpoint[:16]
        self._batches: dict[int, Sequence[Tensor]] = {}

    def export(self, arch: Arch) -> Exported:
        """The bytes of `arch`, from the cache or made now.

        Raises:
            ArchError: the architecture is not in the supernet's space.
            ExportError: conversion failed, a bias overflows, the bytes are not the network (parity
                gate), or there is no room for them.
        """
        self.net.space.check(arch)
        kept = self._load(arch)
        if kept is not None:
            return kept
        try:
            return self._make(arch)
        except BiasOverflowError as error:
            raise CandidateError(str(error)) from error
        except OSError as error:
            raise ExportError(
                f"{self.folder}: expected room for an export there and in the temporary folder, "
                f"got {error}; free disk space and repeat the command"
            ) from error

    def subnet(self, arch: Arch) -> Subnet:
        """The calibrated, extracted network of `arch`."""
        return self.net.extract(arch, self.calibration(arch))

    def calibration(self, arch: Arch) -> Calibration:
        """Statistics and ranges of `arch`, from the cache if it was exported before."""
        if self._load(arch) is not None:
            stored = (self._home(arch) / "calibration.pt").read_bytes()
            return Calibration(**torch.load(io.BytesIO(stored), weights_only=True))
        return self._calibrate(arch)

    # --- making --------------------------------------------------------------------------------

    def _calibrate(self, arch: Arch) -> Calibration:
        return calibrate(self.net, arch, self._calibration_batches(arch.resolution))

    def _make(self, arch: Arch) -> Exported:
        seconds: dict[str, float] = {}
        subnet = _timed(seconds, "calibrate", lambda: self._fresh_subnet(arch))
        graph = _timed(seconds, "onnx", lambda: onnx_model(subnet))
        float_model = _timed(seconds, "onnx2tf", lambda: float_tflite(graph))
        model = _timed(seconds, "quantise", lambda: quantise(float_model, subnet))
        parity = _timed(seconds, "parity", lambda: self._check(model, subnet))
        self._keep(arch, model, parity, subnet.calibration)
        return self._exported(arch, model, parity, seconds, cached=False)

    def _fresh_subnet(self, arch: Arch) -> Subnet:
        return self.net.extract(arch, self._calibrate(arch))

    def _check(self, model: bytes, subnet: Subnet) -> Parity:
        check_graph(model, subnet)
        codes = to_codes(self.images[:PARITY_IMAGES], subnet.arch.resolution)
        try:
            parity = measure_parity(model, subnet, codes)
        except ModelRefusedError as error:
            raise ParityError(
                f"{subnet.arch.id}: expected the host's runtime to run the bytes, got: {error}"
            ) from error
        require_parity(parity, subnet.arch.id)
        return parity

    def _calibration_batches(self, resolution: int) -> Sequence[Tensor]:
        if resolution not in self._batches:
            count = max(1, len(self.images) // CALIBRATION_BATCH)
            size = len(self.images) // count  # equal batches: statistics are averaged unweighted
            batches = input_batches(self.images[: size * count], resolution, size)
            self._batches[resolution] = list(batches)
        return self._batches[resolution]

    # --- keeping -------------------------------------------------------------------------------

    def _home(self, arch: Arch) -> Path:
        return self.folder / arch.id

    def _keep(self, arch: Arch, model: bytes, parity: Parity, calibration: Calibration) -> None:
        """Write everything beside, then rename the folder into place."""
        buffer = io.BytesIO()  # torch writing to a full disk itself would not raise an OSError
        torch.save(asdict(calibration), buffer)
        numbers = buffer.getvalue()
        card = {
            "arch": arch.to_dict(),
            "sha256": _digest(model),
            "calibration_sha256": _digest(numbers),
            "parity": asdict(parity),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".making-", dir=self.folder))
        try:
            (beside / "model.tflite").write_bytes(model)
            (beside / "calibration.pt").write_bytes(numbers)
            (beside / "export.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
            shutil.rmtree(self._home(arch), ignore_errors=True)
            os.replace(beside, self._home(arch))
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _load(self, arch: Arch) -> Exported | None:
        """A kept export whose bytes and numbers still have their digests."""
        home = self._home(arch)
        try:
            card = json.loads((home / "export.json").read_text(encoding="utf-8"))
            model = (home / "model.tflite").read_bytes()
            numbers = (home / "calibration.pt").read_bytes()
            kept = (card["sha256"], card["calibration_sha256"])
            if Arch.from_dict(card["arch"]) != arch or kept != (_digest(model), _digest(numbers)):
                return None
            return self._exported(arch, model, Parity(**card["parity"]), {}, cached=True)
        except (OSError, ValueError, KeyError, TypeError, ArchError):
            return None

    def _exported(
        self, arch: Arch, model: bytes, parity: Parity, seconds: dict[str, float], *, cached: bool
    ) -> Exported:
        path = self._home(arch) / "model.tflite"
        return Exported(arch, path, _digest(model), len(model), parity, seconds, cached)


def _digest(model: bytes) -> str:
    return hashlib.sha256(model).hexdigest()


def _timed(seconds: dict[str, float], name: str, step: Callable[[], _T]) -> _T:
    began = time.perf_counter()
    result = step()
    seconds[name] = time.perf_counter() - began
    return result
