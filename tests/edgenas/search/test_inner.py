"""The search of predictions: against the whole of a small space, under limits, and repeated."""

import itertools
import random
from collections.abc import Sequence

import numpy as np

from edgenas.search.features import Rows
from edgenas.search.inner import InnerSettings, evolve
from edgenas.space import Arch
from tests.edgenas.search.analytic import accuracy, latency_ms
from tests.edgenas.search.small_space import SMALL, everything

SETTINGS = InnerSettings(population=60, generations=30)
FIGURES = {arch: (-accuracy(SMALL, arch), latency_ms(SMALL, arch)) for arch in everything()}


def score(archs: Sequence[Arch]) -> tuple[Rows, Rows]:
    return np.array([FIGURES[arch] for arch in archs]), np.zeros(len(archs))


def best(archs: Sequence[Arch]) -> set[Arch]:
    """What nothing else in the space dominates, by definition."""
    points = np.array(list(FIGURES.values()))
    return {
        arch
        for arch in archs
        if not ((points <= FIGURES[arch]).all(axis=1) & (points < FIGURES[arch]).any(axis=1)).any()
    }


def test_it_finds_most_of_the_front_of_the_whole_space() -> None:
    found = evolve(SMALL, score, (), 1, SETTINGS)
    assert len(set(found)) == len(found) == 60
    front = best(list(FIGURES))
    assert len(best(found)) >= 0.6 * len(front)
    ranked = [arch in front for arch in found]
    first_other = ranked.index(False)
    assert not any(ranked[first_other + 20 :])  # the best front comes first


def test_limits_come_before_figures() -> None:
    limit = sorted(latency for _, latency in FIGURES.values())[300]

    def limited(archs: Sequence[Arch]) -> tuple[Rows, Rows]:
        figures, _ = score(archs)
        return figures, np.maximum(0.0, figures[:, 1] / limit - 1)

    found = evolve(SMALL, limited, [SMALL.largest()], 1, SETTINGS)
    assert all(FIGURES[arch][1] <= limit for arch in found[:30])
    assert SMALL.largest() not in found[:30]


def test_the_seed_decides_and_a_good_start_is_kept() -> None:
    runs = [evolve(SMALL, score, (), seed, InnerSettings(20, 5)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    front = sorted(best(list(FIGURES)), key=lambda arch: FIGURES[arch])[:15]
    kept = evolve(SMALL, score, front, 3, InnerSettings(40, 3))
    assert set(front) <= set(kept)


def test_the_space_for_these_tests_is_listed_completely() -> None:
    rng = random.Random(0)
    assert len(FIGURES) == SMALL.size()
    assert all(SMALL.sample(rng) in FIGURES for _ in range(200))
    assert all(a != b for a, b in itertools.pairwise(FIGURES))
