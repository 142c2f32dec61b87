"""Where a space is cut, decided by numbers alone: exact over all cuts, within the storage."""

import itertools
import random
from collections.abc import Sequence

import numpy as np
import pytest

from edgenas.space import PRESETS, Arch, ArchError, ArchSpace
from edgenas.space.narrowing import choices, narrowed_by, only_largest
from edgenas.train.splitting import Disagreement, SplittingError, best_cut, split_up
from edgenas.train.splitting.cuts import halves
from tests.edgenas.space.test_space import TINY, every_arch

DIGITS = PRESETS["digits"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_cut_is_tried_once(count: int) -> None:
    found = list(halves(count))
    assert len(found) == len({frozenset(map(frozenset, pair)) for pair in found})
    assert len(found) == 2 ** (count - 1) - 1
    for first, second in found:
        assert sorted(first + second) == list(range(count))
        assert first[0] == 0
        assert second


def test_the_best_cut_is_the_best_of_all() -> None:
    rng = np.random.default_rng(2)
    options = (3, 5, 7, 9)
    for _ in range(50):
        matrix = rng.random((4, 4))
        matrix += matrix.T
        cut = best_cut("s0.b0.kernel", options, matrix.tolist())
        assert cut is not None
        means = []
        for size in (1, 2, 3):
            for group in itertools.combinations(range(4), size):
                rest = [i for i in range(4) if i not in group]
                means.append(matrix[np.ix_(group, rest)].mean())
        assert cut.value == pytest.approx(max(means))
        one, two = ([options.index(o) for o in part] for part in (cut.first, cut.second))
        assert matrix[np.ix_(one, two)].mean() == pytest.approx(cut.value)


def test_options_that_agree_stay_together_though_they_are_no_neighbours() -> None:
    distances = ((0.0, 0.9, 0.1), (0.9, 0.0, 0.8), (0.1, 0.8, 0.0))
    cut = best_cut("k", (3, 5, 7), distances)
    assert cut is not None
    assert [cut.first, cut.second] == [(3, 7), (5,)]
    assert cut.value == pytest.approx(0.85)
    assert best_cut("k", (3,), ((0.0,),)) is None


# --- parts -------------------------------------------------------------------------------------


def measured(part: ArchSpace, seed: int = 0) -> list[Disagreement]:
    """Any numbers, the same for the same part."""
    found = []
    for choice in choices(part):
        if choice.always:
            rng = random.Random(f"{seed} {choice} {part}")
            n = len(choice.options)
            rows = [[rng.random() for _ in range(n)] for _ in range(n)]
            even = tuple(tuple((rows[i][j] + rows[j][i]) * (i != j) for j in range(n))
                         for i in range(n))  # fmt: skip
            found.append(Disagreement(choice, even))
    return found


def weight(part: ArchSpace) -> int:
    """Bytes of the largest subnet's weights, for the lack of a file."""
    return part.weight_bytes(part.largest())


def belongs(part: ArchSpace, arch: Arch) -> bool:
    try:
        part.check(arch)
    except ArchError:
        return False
    return True


@pytest.mark.parametrize("seed", range(5))
def test_every_architecture_is_in_exactly_one_part(seed: int) -> None:
    for whole, pieces in ((TINY, 6), (DIGITS, 8)):
        split = split_up(whole, lambda part: measured(part, seed), weight, pieces=pieces)
        assert len(split.parts) == pieces == len(split.taken) + 1
        assert sum(part.size() for part in split.parts) == whole.size()
        rng = random.Random(seed)
        archs = every_arch(TINY) if whole is TINY else [whole.sample(rng) for _ in range(200)]
        assert all(sum(belongs(part, arch) for part in split.parts) == 1 for arch in archs)


def test_the_cut_that_helps_most_is_taken_wherever_it_is() -> None:
    split = split_up(DIGITS, measured, weight, pieces=5)
    parts: list[ArchSpace] = [DIGITS]
    for taken in split.taken:
        values = [
            cut.value for part in parts for m in measured(part)
            if (cut := best_cut(m.choice.name, m.choice.options, m.distances)) is not None
        ]  # fmt: skip
        assert taken.cut.value == max(values)
        assert taken.part in parts
        assert list(taken.measured) == measured(taken.part)
        parts.remove(taken.part)
        for group in (taken.cut.first, taken.cut.second):
            parts.append(narrowed_by(taken.part, {taken.cut.choice: group}))
    assert set(parts) == set(split.parts)


@pytest.mark.parametrize("share", [2.05, 2.7, 3.6, 5.0])
def test_the_storage_limit_is_never_exceeded_and_is_used(share: float) -> None:
    limit = round(share * weight(DIGITS))
    split = split_up(DIGITS, measured, weight, pieces=100, limit=limit)
    assert split.stored == sum(map(weight, split.parts)) <= limit
    assert len(split.parts) >= int(share)
    for part in split.parts:  # no cut is left that would still fit
        for m in measured(part):
            cut = best_cut(m.choice.name, m.choice.options, m.distances)
            if cut is not None:
                two = [narrowed_by(part, {cut.choice: g}) for g in (cut.first, cut.second)]
                assert split.stored - weight(part) + sum(map(weight, two)) > limit


def test_where_there_is_no_room_or_nothing_to_cut() -> None:
    with pytest.raises(SplittingError, match=r"at least [\d,]+ bytes of checkpoints, got a limit"):
        split_up(DIGITS, measured, weight, pieces=2, limit=weight(DIGITS))
    single = narrowed_by(TINY, only_largest(TINY))
    with pytest.raises(SplittingError, match="there is nothing to split"):
        split_up(single, measured, weight, pieces=2)


def test_a_space_that_runs_out_of_cuts_ends_with_fewer_parts() -> None:
    small = narrowed_by(TINY, {**only_largest(TINY), "resolution": (8, 12), "s1.width": (8, 16)})

    def counted(part: ArchSpace) -> Sequence[Disagreement]:
        asked.append(part)
        return measured(part)

    asked: list[ArchSpace] = []
    split = split_up(small, counted, weight, pieces=9)
    assert len(split.parts) == 4 == small.size()
    assert len(asked) == len(set(asked))  # each part is measured once
