"""Pixels to network input: on the grid, and the same for training and for the device."""

import numpy as np
import pytest
import torch

from edgenas.model.images import input_batches, resize_pixels, to_codes, to_input

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 10, 10, 3), dtype=np.uint8)


def test_the_native_size_is_left_alone() -> None:
    assert np.array_equal(resize_pixels(IMAGES, 10).permute(0, 2, 3, 1).numpy(), IMAGES)


@pytest.mark.parametrize("resolution", [5, 7, 10, 16])
def test_codes_and_input_are_the_same_pixels(resolution: int) -> None:
    codes = to_codes(IMAGES, resolution)
    assert codes.shape == (7, resolution, resolution, 3)
    assert codes.dtype == np.int8
    pixels = to_input(IMAGES, resolution) * 255
    assert torch.equal(pixels.round().permute(0, 2, 3, 1) - 128, torch.from_numpy(codes).float())
    assert (pixels - pixels.round()).abs().max() < 1e-4


def test_the_extremes_are_the_end_codes() -> None:
    images = np.stack([np.zeros((6, 6, 1), np.uint8), np.full((6, 6, 1), 255, np.uint8)])
    codes = to_codes(images, 9)
    assert (codes[0] == -128).all()
    assert (codes[1] == 127).all()


def test_batches_are_the_images_in_order() -> None:
    batches = list(input_batches(IMAGES, 8, 3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert torch.equal(torch.cat(batches), to_input(IMAGES, 8))
