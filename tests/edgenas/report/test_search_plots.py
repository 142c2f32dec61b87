"""The course of a search is drawn from the report's figures, and left out where there are none."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from edgenas.report.model import Prediction, ProgressPoint
from edgenas.report.search_plots import fronts_plot, prediction_plot, progress_plot, within
from edgenas.report.sections import device_section
from tests.edgenas.report.edges import edge_devices
from tests.edgenas.report.parsing import SVG, of_class, read_svg
from tests.edgenas.report.sample import sample_device

DEVICE = sample_device("board", 40, Random(9))


@pytest.mark.parametrize("edge", sorted(edge_devices()))
def test_every_edge_can_be_drawn(edge: str) -> None:
    device = edge_devices()[edge]
    for draw in (progress_plot, fronts_plot, prediction_plot):
        drawn = draw(device)
        if drawn:
            assert read_svg(drawn).tag == f"{SVG}svg"


def test_each_searcher_has_a_line_that_never_falls() -> None:
    root = read_svg(progress_plot(DEVICE))
    lines = [one for one in of_class(root, "progress") if one.tag == f"{SVG}polyline"]
    assert len(lines) == 2
    for one in lines:
        heights = [float(corner.split(",")[1]) for corner in one.attrib["points"].split()]
        assert heights == sorted(heights, reverse=True)  # y grows downwards
    names = [one.text for one in of_class(root, "legend")]
    assert names == ["evolution", "random"]


def test_later_fronts_are_nowhere_worse() -> None:
    root = read_svg(fronts_plot(DEVICE))
    fronts = [one for one in of_class(root, "front-line") if "," in one.attrib["points"]][3:]
    ends = [float(one.attrib["points"].split()[-1].split(",")[1]) for one in fronts]
    assert len(ends) == 3
    assert ends == sorted(ends, reverse=True)


def test_every_prediction_is_a_mark_beside_the_diagonal() -> None:
    root = read_svg(prediction_plot(DEVICE))
    assert len(of_class(root, "point")) == len(DEVICE.predictions) == 40
    exact = replace(DEVICE, predictions=(Prediction("a", "a", 1.0, 1.04),) * 3)
    assert within(exact.predictions, 0.05) == 3
    assert within(exact.predictions, 0.03) == 0
    assert prediction_plot(replace(DEVICE, predictions=())) == ""


def test_a_short_search_shows_no_course() -> None:
    short = replace(
        sample_device("board", 2, Random(9)),
        progress=(ProgressPoint("random", 1, 1.0),), predictions=(),
    )  # fmt: skip
    assert "How the search went" not in device_section(1, short)
    assert "How the search went" in device_section(1, DEVICE)
