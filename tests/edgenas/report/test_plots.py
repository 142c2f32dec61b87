"""The plots show every candidate where it belongs, told apart by shape, filling and colour."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from xml.etree import ElementTree as ET

import pytest

from edgenas.report import DeviceReport, ReportFileError, write_plot_svg
from edgenas.report.frame import PlotSize
from edgenas.report.markup import printable
from edgenas.report.placing import Box, text_width_px
from edgenas.report.plots import NARROW, NARROW_SMALL, WIDE, WIDE_SMALL, latency_plot, memory_plot
from tests.edgenas.report.edges import edge_devices
from tests.edgenas.report.parsing import SVG, of_class, read_svg
from tests.edgenas.report.sample import sample_device

EDGES = sorted(edge_devices())


def _plot(device: DeviceReport) -> ET.Element:
    return read_svg(latency_plot(device))


def _centre(mark: ET.Element) -> tuple[float, float]:
    """Return x and y of a circle, or of the tip and the foot's middle of a triangle."""
    if mark.tag == f"{SVG}circle":
        return float(mark.attrib["cx"]), float(mark.attrib["cy"])
    tip, right, _ = (one.split(",") for one in mark.attrib["points"].split())
    return float(tip[0]), float(right[1])


def _marks(root: ET.Element) -> list[ET.Element]:
    """Return the marks of candidates, without those of the legend."""
    return [mark for point in of_class(root, "point") for mark in of_class(point, "mark")]


def _text_box(text: ET.Element) -> Box:
    x, y = float(text.attrib["x"]), float(text.attrib["y"])
    font_px = float(text.attrib["font-size"])
    width = 0.9 * text_width_px(text.text or "", font_px)
    left = {"start": x, "middle": x - width / 2, "end": x - width}[text.attrib["text-anchor"]]
    return Box(left, y - 0.75 * font_px, left + width, y + 0.1 * font_px)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_every_candidate_is_one_mark_with_its_figures(edge: str, size: PlotSize) -> None:
    device = edge_devices()[edge]
    root = read_svg(latency_plot(device, size))
    points = of_class(root, "point")
    assert len(points) == len(device.candidates)
    titles = sorted(point.findtext(f"{SVG}title") or "" for point in points)
    expected = sorted(printable(one.label) + f" ({one.arch_id})" for one in device.candidates)
    assert [title.partition("\naccuracy")[0] for title in titles] == expected


@pytest.mark.parametrize("edge", EDGES)
def test_everything_lies_on_the_paper(edge: str) -> None:
    device = edge_devices()[edge]
    drawn = [
        (latency_plot(device, WIDE), WIDE),
        (latency_plot(device, NARROW), NARROW),
        (memory_plot(device, WIDE_SMALL), WIDE_SMALL),
        (memory_plot(device, NARROW_SMALL), NARROW_SMALL),
    ]
    for markup, size in drawn:
        root = read_svg(markup)
        for mark in _marks(root):
            x, y = _centre(mark)
            assert 0 < x < size.width
            assert 0 < y < size.height
        for text in root.iter(f"{SVG}text"):
            if "legend" not in text.attrib["class"]:
                box = _text_box(text)
                assert box.left >= -8
                assert box.right <= size.width + 8


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_no_two_texts_overlap(edge: str, size: PlotSize) -> None:
    root = read_svg(latency_plot(edge_devices()[edge], size))
    boxes = [
        (text.text, _text_box(text))
        for text in root.iter(f"{SVG}text")
        if "legend" not in text.attrib["class"]
    ]
    for index, (one, box) in enumerate(boxes):
        for other, other_box in boxes[:index]:
            assert box.overlap(other_box) == 0, (one, other)


def test_searchers_differ_in_shape_and_budget_in_filling() -> None:
    device = edge_devices()["usual"]
    root = _plot(device)
    for mark in _marks(root):
        names = mark.attrib["class"].split()
        assert mark.tag == (f"{SVG}circle" if "guided1" in names else f"{SVG}polygon")
    hollow = [mark for mark in _marks(root) if "over" in mark.attrib["class"].split()]
    assert len(hollow) == sum(not one.inside_budget for one in device.candidates) > 0


def test_every_searcher_is_named_and_has_a_look_of_its_own() -> None:
    device = edge_devices()["usual"]
    names = ("surrogate", "random", "nsga2", "<b>of my own</b>", "linas")
    told = [replace(one, searcher=names[i % 5]) for i, one in enumerate(device.candidates)]
    root = _plot(replace(device, candidates=tuple(told)))
    legend = [one.text for one in of_class(root, "legend")]
    assert legend[:5] == ["surrogate", "linas", "nsga2", "<b>of my own</b>", "random"]
    shapes = {(mark.tag, mark.attrib["class"].split()[1]) for mark in _marks(root)}
    assert len(shapes) == 4  # three looks go round; random search has its own
    assert {colour for tag, colour in shapes if tag == f"{SVG}rect"} == {"guided2"}
    for mark in _marks(root):
        assert ("random" in mark.attrib["class"]) == (mark.attrib["class"].split()[1] == "random")


def test_filled_marks_lie_left_of_the_budget_line() -> None:
    root = _plot(edge_devices()["usual"])
    limit = next(one for one in of_class(root, "limit") if one.tag == f"{SVG}line")
    at = float(limit.attrib["x1"])
    filled = [mark for mark in _marks(root) if "in" in mark.attrib["class"].split()]
    assert filled
    assert all(_centre(mark)[0] <= at for mark in filled)


def test_higher_accuracy_is_higher_and_slower_is_further_right() -> None:
    device = sample_device("board", 2, Random(2))
    root = _plot(device)
    by_label = {
        (point.findtext(f"{SVG}title") or "").split()[0]: _centre(_marks_of(point))
        for point in of_class(root, "point")
    }
    first, second = device.candidates
    (x1, y1), (x2, y2) = by_label[first.label], by_label[second.label]
    assert (x1 < x2) == (first.latency_p95_ms < second.latency_p95_ms)
    assert (y1 > y2) == (first.accuracy_search < second.accuracy_search)


def _marks_of(point: ET.Element) -> ET.Element:
    return of_class(point, "mark")[0]


def test_front_is_a_rising_step_line_through_the_front() -> None:
    device = edge_devices()["usual"]
    root = _plot(device)
    path = next(one for one in of_class(root, "front-line") if one.tag == f"{SVG}polyline")
    corners = [tuple(map(float, one.split(","))) for one in path.attrib["points"].split()]
    for (x1, y1), (x2, y2) in pairwise(corners):
        assert x1 == x2 or y1 == y2
        assert x2 >= x1
        assert y2 <= y1
    fronts = {_centre(mark) for mark in _marks(root) if mark.get("class", "").endswith(" front")}
    circles = {one for one in fronts if one in set(corners)}
    assert len(fronts) == sum(one.on_front for one in device.candidates)
    assert len(circles) >= 3


@pytest.mark.parametrize(
    ("edge", "label"),
    [
        ("usual", "budget: p95 ≤ 1.32\u00a0ms"),
        ("absurd-budget", "← budget: p95 ≤ 0.002\u00a0ms"),
        ("loose-budget", "budget: p95 ≤ 500\u00a0ms →"),
    ],
)
def test_budget_is_labelled_even_where_it_is_far_away(edge: str, label: str) -> None:
    root = _plot(edge_devices()[edge])
    assert [one.text for one in of_class(root, "limit-label")] == [label]
    assert bool(of_class(root, "beyond")) == (edge == "usual")


def test_pick_is_ringed_and_named_and_missing_pick_is_not() -> None:
    root = _plot(edge_devices()["usual"])
    named = [one for one in of_class(root, "named") if of_class(one, "pick-ring")]
    assert len(named) == 1
    texts = [one.text or "" for one in of_class(named[0], "callout")]
    assert texts[0].startswith("picked: ")
    assert not of_class(_plot(edge_devices()["no-pick"]), "pick-ring")


def test_interval_is_drawn_where_it_can_be_seen() -> None:
    device = sample_device("board", 20, Random(4))
    exact = [
        replace(
            one,
            latency_p95_ms=one.latency_p50_ms,
            p50_ci95_ms=(one.latency_p50_ms, one.latency_p50_ms),
        )
        for one in device.candidates
    ]
    assert of_class(_plot(device), "whisker")
    assert not of_class(_plot(replace(device, candidates=tuple(exact))), "whisker")


def test_many_candidates_quiet_the_intervals() -> None:
    assert not of_class(_plot(edge_devices()["usual"]), "plot", "quiet")
    assert of_class(_plot(edge_devices()["many"]), "plot", "quiet")


def test_log_axis_says_so_only_where_it_is_one() -> None:
    def titles(edge: str) -> list[str]:
        return [one.text or "" for one in of_class(_plot(edge_devices()[edge]), "title")]

    assert "p95 latency, ms (log scale)" in titles("wide-spread")
    assert "p95 latency, ms" in titles("slow")


def test_plot_stands_alone_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    write_plot_svg(edge_devices()["hostile"], path)
    root = ET.parse(path).getroot()
    assert root.find(f"{SVG}style") is not None
    assert root.find(f"{SVG}script") is None
    assert not {
        name for one in root.iter() for name in one.attrib if re.search("href|src|^on", name)
    }
    assert "url(" not in path.read_text("utf-8")
    assert "prefers-color-scheme:dark" in path.read_text("utf-8")


def test_plot_into_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportFileError, match="cannot be written"):
        write_plot_svg(edge_devices()["usual"], tmp_path / "none" / "plot.svg")
