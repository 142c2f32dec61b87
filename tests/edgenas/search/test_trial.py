"""Outcomes, failures and trials check themselves and survive JSON."""

import json
from dataclasses import replace

import pytest

from edgenas.search.errors import SearchError, TrialError
from edgenas.search.trial import Failure, Outcome, Trial
from tests.edgenas.search.analytic import DIGITS, outcome

GOOD = outcome(DIGITS, DIGITS.smallest())


def test_an_outcome_comes_back_equal_from_json() -> None:
    assert Outcome.from_dict(json.loads(json.dumps(GOOD.to_dict()))) == GOOD


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accuracy", 97.5),
        ("accuracy", float("nan")),
        ("latency_p50_ms", 0.0),
        ("latency_p95_ms", float("inf")),
        ("p50_ci95_ms", (2.0, 1.0)),
        ("p50_ci95_ms", (0.0, 1.0)),
        ("peak_memory_bytes", -1),
        ("macs", 1.5),
        ("golden_max_lsb", -1),
        ("sha256", "abc"),
        ("level", "thorough"),
        ("verdict", "oom"),
    ],
)
def test_a_figure_that_cannot_be_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(TrialError, match=f"{field}: expected") as caught:
        replace(GOOD, **{field: value})  # type: ignore[arg-type]
    assert caught.value.field == field
    assert isinstance(caught.value, SearchError)


def test_quantiles_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(TrialError, match="p50 <= p95"):
        replace(GOOD, latency_p95_ms=GOOD.latency_p50_ms / 2)
    with pytest.raises(TrialError, match="upper bound"):
        replace(GOOD, p95_upper95_ms=GOOD.latency_p95_ms / 2)


def test_the_certified_latency_is_the_upper_bound_where_there_is_one() -> None:
    assert GOOD.certified_p95_ms == GOOD.p95_upper95_ms
    assert replace(GOOD, p95_upper95_ms=None).certified_p95_ms == GOOD.latency_p95_ms


@pytest.mark.parametrize("damage", [{"macs": None}, {"extra": 1}, {"p50_ci95_ms": [1.0]}])
def test_a_damaged_record_is_refused(damage: dict[str, object]) -> None:
    data = {**GOOD.to_dict(), **damage}
    if data["macs"] is None:
        del data["macs"]
    with pytest.raises(TrialError, match="outcome: expected the fields"):
        Outcome.from_dict(data)


def test_a_trial_ends_in_one_of_two_states() -> None:
    asked = Trial(3, "board-a", "random", DIGITS.smallest())
    done, broken = asked.ended(GOOD), asked.ended(Failure("oom", "killed at 8 MiB"))
    assert (asked.state, done.state, broken.state) == ("asked", "complete", "failed")
    assert (done.value, done.failure) == (GOOD, None)
    assert broken.value is None
    assert broken.failure is not None


def test_a_trial_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(TrialError, match="a value if complete"):
        Trial(0, "board-a", "random", DIGITS.smallest(), "complete")
    with pytest.raises(TrialError, match="a value if complete"):
        Trial(0, "board-a", "random", DIGITS.smallest(), "asked", GOOD)
    with pytest.raises(TrialError, match="a device and a searcher"):
        Trial(0, "", "random", DIGITS.smallest())
    with pytest.raises(TrialError, match="number"):
        Trial(-1, "board-a", "random", DIGITS.smallest())
    with pytest.raises(TrialError, match="code"):
        Failure("", "no code")
