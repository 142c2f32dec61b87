"""Cutout, mixup and shifts of images that are not square."""

import numpy as np
import pytest

from edgenas.model.images import Pixels
from edgenas.train.augment import cut_out, mixed, shifted
from edgenas.train.batches import Augmentation, Batch, Batches, Labels

LABELS = np.arange(40, dtype=np.int64)


def _white(n: int, h: int, w: int) -> Pixels:
    return np.full((n, h, w, 3), 255, np.uint8)


@pytest.mark.parametrize(("h", "w"), [(16, 16), (20, 10)])
def test_a_hole_is_a_rectangle_of_the_given_share(h: int, w: int) -> None:
    holes = cut_out(_white(500, h, w), 0.5, np.random.default_rng(0)) == 128
    assert (holes == holes[..., :1]).all()  # all channels alike
    rows, columns = holes[..., 0].any(2), holes[..., 0].any(1)
    assert np.array_equal(holes[..., 0], rows[:, :, None] & columns[:, None, :])
    assert rows.sum(1).max() == h // 2
    assert columns.sum(1).max() == w // 2
    assert rows.sum(1).min() < h // 2  # some hang over the border
    assert holes[..., 0].any(0).all()  # a hole may be anywhere
    assert not holes.all(0).any()


def test_shifts_of_oblong_images_reach_as_far_as_each_side_allows() -> None:
    picture = np.arange(8 * 4, dtype=np.uint8).reshape(1, 8, 4, 1)
    moved = shifted(np.repeat(picture, 400, 0), (2, 1), np.random.default_rng(0))
    padded = np.pad(picture[0, :, :, 0], ((2, 2), (1, 1)), "edge")
    expected = {padded[i : i + 8, j : j + 4].tobytes() for i in range(5) for j in range(3)}
    assert {image.tobytes() for image in moved} == expected


def test_sound_is_shifted_in_time_alone() -> None:
    image = np.arange(10 * 4, dtype=np.uint8).reshape(1, 10, 4, 1)
    wanted = Augmentation(shift=0.3, shift_axes="time")
    batches = Batches(image, np.zeros(1, np.int64), 1, wanted, 0)
    padded = np.pad(image[0], ((3, 3), (0, 0), (0, 0)), "edge")
    expected = {padded[start : start + 10].tobytes() for start in range(7)}
    assert {batches.at(step).images.tobytes() for step in range(100)} == expected


def test_blends_are_whole_pixels() -> None:
    one, two = np.full((1, 2, 2, 1), 10, np.uint8), np.full((1, 2, 2, 1), 251, np.uint8)
    assert (mixed(one, two, 1.0) == 10).all()
    assert (mixed(one, two, 0.75) == round(0.75 * 10 + 0.25 * 251)).all()
    assert mixed(one, two, 0.75).dtype == np.uint8


def _batches(**augmentation: float) -> Batches:
    images = np.repeat(LABELS.astype(np.uint8) * 6, 16).reshape(40, 4, 4, 1)
    return Batches(images, LABELS, 8, Augmentation(**augmentation), 3)  # type: ignore[arg-type]


def test_mixup_tells_both_labels_and_the_share() -> None:
    batches = _batches(mixup=0.8)
    shares = set()
    for step in range(30):
        batch = batches.at(step)
        assert 0.5 <= batch.share <= 1
        assert sorted(batch.others) == sorted(batch.labels)
        blend = batch.share * batch.labels + (1 - batch.share) * batch.others
        assert np.abs(batch.images[:, 0, 0, 0] - 6 * blend).max() <= 0.51
        shares.add(batch.share)
    assert len(shares) == 30


def _same(one: Batch, two: Batch) -> bool:
    pairs = ((one.images, two.images), (one.labels, two.labels), (one.others, two.others))
    return all(np.array_equal(a, b) for a, b in pairs) and one.share == two.share


def test_mixup_and_cutout_follow_from_seed_and_step() -> None:
    forth, back = _batches(mixup=0.4, cutout=0.3), _batches(mixup=0.4, cutout=0.3)
    first = [forth.at(step) for step in range(12)]
    assert all(_same(back.at(step), first[step]) for step in reversed(range(12)))


def test_mixup_leaves_the_other_augmentation_as_it_was() -> None:
    plain, blended = _batches(), _batches(mixup=0.4)
    assert all(np.array_equal(plain.at(s).labels, blended.at(s).labels) for s in range(10))


def test_an_order_of_ones_own() -> None:
    images = np.zeros((40, 2, 2, 1), np.uint8)
    asked: list[int] = []

    def order(epoch: int) -> Labels:
        asked.append(epoch)
        return np.full(40, epoch, np.int64)

    batches = Batches(images, LABELS, 8, Augmentation(), 3, order)
    assert [batches.at(step).rows.tolist() for step in (4, 5)] == [[0] * 8, [1] * 8]
    assert asked == [0, 1]
