"""The course of a search: shares of the hypervolume, and predictions of what was left out."""

import random

from edgenas.campaign.course import LEAST_ROWS, predictions_of, progress_of
from edgenas.search.budget import Budget
from edgenas.search.trial import Failure, Trial
from tests.edgenas.search.analytic import DIGITS, complete

ARCHS = [DIGITS.sample_by_size(random.Random(i)) for i in range(LEAST_ROWS + 4)]
TRIALS = [complete(n, arch, ("random", "linas")[n % 2]) for n, arch in enumerate(ARCHS)]


def test_shares_never_fall_and_failures_do_not_count() -> None:
    broken = Trial(99, "board-a", "linas", DIGITS.largest()).ended(Failure("oom", "killed"))
    points = progress_of([*TRIALS, broken], Budget())
    for name in ("random", "linas"):
        mine = [point for point in points if point.searcher == name]
        assert [point.measurements for point in mine] == list(range(1, 13))
        shares = [point.hypervolume_share for point in mine]
        assert shares == sorted(shares)
        assert 0 < shares[-1] <= 1


def test_a_limit_cuts_off_what_lies_beyond() -> None:
    times = sorted(trial.value.latency_p95_ms for trial in TRIALS if trial.value)
    assert progress_of(TRIALS, Budget(0.5 * times[0])) == ()
    assert progress_of([], Budget()) == ()
    first = TRIALS[0].value
    assert first is not None
    limited = progress_of(TRIALS, Budget(0.999 * first.latency_p95_ms))
    assert limited[0].hypervolume_share == 0


def test_what_exceeds_the_limit_on_memory_adds_nothing() -> None:
    found = [trial for trial in TRIALS if trial.value]
    sizes = {t.number: t.value.peak_memory_bytes for t in found if t.value}
    limit = sorted(sizes.values())[len(sizes) // 2]
    whole, limited = progress_of(TRIALS, Budget()), progress_of(TRIALS, Budget(None, limit))
    assert [(p.searcher, p.measurements) for p in limited] == [
        (p.searcher, p.measurements) for p in whole
    ]
    for name in ("random", "linas"):
        mine = [trial for trial in found if trial.searcher == name]
        shares = [0.0, *(p.hypervolume_share for p in limited if p.searcher == name)]
        for trial, before, after in zip(mine, shares, shares[1:], strict=False):
            assert sizes[trial.number] <= limit or after == before
    assert progress_of(TRIALS, Budget(None, min(sizes.values()) - 1)) == ()


def test_predictions_have_not_seen_what_they_predict() -> None:
    found = predictions_of(TRIALS, DIGITS)
    assert len(found) == len({trial.arch for trial in TRIALS})
    errors = sorted(abs(one.predicted_ms / one.measured_ms - 1) for one in found)
    assert 0 < errors[len(errors) // 2] < 0.3
    assert predictions_of(TRIALS[: LEAST_ROWS - 1], DIGITS) == ()
