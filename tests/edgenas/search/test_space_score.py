"""The Q-T score by hand, evolution over spaces against enumeration, checks of tables."""

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest

from edgenas.search.errors import SearchError
from edgenas.search.space_checks import check_table, faults_of
from edgenas.search.space_evolution import EvolutionSettings, best_by_power, evolve_spaces
from edgenas.search.space_score import (
    WORST_LOSS,
    ScoreSettings,
    SubStage,
    score_rows,
    score_space,
)
from edgenas.space import PRESETS
from edgenas.space.superspace import BlockForm, super_space_around

SPACES = super_space_around(PRESETS["digits"])
Table = dict[tuple[int, BlockForm], list[SubStage]]


def made_table(seed: int = 0, rows: int = 4) -> Table:
    """Latency follows the arithmetic, loss falls with it; one form is better than others."""
    rng = random.Random(seed)
    table: Table = {}
    for index, stage in enumerate(SPACES.stages):
        for number, form in enumerate(stage.forms):
            table[index, form] = [
                SubStage(
                    width,
                    (0.5 + 0.02 * number) * (1 - width / 200) * rng.uniform(0.97, 1.03),
                    1000 * width * (1 + number),
                    0.01 * width * (1 + number) * rng.uniform(0.98, 1.02),
                )
                for width in stage.widths
                for _ in range(rows)
            ]
    return table


TABLE = made_table()
SCORING = ScoreSettings(limit_ms=1.0)


# --- the score ---------------------------------------------------------------------------------


def test_the_score_of_three_rows_enumerated_by_hand() -> None:
    first = (np.array([0.1, 0.2, 0.4]), np.array([3.0, 2.0, 1.0]))
    second = (np.array([0.3, 0.5]), np.array([2.0, 1.0]))
    # Sums within 3.5 - 0.5 ms: (0.2, 0.5) at 3, (0.4, 0.3) at 3, (0.4, 0.5) at 2: three of six.
    settings = ScoreSettings(limit_ms=3.5, fixed_ms=0.5, wanted=0.8, power=0.5, best=2)
    found = score_rows([first, second], settings)
    assert found.share == 0.5
    assert found.loss == pytest.approx((0.7 + 0.7) / 2)
    assert found.score == pytest.approx(1 / (math.sqrt(0.8 / 0.50001) * 0.7), rel=1e-9)
    plenty = score_rows([first, second], replace(settings, wanted=0.4))
    assert plenty.score == pytest.approx(1 / 0.7)  # more than wanted gains nothing


def test_no_network_within_the_limit_gives_a_finite_score() -> None:
    rows = (np.array([0.1]), np.array([3.0]))
    found = score_rows([rows], ScoreSettings(limit_ms=1.0))
    assert (found.share, found.loss) == (0.0, WORST_LOSS)
    assert 0 < found.score < 1e-4


def test_draws_come_close_to_all_combinations() -> None:
    rng = np.random.default_rng(3)
    stages = [(rng.uniform(0.1, 0.9, 30), rng.uniform(0.1, 0.9, 30)) for _ in range(3)]
    whole = score_rows(stages, ScoreSettings(limit_ms=1.2, draws=27_000, best=2_000))
    drawn = score_rows(stages, ScoreSettings(limit_ms=1.2, draws=20_000, best=1_500))
    assert drawn.share == pytest.approx(whole.share, rel=0.05)
    assert drawn.score == pytest.approx(whole.score, rel=0.05)
    assert score_rows(stages, ScoreSettings(limit_ms=1.2, draws=20_000, best=1_500)) == drawn


def test_only_rows_inside_the_window_count() -> None:
    form = SPACES.stages[0].forms[0]
    code = SPACES.code_of(PRESETS["digits"])
    assert code is not None
    outside = [replace(row, loss=0.0) if row.width == 40 else row for row in TABLE[0, form]]
    changed = {**TABLE, (0, form): outside}
    assert score_space(SPACES, code, changed, SCORING) == score_space(SPACES, code, TABLE, SCORING)
    lacking = {**TABLE, (0, form): [row for row in TABLE[0, form] if row.width > 24]}
    with pytest.raises(SearchError, match=r"rows for stage 0, .* widths \(16, 24\)"):
        score_space(SPACES, code, lacking, SCORING)


@pytest.mark.parametrize(("limit_ms", "power"), [(0.0, 1.0), (math.nan, 1.0), (1.0, -1.0)])
def test_settings_that_mean_nothing(limit_ms: float, power: float) -> None:
    with pytest.raises(SearchError, match="score of spaces: expected positive"):
        ScoreSettings(limit_ms, power=power)


# --- evolution ---------------------------------------------------------------------------------


def test_a_small_super_space_is_scored_whole() -> None:
    counts: list[int] = []
    found = evolve_spaces(
        SPACES, TABLE, SCORING, EvolutionSettings(), 0, lambda count, best: counts.append(count)
    )
    assert len(found) == len({one.code for one in found}) == SPACES.size() == counts[-1]
    scores = [one.score.score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert found[0].score == score_space(SPACES, found[0].code, TABLE, SCORING)


def test_evolution_finds_nearly_the_best_in_a_third_of_the_spaces() -> None:
    whole = evolve_spaces(SPACES, TABLE, SCORING, EvolutionSettings(), 0)
    settings = EvolutionSettings(population=50, tournament=12, spaces=SPACES.size() // 3)
    for seed in range(3):
        some = evolve_spaces(SPACES, TABLE, SCORING, settings, seed)
        assert settings.spaces <= len(some) <= settings.spaces + 2
        assert some == evolve_spaces(SPACES, TABLE, SCORING, settings, seed)
        better = sum(one.score.score > some[0].score.score for one in whole)
        assert better < 0.01 * len(whole)


def test_the_choice_by_how_much_rarity_costs() -> None:
    found = evolve_spaces(SPACES, TABLE, SCORING, EvolutionSettings(), 0)
    best = best_by_power(SPACES, TABLE, SCORING, found[:50], count=5)
    assert best[0.05] == [one.code for one in found[:5]]
    assert set(best) == {0.01, 0.05, 0.1}
    assert all(len(codes) == 5 for codes in best.values())
    with pytest.raises(SearchError, match="tournament <= population"):
        EvolutionSettings(population=10, tournament=11)


# --- checks ------------------------------------------------------------------------------------


def test_a_sound_table_passes() -> None:
    assert faults_of(TABLE) == []
    check_table(TABLE)


def worse(factor: float) -> Table:
    """The table with one form whose losses are so many times as high."""
    cell = (1, SPACES.stages[1].forms[3])
    rows = [replace(row, loss=factor * row.loss) for row in TABLE[cell]]
    return {**TABLE, cell: rows}


@pytest.mark.parametrize(("factor", "fault"), [(1.2, None), (1.7, "1.5 times"), (3.0, "nothing")])
def test_a_stage_that_has_not_learnt_is_refused(factor: float, fault: str | None) -> None:
    table = worse(factor)
    if fault is None:
        return check_table(table)
    with pytest.raises(SearchError, match="train those blocks for longer") as raised:
        check_table(table)
    assert fault in str(raised.value)
    assert "stage 1, fused k3 e1,2,3" in str(raised.value)
    (found,) = faults_of(table)
    assert (found.stage, found.kind) == (1, "loss")
    return None


def test_a_loss_that_is_no_number_is_a_fault() -> None:
    cell = next(iter(TABLE))
    table = {**TABLE, cell: [replace(row, loss=math.nan) for row in TABLE[cell]]}
    assert "learnt nothing" in faults_of(table)[0].reason
    assert faults_of({**TABLE, cell: []})[0].reason == "expected rows, got none"


def test_latencies_that_do_not_follow_the_arithmetic_are_a_fault() -> None:
    cell = (0, SPACES.stages[0].forms[1])
    order = itertools.cycle([5, 0, 3, 8, 1, 7, 2, 9, 4, 6])
    rows = TABLE[cell]
    mixed = [replace(row, latency_ms=rows[next(order)].latency_ms) for row in rows]
    (fault,) = faults_of({**TABLE, cell: mixed})
    assert fault.kind == "latency"
    assert "follow the arithmetic" in fault.reason
    spiked = [replace(rows[0], latency_ms=100 * rows[0].latency_ms), *rows[1:]]
    (fault,) = faults_of({**TABLE, cell: spiked})
    assert fault.kind == "latency"
    assert "5 times the median" in fault.reason
    none = [replace(rows[0], latency_ms=0.0), *rows[1:]]
    assert "positive latencies" in faults_of({**TABLE, cell: none})[0].reason
