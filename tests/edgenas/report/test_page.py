"""The page is whole, needs nothing from outside, and no text in it becomes markup."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from edgenas.report import CandidatePoint, Failure, Report, write_report_html
from edgenas.report.markup import printable
from edgenas.report.page import report_page
from tests.edgenas.report.edges import HOSTILE, edge_devices
from tests.edgenas.report.parsing import read_page
from tests.edgenas.report.sample import sample_report


def _with(*edges: str) -> Report:
    devices = edge_devices()
    return replace(sample_report(), devices=tuple(devices[edge] for edge in edges))


def _hostile_report() -> Report:
    report = _with("hostile")
    return replace(
        report,
        title=HOSTILE,
        command=HOSTILE,
        seeds={HOSTILE: 1},
        machine={HOSTILE: HOSTILE},
        data=replace(report.data, name=HOSTILE, classes=(HOSTILE,), fingerprint=HOSTILE),
        supernet=replace(report.supernet, preset=HOSTILE, space=HOSTILE, subnets=HOSTILE),
        phase_seconds={HOSTILE: 1.0},
        failures=(Failure(HOSTILE, HOSTILE, HOSTILE),),
    )


@pytest.mark.parametrize("edge", sorted(edge_devices()))
def test_page_of_every_edge_is_whole(edge: str) -> None:
    reader = read_page(report_page(_with(edge)))
    assert reader.tags.count("html") == 1
    assert reader.tags.count("h1") == 1


def test_a_space_of_its_own_is_named_and_no_preset() -> None:
    report = sample_report()
    own = replace(report, supernet=replace(report.supernet, preset="", space="evolved-3"))
    page = report_page(own)
    assert "Space evolved-3, from a file" in page
    assert "One INT8 supernet (evolved-3, " in page
    assert "Preset" not in page
    assert "Preset small, space mbconv-32" in report_page(report)


def test_no_text_becomes_markup() -> None:
    reader = read_page(report_page(_hostile_report()))
    tags = Counter(reader.tags)
    assert tags["script"] == tags["img"] == 0
    assert tags["title"] > 1
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert printable(HOSTILE) in "".join(reader.text)
    assert "\x1b" not in report_page(_hostile_report())


def test_hostile_page_has_the_elements_of_a_tame_one() -> None:
    tame = replace(sample_report(), devices=(edge_devices()["usual"],))
    hostile = replace(sample_report(), devices=(edge_devices()["hostile"],))
    assert read_page(report_page(tame)).tags == read_page(report_page(hostile)).tags


def test_page_needs_nothing_from_outside() -> None:
    page = report_page(sample_report())
    reader = read_page(page)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(reader.tags)
    links = [value or "" for name, value in reader.attributes if name in ("href", "src")]
    assert links
    assert all(link.startswith("#") for link in links)
    assert set(re.findall(r"https?://[^\"' ]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in page
    assert "@import" not in page
    policies = [value for _, value in reader.attributes if value and "default-src" in value]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none';")


def test_links_lead_to_sections() -> None:
    reader = read_page(report_page(sample_report(4, 12)))
    ids = {value for name, value in reader.attributes if name == "id"}
    links = {(value or "")[1:] for name, value in reader.attributes if name == "href"}
    assert links == {f"device-{number}" for number in range(1, 5)}
    assert links <= ids


def test_ids_are_unique() -> None:
    reader = read_page(report_page(sample_report(4, 12)))
    ids = [value for name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_page_names_what_was_shipped_and_why() -> None:
    report = sample_report()
    text = "".join(read_page(report_page(report)).text)
    for device in report.devices:
        assert device.pick is not None
        assert device.pick.sha256 in text
        assert device.pick.reason_next_lost in text
    assert report.command in text
    assert "DEVICE_LOST" in text
    assert "2 of 2 confirmed running" in text


def test_page_without_a_pick_says_how_near_it_came() -> None:
    text = "".join(read_page(report_page(_with("no-pick", "empty"))).text)
    assert "0 of 40\u00a0measured candidates met the budget. The fastest has a p95 of" in text
    assert "No candidate was measured." in text
    assert "0 of 2 confirmed running" in text


def test_sections_without_content_are_left_out() -> None:
    bare = replace(sample_report(), failures=(), phase_seconds={})
    text = "".join(read_page(report_page(bare)).text)
    assert "Failures" not in text
    assert "in all" not in text


def test_candidates_are_listed_most_accurate_first() -> None:
    device = edge_devices()["usual"]
    page = report_page(replace(sample_report(), devices=(device,)))
    table = page[page.index("<details>") :]
    order = [table.index(f">{one.label}<") for one in _by_accuracy(device.candidates)]
    assert order == sorted(order)


def _by_accuracy(candidates: tuple[CandidatePoint, ...]) -> list[CandidatePoint]:
    return sorted(candidates, key=lambda one: (-one.accuracy_search, one.latency_p95_ms))


def test_page_is_written_as_utf8(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report_html(_hostile_report(), path)
    assert path.read_bytes().startswith(b"<!DOCTYPE html>\n")
    assert path.read_text("utf-8") == report_page(_hostile_report())
    assert list(tmp_path.iterdir()) == [path]


def test_a_budget_without_a_latency_limit_is_drawn_and_worded(tmp_path: Path) -> None:
    report = sample_report()
    device = report.devices[0]
    budget = replace(device.budget, latency_p95_ms=None)
    free = replace(report, devices=(replace(device, budget=budget),))

    write_report_html(free, tmp_path / "report.html")

    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "p95 not limited" in page
    assert "budget: p95" not in page
