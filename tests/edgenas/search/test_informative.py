"""What tells most: never what is known, far from it, and better than chance for a predictor."""

import random

import numpy as np

from edgenas.search.features import Features
from edgenas.search.informative import most_informative
from edgenas.search.surrogate import stratified
from tests.edgenas.search.analytic import DIGITS

FEATURES = Features(DIGITS)
POOL = [DIGITS.sample_by_size(random.Random(f"pool/{i}")) for i in range(300)]
KNOWN = list(stratified(DIGITS, 10, random.Random(0)))


def test_what_is_known_is_not_chosen_and_nothing_twice() -> None:
    chosen = most_informative(FEATURES, KNOWN, [*KNOWN, *POOL, *POOL], 20)
    assert len(chosen) == len(set(chosen)) == 20
    assert not set(chosen) & set(KNOWN)
    assert chosen[:5] == most_informative(FEATURES, KNOWN, [*KNOWN, *POOL], 5)
    assert most_informative(FEATURES, KNOWN, KNOWN, 5) == []
    assert len(most_informative(FEATURES, KNOWN, POOL[:3], 5)) == 3
    assert most_informative(FEATURES, [], POOL[:1], 1) == POOL[:1]


def test_a_copy_of_what_is_known_is_chosen_last() -> None:
    near, far = DIGITS.mutate(KNOWN[1], random.Random(1), 0.0), DIGITS.smallest()
    assert KNOWN[1] == DIGITS.largest()
    assert most_informative(FEATURES, [KNOWN[1]], [near, far], 2) == [far, near]


def distance_left(chosen: list[object]) -> float:
    """Mean distance of the pool to the nearest network that is known or chosen."""
    rows = FEATURES.choices(POOL)
    taken = FEATURES.choices([*KNOWN, *chosen])  # type: ignore[list-item]
    return float(np.sqrt(((rows[:, None] - taken[None]) ** 2).sum(-1)).min(1).mean())


def test_choices_cover_the_pool_better_than_chance() -> None:
    by_variance = distance_left(list(most_informative(FEATURES, KNOWN, POOL, 20)))
    by_chance = [distance_left(list(random.Random(s).sample(POOL, 20))) for s in range(20)]
    assert by_variance < np.median(by_chance)
