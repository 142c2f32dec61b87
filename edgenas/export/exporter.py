"""One candidate from choice to bytes: calibrate, extract, convert, quantise, check, keep.

Exports are kept by (checkpoint, arch, file format), and the formats of one architecture share one
calibration: they are the same network. The second time costs nothing. What the accuracy of the
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
from edgenas.export.parity import Parity, check_graph, check_qdq, measure_parity, require_parity
from edgenas.export.qdq_writer import qdq_bytes
from edgenas.export.quantise import quantise
from edgenas.model.calibrate import calibrate
from edgenas.model.calibration import Calibration
from edgenas.model.images import Pixels, input_batches, to_codes
from edgenas.model.subnet import BiasOverflowError, Subnet
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch, ArchError, Resolution
from firmware_bridge.runtimes.choice import FileFormat
from firmware_bridge.runtimes.errors import ModelRefusedError

CALIBRATION_IMAGES = 2048
CALIBRATION_BATCH = 256
PARITY_IMAGES = 256
FILE_NAMES: dict[FileFormat, str] = {"tflite": "model.tflite", "onnx": "model.onnx"}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Exported:
    """A subnet as bytes, with the proof that they are the subnet.

    Attributes:
        arch: what was exported.
        path: the .tflite or .onnx file.
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

    @property
    def file_format(self) -> FileFormat:
        """What kind of file it is."""
        return next(kind for kind, name in FILE_NAMES.items() if name == self.path.name)


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
        self._batches: dict[Resolution, Sequence[Tensor]] = {}

    def export(self, arch: Arch, file_format: FileFormat = "tflite") -> Exported:
        """The bytes of `arch`, from the cache or made now.

        Args:
            arch: the subnet.
            file_format: TensorFlow Lite, or ONNX with the same codes, scales and zero points.

        Raises:
            ArchError: the architecture is not in the supernet's space, or in bits it was not
                trained in.
            ExportError: conversion failed, a bias overflows, the bytes are not the network (parity
                gate), or there is no room for them.
        """
        self.net.check(arch)
        kept = self._load(arch, file_format)
        if kept is not None:
            return kept
        try:
            return self._make(arch, file_format)
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
        for file_format in FILE_NAMES:
            if self._load(arch, file_format) is not None:
                stored = (self._home(arch, file_format) / "calibration.pt").read_bytes()
                return Calibration(**torch.load(io.BytesIO(stored), weights_only=True))
        return calibrate(self.net, arch, self._calibration_batches(arch.resolution))

    # --- making --------------------------------------------------------------------------------

    def _make(self, arch: Arch, file_format: FileFormat) -> Exported:
        seconds: dict[str, float] = {}
        subnet = _timed(seconds, "calibrate", lambda: self.subnet(arch))
        write = {"tflite": _write_tflite, "onnx": _write_onnx}[file_format]
        model = write(subnet, seconds)
        parity = _timed(seconds, "parity", lambda: self._check(model, subnet, file_format))
        self._keep(arch, file_format, model, parity, subnet.calibration)
        return self._exported(arch, file_format, model, parity, seconds, cached=False)

    def _check(self, model: bytes, subnet: Subnet, file_format: FileFormat) -> Parity:
        if file_format == "onnx":
            check_qdq(model, subnet)
        else:
            check_graph(model, subnet)
        codes = to_codes(self.images[:PARITY_IMAGES], subnet.arch.resolution)
        try:
            parity = measure_parity(model, subnet, codes, file_format)
        except ModelRefusedError as error:
            raise ParityError(
                f"{subnet.arch.id}: expected the host's runtime to run the bytes, got: {error}"
            ) from error
        require_parity(parity, subnet.arch.id)
        return parity

    def _calibration_batches(self, resolution: Resolution) -> Sequence[Tensor]:
        if resolution not in self._batches:
            count = max(1, len(self.images) // CALIBRATION_BATCH)
            size = len(self.images) // count  # equal batches: statistics are averaged unweighted
            batches = input_batches(self.images[: size * count], resolution, size)
            self._batches[resolution] = list(batches)
        return self._batches[resolution]

    # --- keeping -------------------------------------------------------------------------------

    def _home(self, arch: Arch, file_format: FileFormat) -> Path:
        return self.folder / (arch.id if file_format == "tflite" else f"{arch.id}.{file_format}")

    def _keep(
        self,
        arch: Arch,
        file_format: FileFormat,
        model: bytes,
        parity: Parity,
        calibration: Calibration,
    ) -> None:
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
            (beside / FILE_NAMES[file_format]).write_bytes(model)
            (beside / "calibration.pt").write_bytes(numbers)
            (beside / "export.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
            shutil.rmtree(self._home(arch, file_format), ignore_errors=True)
            os.replace(beside, self._home(arch, file_format))
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _load(self, arch: Arch, file_format: FileFormat) -> Exported | None:
        """A kept export whose bytes and numbers still have their digests."""
        home = self._home(arch, file_format)
        try:
            card = json.loads((home / "export.json").read_text(encoding="utf-8"))
            model = (home / FILE_NAMES[file_format]).read_bytes()
            numbers = (home / "calibration.pt").read_bytes()
            kept = (card["sha256"], card["calibration_sha256"])
            if Arch.from_dict(card["arch"]) != arch or kept != (_digest(model), _digest(numbers)):
                return None
            parity = Parity(**card["parity"])
            return self._exported(arch, file_format, model, parity, {}, cached=True)
        except (OSError, ValueError, KeyError, TypeError, ArchError):
            return None

    def _exported(
        self,
        arch: Arch,
        file_format: FileFormat,
        model: bytes,
        parity: Parity,
        seconds: dict[str, float],
        *,
        cached: bool,
    ) -> Exported:
        path = self._home(arch, file_format) / FILE_NAMES[file_format]
        return Exported(arch, path, _digest(model), len(model), parity, seconds, cached)


def _write_tflite(subnet: Subnet, seconds: dict[str, float]) -> bytes:
    graph = _timed(seconds, "onnx", lambda: onnx_model(subnet))
    float_model = _timed(seconds, "onnx2tf", lambda: float_tflite(graph))
    return _timed(seconds, "quantise", lambda: quantise(float_model, subnet))


def _write_onnx(subnet: Subnet, seconds: dict[str, float]) -> bytes:
    return _timed(seconds, "qdq", lambda: qdq_bytes(subnet))


def _digest(model: bytes) -> str:
    return hashlib.sha256(model).hexdigest()


def _timed(seconds: dict[str, float], name: str, step: Callable[[], _T]) -> _T:
    began = time.perf_counter()
    result = step()
    seconds[name] = time.perf_counter() - began
    return result
