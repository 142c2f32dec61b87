"""Guards are decisions over plain numbers: what is skipped, what is a collapse, when to give up."""

import math

import pytest

from edgenas.train.guards import SKIPS_ALLOWED, Guards, RolledBack, TrainingDivergedError


def test_usable_steps_move_the_typical_loss() -> None:
    guards = Guards()
    assert guards.usable(2.0, 1.0, 10)
    assert guards.typical_loss == 2.0
    assert guards.usable(1.0, 1.0, 10)
    assert guards.typical_loss == pytest.approx(0.98 * 2 + 0.02)


@pytest.mark.parametrize(
    ("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf), (21, 1)]
)
def test_unusable_steps_are_counted(loss: float, norm: float) -> None:
    guards = Guards(typical_loss=2.0)
    assert not guards.usable(loss, norm, 10)
    assert (guards.skips, guards.typical_loss) == (1.0, 2.0)


def test_a_small_subnet_may_lose_many_times_what_others_do_once_all_losses_are_small() -> None:
    guards = Guards(typical_loss=0.01)
    assert guards.usable(0.2, 1.0, 10)
    guards = Guards(typical_loss=0.01)
    assert not guards.usable(0.2, 1.0, 2)  # where guessing loses 0.7 nats
    assert not guards.usable(0.3, 1.0, 10)
    assert guards.typical_loss == 0.01


def test_a_run_is_lost_after_more_skips_than_good_steps_make_up_for() -> None:
    guards = Guards(typical_loss=2.0)
    for _ in range(SKIPS_ALLOWED):
        guards.usable(math.nan, 1.0, 10)
    assert not guards.lost
    guards.usable(math.nan, 1.0, 10)
    assert guards.lost
    for _ in range(11):
        guards.usable(2.0, 1.0, 10)
    assert not guards.lost


def _collapses(losses: list[float], classes: int = 10) -> list[bool]:
    guards = Guards()
    return [guards.why_collapsed(0, x, "smallest", "int8", classes) is not None for x in losses]


def test_a_collapse_is_far_above_the_best() -> None:
    assert _collapses([2.0, 1.0, 1.4, 1.51, 0.9, 1.3, 1.36]) == [False] * 3 + [True] + [
        False,
        False,
        True,
    ]
    assert _collapses([math.nan]) == [True]


def test_small_losses_may_waver() -> None:
    margin = 0.1 * math.log(10)
    assert _collapses([0.01, 0.01 + 0.9 * margin, 0.01 + 1.1 * margin]) == [False, False, True]


def test_another_phase_begins_anew() -> None:
    guards = Guards()
    assert guards.why_collapsed(1, 0.5, "smallest", "float", 10) is None
    assert guards.why_collapsed(2, 2.0, "smallest", "int8", 10) is None
    why = guards.why_collapsed(3, 3.5, "smallest", "int8", 10)
    assert why == "step 3: expected the smallest subnet to lose at most 3 nats, got 3.5"
    assert guards.best == 2.0


def test_ways_back_halve_the_rate_and_are_remembered() -> None:
    guards, good = Guards(9.0, 11.0, 3.0, "int8"), Guards(2.0, 0.5, 1.0, "float")
    guards.go_back(good, 70, 40, "it went wrong")
    guards.go_back(good, 60, 40, "and again")
    assert (guards.typical_loss, guards.skips, guards.best, guards.phase) == (
        2.0,
        0.0,
        1.0,
        "float",
    )
    assert guards.rate_factor == 0.25
    assert guards.history == [
        RolledBack(70, 40, "it went wrong"),
        RolledBack(60, 40, "and again"),
    ]
    guards.check_may_go_back(3, "once more", 0.1)
    with pytest.raises(TrainingDivergedError, match=r"once more, after 2 .*`--rate 0.0125`"):
        guards.check_may_go_back(2, "once more", 0.1)


def test_the_memory_is_plain_values() -> None:
    guards = Guards(2.0, 1.5, 0.7, "int8", 5)
    guards.go_back(Guards(), 5, 0, "why")
    assert Guards.from_state(guards.state()) == guards
    assert Guards.from_state({}) == Guards()
