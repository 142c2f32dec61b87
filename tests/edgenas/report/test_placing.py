"""Labels stay inside, keep apart and avoid points where there is room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgenas.report.placing import Box, Placer, text_width_px

_AREA = Box(0, 0, 600, 400)


def test_label_stands_right_of_a_lonely_point() -> None:
    box = Placer(_AREA, []).place(100, 200, ["picked"], 12)
    assert box.left > 100
    assert box.top < 200 < box.bottom


def test_label_leaves_a_crowded_side() -> None:
    crowd = [Box.around(x, 200, 8) for x in range(110, 300, 10)]
    box = Placer(_AREA, crowd).place(100, 200, ["picked"], 12)
    assert sum(box.overlap(one) for one in crowd) == 0


def test_leader_goes_round_points() -> None:
    close = [Box.around(100 + dx, 200 + dy, 9) for dx in (-20, 0, 20) for dy in (-20, 0, 20)]
    wall = [Box.around(x, 200, 5) for x in range(125, 400, 8)]
    box = Placer(_AREA, close + wall).place(100, 200, ["picked"], 12)
    assert not (box.left > 100 and box.top < 200 < box.bottom)


@given(st.lists(st.tuples(st.floats(5, 595), st.floats(5, 395)), min_size=2, max_size=3))
def test_labels_stay_inside_and_never_cover_each_other(points: list[tuple[float, float]]) -> None:
    placer = Placer(_AREA, [Box.around(x, y, 6) for x, y in points])
    boxes = [placer.place(x, y, ["best random: 90.1 %", "p95"], 12) for x, y in points]
    assert all(box.inside(_AREA) for box in boxes)
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert all(a.overlap(b) == 0 for a, b in pairs)


def test_wider_texts_are_wider() -> None:
    assert text_width_px("illi", 12) < text_width_px("MWMW", 12)
    assert text_width_px("ab", 24) == 2 * text_width_px("ab", 12)
