"""Decodes and resizes images: the only import site of Pillow.

Leaves which files belong to which class to `folder`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from edgenas.data.errors import UnreadableImageError
from edgenas.data.split import Images

SUFFIXES = frozenset({".webp", ".png", ".jpg", ".jpeg", ".bmp"})
FORMATS = ("WEBP", "PNG", "JPEG", "BMP")
MAX_PIXELS = 64 * 2**20  # of one file, before it is decoded
_DEEP_MODES = ("I", "F")  # 16 and 32 bits; a cast to 8 would saturate, not scale


def sizes(paths: Sequence[Path]) -> set[tuple[int, int]]:
    """Return the distinct (width, height) of image files, in pixels; reads their headers only.

    Raises:
        UnreadableImageError: Files that are not images.
    """
    found: set[tuple[int, int]] = set()
    failures: list[tuple[Path, str]] = []
    for path in paths:
        try:
            with _open(path) as image:
                found.add(image.size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            failures.append((path, _reason(error)))
    if failures:
        raise UnreadableImageError(failures)
    return found


def decode(paths: Sequence[Path], size: int) -> Images:
    """Decode image files as RGB squares: the centre of each, scaled to `size` by its shorter side.

    Returns:
        uint8 [N, size, size, 3].

    Raises:
        UnreadableImageError: Files that cannot be decoded, all of them named.
    """
    images = np.empty((len(paths), size, size, 3), np.uint8)
    failures: list[tuple[Path, str]] = []
    for index, path in enumerate(paths):
        try:
            with _open(path) as image:
                upright = ImageOps.exif_transpose(image)
                images[index] = np.asarray(_square(upright.convert("RGB"), size))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            failures.append((path, _reason(error)))
    if failures:
        raise UnreadableImageError(failures)
    return images


def resize(images: Images, size: int) -> Images:
    """Resize uint8 [N, S, S, C] to `size`; returns the same array where it has that size."""
    if images.shape[1] == size:
        return images
    resized = np.empty((len(images), size, size, images.shape[3]), np.uint8)
    for index, image in enumerate(images):
        grey = image.shape[2] == 1
        source = Image.fromarray(image[..., 0] if grey else image)
        resized[index] = np.asarray(_square(source, size)).reshape(size, size, -1)
    return resized


def _open(path: Path) -> Image.Image:
    image = Image.open(path, formats=FORMATS)
    problem = None
    if image.width * image.height > MAX_PIXELS:
        problem = f"{image.width} x {image.height} pixels, more than {MAX_PIXELS}"
    elif image.mode.startswith(_DEEP_MODES):
        problem = f"expected 8 bits a channel, got mode {image.mode}"
    if problem:
        image.close()
        raise ValueError(problem)
    return image


def _square(image: Image.Image, size: int) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)


def _reason(error: Exception) -> str:
    return "not an image that can be decoded" if isinstance(error, SyntaxError) else str(error)
