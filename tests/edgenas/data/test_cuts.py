"""Cutting labels into stratified parts: properties over arbitrary labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenas.data.cuts import cut, search_count
from edgenas.data.errors import TooFewImagesError
from edgenas.data.split import Labels

class_sizes = st.lists(st.integers(2, 60), min_size=2, max_size=8)


def _labels(sizes: list[int], seed: int) -> Labels:
    labels = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    return np.random.default_rng(seed).permutation(labels)


def _names(sizes: list[int]) -> tuple[str, ...]:
    return tuple(f"class{i}" for i in range(len(sizes)))


@given(class_sizes, st.integers(0, 600), st.integers(0, 2**32))
def test_parts_are_disjoint_cover_all_and_keep_every_class(
    sizes: list[int], count: int, seed: int
) -> None:
    labels = _labels(sizes, seed)
    kept, taken = cut(labels, count, np.random.default_rng(seed), _names(sizes))
    assert np.array_equal(np.sort(np.concatenate([kept, taken])), np.arange(len(labels)))
    assert len(taken) == min(max(count, len(sizes)), len(labels) - len(sizes))
    for part in (kept, taken):
        assert np.array_equal(part, np.sort(part))
        assert set(labels[part]) == set(range(len(sizes)))


@given(class_sizes, st.floats(0.05, 0.95), st.integers(0, 2**32))
def test_every_class_gives_its_share(sizes: list[int], fraction: float, seed: int) -> None:
    labels = _labels(sizes, seed)
    count = round(len(labels) * fraction)
    _, taken = cut(labels, count, np.random.default_rng(seed), _names(sizes))
    shares = np.bincount(labels[taken], minlength=len(sizes))
    quota = np.array(sizes) * len(taken) / len(labels)
    # Largest remainder is within one of the quota; giving every class one image can move that
    # by as many images as there are classes.
    slack = 1 if (quota >= 1).all() and (quota <= np.array(sizes) - 1).all() else len(sizes)
    assert (np.abs(shares - quota) <= slack).all()


@given(class_sizes, st.integers(0, 2**32))
def test_the_generator_alone_decides(sizes: list[int], seed: int) -> None:
    labels = _labels(sizes, 0)
    count = len(labels) // 3
    cuts = [cut(labels, count, np.random.default_rng(seed), _names(sizes))[1] for _ in range(2)]
    assert np.array_equal(cuts[0], cuts[1])


def test_seeds_differ() -> None:
    labels = _labels([50, 50], 0)
    taken = [cut(labels, 20, np.random.default_rng(seed), ("a", "b"))[1] for seed in (1, 2)]
    assert not np.array_equal(taken[0], taken[1])


def test_a_class_of_one_image_cannot_be_cut() -> None:
    with pytest.raises(TooFewImagesError, match=r"bee \(1\)"):
        cut(np.array([0, 0, 1]), 1, np.random.default_rng(0), ("ant", "bee"))


@pytest.mark.parametrize(
    ("total", "fraction", "expected"),
    [(60_000, None, 5_000), (1_000, None, 100), (60_000, 0.5, 30_000), (1_348, 0.2, 270)],
)
def test_search_count(total: int, fraction: float | None, expected: int) -> None:
    assert search_count(total, fraction) == expected
