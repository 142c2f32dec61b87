"""What a search expects of one device where others have measured before."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from edgenas.search.budget import Budget
from edgenas.search.cost_model import CostModel
from edgenas.search.features import Features
from edgenas.search.forecasts import ENOUGH, WORTH_A_START, learn_elsewhere, learn_forecasts
from edgenas.search.rounds import Knowledge
from edgenas.search.surrogate import stratified
from edgenas.search.trial import Failure, Outcome, Trial
from edgenas.space import Arch
from tests.edgenas.search.analytic import DIGITS, latency_ms, outcome

FEATURES = Features(DIGITS)
Heard = tuple[tuple[Trial, Outcome], ...]


def told(device: str, archs: Sequence[Arch], slower: float) -> Heard:
    """Trials of a device that is so many times as slow as the formula."""
    return tuple(
        (Trial(number, device, "random", arch), outcome(DIGITS, arch, slower=slower))
        for number, arch in enumerate(archs)
    )


def some(count: int, seed: int) -> tuple[Arch, ...]:
    return stratified(DIGITS, count, random.Random(seed))


def test_the_device_that_most_is_known_of_is_begun_with() -> None:
    heard = (*told("few", some(26, 1), 9.0), *told("many", some(40, 2), 3.0))
    start = learn_elsewhere(FEATURES, heard, 10)
    assert start is not None
    true = [3.0 * latency_ms(DIGITS, arch) for arch in some(30, 3)]
    assert start.predict(some(30, 3)) == pytest.approx(np.array(true), rel=0.02)


def test_nothing_is_begun_with_where_little_is_known_elsewhere_or_enough_here() -> None:
    heard = told("other", some(40, 2), 3.0)
    assert learn_elsewhere(FEATURES, (), 10) is None
    assert learn_elsewhere(FEATURES, heard[: WORTH_A_START - 1], 10) is None
    assert learn_elsewhere(FEATURES, heard, 40) is None
    assert learn_elsewhere(FEATURES, told("other", some(80, 2), 3.0), ENOUGH) is None


def test_forecasts_of_a_second_device_need_few_networks_of_its_own() -> None:
    own = told("second", some(9, 4), 0.5)
    heard = told("first", some(50, 5), 1.0)
    begun = learn_forecasts(FEATURES, Knowledge(0, own, (), heard), Budget())
    alone = learn_forecasts(FEATURES, Knowledge(0, own, (), ()), Budget())
    assert begun is not None
    assert alone is not None
    asked = some(60, 6)
    true = np.array([0.5 * latency_ms(DIGITS, arch) for arch in asked])

    def error(model: CostModel) -> float:
        return float(np.median(abs(model.predict(asked) / true - 1)))

    assert begun.latency.start is not None
    assert error(begun.latency) < 0.02
    assert error(begun.latency) <= error(alone.latency)


def test_what_is_aimed_at_is_what_is_judged_for_shipping() -> None:
    """The bound of the p95, 1.12 times the median by the formula, and not the p95 itself."""
    own = told("board", some(20, 7), 1.0)
    forecasts = learn_forecasts(FEATURES, Knowledge(0, own, (), ()), Budget(1.0))
    assert forecasts is not None
    assert forecasts.limit_ms == pytest.approx(1.0 / 1.12)


@pytest.mark.parametrize(
    ("code", "learnt"),
    [("oom", True), ("export", True), ("DEVICE_LOST", False), ("STALLED", False), ("busy", False)],
)
def test_only_failures_of_the_network_itself_are_learnt(code: str, learnt: bool) -> None:
    own = told("device", some(36, 4), 1.0)
    ends = (DIGITS.smallest(), DIGITS.largest())
    failed = tuple(
        Trial(90 + number, "device", "random", arch).ended(Failure(code, "scripted"))
        for number, arch in enumerate(ends)
    )
    found = learn_forecasts(FEATURES, Knowledge(0, own, failed, ()), Budget())
    assert found is not None
    assert (found.failures is not None) == learnt
    if not learnt:
        assert found.chance(ends).tolist() == [1.0, 1.0]
