"""The page of an evolved space: whole, true to its figures, safe with any text."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from edgenas.report.errors import ReportFieldError
from edgenas.report.evolution import Evolution, ScoredSpace, TimedSubStage
from edgenas.report.evolution_page import evolution_page, write_evolution_html
from edgenas.report.evolution_plots import SHOWN_SPACES, thinned
from edgenas.space import ArchSpace, StageSpace
from tests.edgenas.report.edges import HOSTILE
from tests.edgenas.report.parsing import read_page

BEFORE = ArchSpace(
    name="lab", resolutions=(32,), stems=(8,), heads=(64,), classes=10, channels=3,
    stages=(StageSpace((16, 24), (1, 2), (3, 5), (2, 3)), StageSpace((32, 48), (1,), (3,), (2,))),
)  # fmt: skip
FUSED = StageSpace((24, 32), (1, 2), (3,), (1, 2), block="fused")
WIDTHS = ((8, 16, 24, 32, 40), (16, 32, 48, 64))


def spaces(count: int) -> tuple[ScoredSpace, ...]:
    draw = random.Random(3)
    found = (ScoredSpace(draw.random(), draw.uniform(0.5, 2), 2 - n / count) for n in range(count))
    return tuple(found)


def evolution(**changes: object) -> Evolution:
    rows = tuple(
        TimedSubStage(stage, form, width, 0.01 * width, 10 / width)
        for stage, widths in enumerate(WIDTHS)
        for form in ("mbconv k3,5 e2,3", "fused k3 e1,2")
        for width in widths
    )
    plain = Evolution(
        device="pi4", teacher="teacher", limit_ms=4.0, wanted=0.08, before=BEFORE,
        after=replace(BEFORE, name="lab-evolved", stages=(FUSED, BEFORE.stages[1])),
        widths=WIDTHS, spaces=720, own=ScoredSpace(0.5, 1.5, 0.7),
        best=ScoredSpace(0.25, 0.75, 1.3), scored=spaces(40), rows=rows,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_it_shows_every_stage_before_and_after() -> None:
    page = evolution_page(evolution())
    assert read_page(page).tags.count("h1") == 1
    assert "stage 1: mbconv k3,5 e2,3 → fused k3 e1,2" in page
    assert "stage 2: mbconv k3 e2, as before" in page
    assert "before: mbconv k3,5 e2,3; 16, 24 channels" in page
    assert "after: fused k3 e1,2; 24, 32 channels" in page


def test_it_says_what_was_gained() -> None:
    page = evolution_page(evolution())
    assert "25.00\u00a0% of its networks within the limit, loss of the best 0.750" in page
    assert "lab: 50.00\u00a0% of its networks within the limit, loss of the best 1.500" in page
    assert "of the 720 around lab" in page
    assert "fused k3 e1,2, 40 channels" in page


def test_a_space_before_that_has_no_score_is_left_out() -> None:
    page = evolution_page(evolution(own=None, excluded=("stage 0, conv k3: has not learnt",)))
    assert "the space before" not in page
    assert "stage 0, conv k3: has not learnt" in page
    assert "stage 1: mbconv k3,5 e2,3 → fused k3 e1,2" in page


def test_a_table_without_rows_of_a_stage_is_drawn_without_it() -> None:
    rows = tuple(row for row in evolution().rows if row.stage == 1)
    page = evolution_page(evolution(rows=rows, scored=(), own=None))
    assert "Sub-stages of stage 2" in page
    assert "Sub-stages of stage 1" not in page


def test_no_text_becomes_markup() -> None:
    rows = (TimedSubStage(0, HOSTILE, 8, 1.0, 1.0),)
    named = replace(BEFORE, name=HOSTILE)
    page = evolution_page(
        evolution(device=HOSTILE, teacher=HOSTILE, before=named, rows=rows, excluded=(HOSTILE,))
    )
    tags = Counter(read_page(page).tags)
    assert tags["script"] == tags["img"] == 0


def test_of_many_spaces_the_best_and_a_spread_of_the_rest_are_drawn() -> None:
    many = spaces(5000)
    shown = thinned(many)
    assert len(shown) == len(set(shown)) == SHOWN_SPACES
    assert shown[: SHOWN_SPACES // 2] == list(many[: SHOWN_SPACES // 2])
    assert many.index(shown[-1]) > 4900
    assert thinned(many[:SHOWN_SPACES]) == list(many[:SHOWN_SPACES])
    assert f"{SHOWN_SPACES} of 5\u202f000 spaces" in evolution_page(evolution(scored=many))


def test_stages_that_do_not_match_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportFieldError, match="as many of each"):
        evolution(widths=WIDTHS[:1])
    write_evolution_html(evolution(), tmp_path / "evolution.html")
    assert (tmp_path / "evolution.html").read_text("utf-8") == evolution_page(evolution())
