"""Batches as a function of the step: repeatable, complete, labels with their images."""

import numpy as np
import pytest

from edgenas.model.images import Pixels
from edgenas.train.batches import Augmentation, Batches

COUNT, SIDE = 50, 6
LABELS = np.arange(COUNT, dtype=np.int64)


def _marked() -> Pixels:
    """Images of one grey value each, the value telling which image it is."""
    images = np.zeros((COUNT, SIDE, SIDE, 1), np.uint8)
    images += LABELS.astype(np.uint8)[:, None, None, None]
    return images


def _batches(batch: int = 8, shift: float = 0.3, flip: bool = True, seed: int = 0) -> Batches:
    return Batches(_marked(), LABELS, batch, Augmentation(shift, flip), seed)


def test_a_step_gives_the_same_batch_in_any_order() -> None:
    forth, back = _batches(), _batches()
    steps = range(20)  # more than three epochs
    first = {step: forth.at(step) for step in steps}
    for step in reversed(steps):
        again = back.at(step)
        assert np.array_equal(again.images, first[step].images)
        assert np.array_equal(again.labels, first[step].labels)


@pytest.mark.parametrize("batch", [5, 10, 50])
def test_every_image_once_an_epoch(batch: int) -> None:
    batches = _batches(batch)
    for epoch in range(3):
        steps = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        seen = np.concatenate([batches.at(step).labels for step in steps])
        assert sorted(seen.tolist()) == LABELS.tolist()


def test_what_is_left_of_an_epoch_is_dropped_but_not_always_the_same() -> None:
    batches = _batches(8)
    assert batches.per_epoch == 6
    seen = [
        {int(x) for i in range(6) for x in batches.at(6 * epoch + i).labels} for epoch in range(6)
    ]
    assert all(len(epoch) == 48 for epoch in seen)
    assert set.union(*seen) == set(LABELS.tolist())


def test_labels_follow_their_images_under_augmentation() -> None:
    batches = _batches()
    for step in range(12):
        images, labels = batches.at(step).images, batches.at(step).labels
        assert images.shape == (8, SIDE, SIDE, 1)
        assert images.dtype == np.uint8
        assert (images == labels[:, None, None, None]).all()


def test_epochs_and_seeds_differ() -> None:
    batches, other = _batches(50), _batches(50, seed=1)
    assert not np.array_equal(batches.at(0).labels, batches.at(1).labels)
    assert not np.array_equal(batches.at(0).labels, other.at(0).labels)


def test_shifts_reach_every_offset_and_repeat_the_border() -> None:
    picture = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(1, SIDE, SIDE, 1)
    batches = Batches(picture, np.zeros(1, np.int64), 1, Augmentation(shift=0.2), 0)
    padded = np.pad(picture[0, :, :, 0], 1, "edge")
    expected = {padded[i : i + SIDE, j : j + SIDE].tobytes() for i in range(3) for j in range(3)}
    assert {batches.at(step).images.tobytes() for step in range(200)} == expected


def test_flips_mirror_left_and_right_only() -> None:
    picture = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(1, SIDE, SIDE, 1)
    batches = Batches(picture, np.zeros(1, np.int64), 1, Augmentation(flip=True), 0)
    expected = {picture.tobytes(), np.ascontiguousarray(picture[:, :, ::-1]).tobytes()}
    assert {batches.at(step).images.tobytes() for step in range(50)} == expected


def test_without_augmentation_images_are_as_stored() -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
    batch = Batches(stored, LABELS, 10, Augmentation(), 4).at(3)
    assert np.array_equal(batch.images, stored[batch.labels])
    assert np.array_equal(batch.labels, LABELS[batch.rows])
    assert not np.shares_memory(batch.images, stored)
