"""Image files to the input codes of a model, as the bundle's preprocessing says.

The centre square, scaled bilinearly with antialiasing to the model's input, code = pixel - 128;
grey where the model has one channel. A `.bin` file is the input codes themselves, which needs no
Pillow. The only site that imports Pillow on the device; runs in a child process.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from firmware_bridge.runtimes.errors import InputMismatchError, RuntimeMissingError
from firmware_bridge.runtimes.model import Array, TensorSpec
from firmware_bridge.wire.errors import InvalidValueError

FORMATS = ("WEBP", "PNG", "JPEG", "BMP", "PPM")
RAW_SUFFIX = ".bin"
FILE_CAP_BYTES = 64 * 1024 * 1024
PIXELS_CAP = 64 * 2**20  # of one file, before it is decoded
_MODES = {1: "L", 3: "RGB"}


def input_codes(path: Path, spec: TensorSpec) -> Array:
    """The input tensor of one file.

    Args:
        path: An image, or raw codes.
        spec: The model's input: INT8 [1, height, width, channels].

    Raises:
        InvalidValueError: The file is no image, or the model takes none.
        InputMismatchError: Raw codes of another length.
        RuntimeMissingError: Pillow is not installed.
        OSError: The file cannot be read.
    """
    if path.suffix == RAW_SUFFIX:
        with path.open("rb") as stream:
            content = stream.read(spec.size_bytes + 1)
        if len(content) != spec.size_bytes:
            raise InputMismatchError(f"codes in {path.name}", spec.size_bytes, len(content))
        return np.frombuffer(content, np.int8).reshape(spec.shape)
    return _picture(path, spec)


def _picture(path: Path, spec: TensorSpec) -> Array:
    side, mode = _square_input(spec)
    pillow, orient = _pillow()
    if path.stat().st_size > FILE_CAP_BYTES:
        raise InvalidValueError(path.name, f"an image of at most {FILE_CAP_BYTES} B", path)
    try:
        with pillow.open(path, formats=FORMATS) as image:
            if image.width * image.height > PIXELS_CAP or image.mode.startswith(("I", "F")):
                got = f"{image.width} x {image.height} pixels of mode {image.mode}"
                raise InvalidValueError(path.name, "8 bits a channel, 64 M pixels at most", got)
            upright = orient.exif_transpose(image).convert(mode)
    except (ValueError, SyntaxError, pillow.UnidentifiedImageError) as error:
        if isinstance(error, InvalidValueError):
            raise
        raise InvalidValueError(path.name, "an image that can be decoded", str(error)) from error
    least = min(upright.size)
    left, top = (upright.width - least) / 2, (upright.height - least) / 2
    box = (left, top, left + least, top + least)
    scaled = upright.resize((side, side), pillow.Resampling.BILINEAR, box=box)
    return (np.asarray(scaled, np.int16).reshape(spec.shape) - 128).astype(np.int8)


def _square_input(spec: TensorSpec) -> tuple[int, str]:
    if len(spec.shape) != 4 or spec.dtype != "int8" or spec.shape[1] != spec.shape[2]:
        raise InvalidValueError(
            "model input", "a square INT8 image (for any other give .bin files of input codes)",
            f"{spec.dtype} {spec.shape}",
        )  # fmt: skip
    if spec.shape[3] not in _MODES:
        raise InvalidValueError("model input", "1 or 3 channels", spec.shape)
    return spec.shape[1], _MODES[spec.shape[3]]


def _pillow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("PIL.Image"), importlib.import_module("PIL.ImageOps")
    except ImportError as error:
        raise RuntimeMissingError("Pillow to decode images", [str(error)], "learn") from error
