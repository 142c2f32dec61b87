"""From stored pixels to network input, prepared alike for training, calibration and device.

Images are uint8 [n, h, w, c], pictures or features of sound; the network sees them resized to its
own resolution and still on the pixel grid (p / 255 with whole p), so that the INT8 input code is
exactly p - 128.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from edgenas.space.arch import Resolution, sides

Pixels = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.int8]


def resize_pixels(images: Pixels, resolution: Resolution) -> Tensor:
    """uint8 [n, h, w, c] -> float [n, c, *sides] with whole values 0..255.

    Bilinear with antialiasing (as Pillow), rounded to whole pixels.
    """
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    size = sides(resolution)
    if x.shape[2:] != size:
        x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        x = x.round_().clamp_(0, 255)
    return x.contiguous(memory_format=torch.channels_last)


def to_input(images: Pixels, resolution: Resolution) -> Tensor:
    """Network input [n, c, *sides] in [0, 1]."""
    return resize_pixels(images, resolution) / 255.0


def to_codes(images: Pixels, resolution: Resolution) -> Codes:
    """INT8 input tensor of the exported file, [n, *sides, c]: pixel - 128."""
    x = resize_pixels(images, resolution).permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray((x - 128).astype(np.int8))


def batch_size(resolution: Resolution) -> int:
    """Images a batch when a subnet is only evaluated: activations stay small enough for the caches
    and for the allocator to use the same memory again."""
    height, width = sides(resolution)
    return max(16, min(250, 400_000 // (height * width)))


def input_batches(images: Pixels, resolution: Resolution, size: int) -> Iterator[Tensor]:
    """The images in order as network inputs of `size` each; the last batch may be smaller."""
    for start in range(0, len(images), size):
        yield to_input(images[start : start + size], resolution)
