"""Who of the finalists is measured once more."""

import random
from dataclasses import replace

import pytest

from edgenas.search.budget import Budget
from edgenas.search.pick import Finalist
from edgenas.search.race import contenders
from edgenas.search.trial import Failure, Outcome
from tests.edgenas.search.analytic import DIGITS, outcome

ARCHS = [DIGITS.sample(random.Random(i)) for i in range(4)]
LIMIT = Budget(10.0, 10**9)


def session(place: int, p95_ms: float) -> Outcome:
    """A session of the finalist that is the `place`th most accurate."""
    value = outcome(DIGITS, ARCHS[0])
    return replace(
        value, accuracy=0.9 - 0.01 * place, latency_p50_ms=p95_ms / 2, latency_p95_ms=p95_ms,
        p95_upper95_ms=p95_ms, p50_ci95_ms=(p95_ms / 2, p95_ms / 2),
    )  # fmt: skip


def finalist(place: int, *p95_ms: float) -> Finalist:
    return Finalist.of(ARCHS[place], [session(place, ms) for ms in p95_ms])


FAR_INSIDE, NEAR, FAR_OUTSIDE = (5.0, 5.1, 4.9), (9.9, 10.2, 10.0), (20.0, 20.2, 19.9)


@pytest.mark.parametrize(
    ("times", "running"),
    [
        ((FAR_INSIDE, NEAR, NEAR), []),  # the best is safe, whatever the others are
        ((NEAR, FAR_INSIDE, NEAR), [0]),
        ((NEAR, NEAR, FAR_INSIDE), [0, 1]),
        ((FAR_OUTSIDE, NEAR, FAR_INSIDE), [1]),
        ((FAR_OUTSIDE, FAR_OUTSIDE, FAR_OUTSIDE), []),
        (((9.9,), (10.0,), (9.8,)), []),  # one session of each shows nothing
    ],
)
def test_those_in_doubt_run_on(times: tuple[tuple[float, ...], ...], running: list[int]) -> None:
    finalists = [finalist(place, *p95_ms) for place, p95_ms in enumerate(times)]
    found = contenders(finalists[::-1], LIMIT)
    assert [one.arch for one in found] == [ARCHS[place] for place in running]


def test_doubt_ends_with_more_sessions() -> None:
    rng = random.Random(3)
    few = [finalist(0, *(9.7 * rng.uniform(0.97, 1.03) for _ in range(2))), finalist(1, 5.0, 5.3)]
    many = [finalist(0, *(9.7 * rng.uniform(0.97, 1.03) for _ in range(40))), few[1]]
    assert [one.arch for one in contenders(few, LIMIT)] == [ARCHS[0]]
    assert contenders(many, LIMIT) == []


def test_other_objections_end_the_race_at_once() -> None:
    broken = Finalist.of(ARCHS[0], [session(0, 10.0), Failure("oom", "killed")])
    others = [finalist(1, *NEAR), finalist(2, *FAR_INSIDE)]
    assert [one.arch for one in contenders([broken, *others], LIMIT)] == [ARCHS[1]]
    assert contenders(others, Budget(10.0, 1)) == []
    assert contenders(others, Budget(None, 10**9)) == []
