"""Training curve, architecture, wording and units: the smaller parts of the page."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from edgenas.report import (
    Baseline,
    Options,
    Pick,
    ReportFieldError,
    TrainingPoint,
    TrainingSummary,
    units,
)
from edgenas.report.blocks import draw_arch
from edgenas.report.curve import CURVE_NARROW, CURVE_WIDE, median_images_per_s, training_curve
from edgenas.report.frame import PlotSize
from edgenas.report.markup import element
from edgenas.report.spaces import draw_options
from edgenas.report.wording import against_random, outside_because, shipping
from edgenas.space import Arch, BlockArch, StageArch
from tests.edgenas.report.edges import edge_devices
from tests.edgenas.report.parsing import of_class, read_page, read_svg
from tests.edgenas.report.sample import sample_training


def _pick() -> Pick:
    pick = edge_devices()["usual"].pick
    assert pick is not None
    return pick


def test_bits_of_layers_are_in_the_box_of_their_block() -> None:
    blocks = (BlockArch(3, 2, (4, 8, 4)), BlockArch(5, 2))
    page = draw_arch(Arch(8, 8, (StageArch(16, blocks),), 32))
    assert page.count(">4/8/4 bit<") == 1
    assert page.count("weights of 4/8/4 bits") == 1


def test_options_that_went_are_struck_out_in_the_row_of_their_stage() -> None:
    choices = (
        Options("stem", ("8", "16"), ("8", "16")),
        Options("s0.width", ("16", "24"), ("24",)),
        Options("s0.b1.kernel", ("3", "5"), ()),
        Options("s1.depth", ("1", "2"), ("1", "2")),
    )
    page = read_svg(element("div", draw_options(choices)))
    rows = [[cell.text for cell in row.iter("th")] for row in page.iter("tr")]
    assert rows == [["network"], ["stage 1"], ["stage 2"]]
    stage = list(page.iter("tr"))[1]
    assert [one.text for one in stage.iter("s")] == ["16", "3", "5"]
    assert [one.text for one in stage.iter("b")] == ["24"]
    assert [one.text for one in stage.iter("small")] == ["width", "block 2 kernel"]
    assert draw_options(()) == ""
    with pytest.raises(ReportFieldError, match=r"some of \('3',\)"):
        Options("s0.b0.kernel", ("3",), ("5",))


@pytest.mark.parametrize("size", [CURVE_WIDE, CURVE_NARROW])
def test_curve_shows_three_named_losses_and_stays_small(size: PlotSize) -> None:
    root = read_svg(training_curve(sample_training(Random(1), steps=20_000), size))
    curves = of_class(root, "curve")
    assert len(curves) == 3
    assert all(len(one.attrib["points"].split()) <= 300 for one in curves)
    names = of_class(root, "curve-name")
    assert [one.text for one in names] == ["smallest", "random", "largest"]
    heights = [float(one.attrib["y"]) for one in names]
    assert all(low - high >= 14 for high, low in pairwise(heights))


def test_curve_ends_where_the_losses_end() -> None:
    points = tuple(TrainingPoint(step, 2.0 - step / 100, None, None, None) for step in (0, 50, 100))
    root = read_svg(training_curve(TrainingSummary(100, 1.0, 0, points)))
    (curve,) = of_class(root, "curve")
    placed = [tuple(map(float, one.split(","))) for one in curve.attrib["points"].split()]
    assert len(placed) == 3
    assert placed[0][1] < placed[1][1] < placed[2][1]
    assert placed[1][0] - placed[0][0] == pytest.approx(placed[2][0] - placed[1][0], abs=0.2)


def test_extreme_subnets_that_no_step_trains_are_drawn_as_they_were_looked_at() -> None:
    looks = {4: (0.5, 0.9), 8: (0.25, 0.6)}
    points = tuple(
        TrainingPoint(step, 9.0 if step == 3 else None, None, 1.0, None, *looks.get(step, ()))
        for step in range(1, 9)
    )
    root = read_svg(training_curve(TrainingSummary(8, 1.0, 0, points)))
    named = {curve.attrib["class"].split()[-1]: curve for curve in of_class(root, "curve")}
    assert sorted(named) == ["largest", "random", "smallest"]
    lengths = {name: len(curve.attrib["points"].split()) for name, curve in named.items()}
    assert lengths == {"largest": 2, "random": 8, "smallest": 2}


def test_one_logged_step_is_a_dot_and_none_is_nothing() -> None:
    one = TrainingSummary(1, 1.0, 0, (TrainingPoint(0, 0.5, None, None, None),))
    assert len(of_class(read_svg(training_curve(one)), "dot")) == 1
    none = TrainingSummary(1, 1.0, 0, (TrainingPoint(0, None, None, None, 10.0),))
    assert training_curve(none) == ""


def test_losses_below_zero_are_drawn() -> None:
    points = tuple(TrainingPoint(step, 1.0 - step, None, None, None) for step in range(5))
    assert of_class(read_svg(training_curve(TrainingSummary(5, 1.0, 9, points))), "curve")


def test_warm_up_is_marked_inside_the_curve_only() -> None:
    training = sample_training(Random(1))
    assert of_class(read_svg(training_curve(training)), "limit")
    later = replace(training, warm_up_steps=training.steps + 1)
    assert not of_class(read_svg(training_curve(later)), "limit")


def test_throughput_is_a_median_of_what_was_logged() -> None:
    rates = (None, 5.0, 1.0, 9.0)
    assert median_images_per_s([TrainingPoint(0, None, None, None, one) for one in rates]) == 5.0
    assert median_images_per_s([TrainingPoint(0, None, None, None, None)]) is None


def test_architecture_has_a_box_a_block_with_kernel_and_expansion() -> None:
    reader = read_page(draw_arch(_pick().arch, _pick().sizes, _pick().stages))
    blocks = [value for name, value in reader.attributes if name == "class" and value]
    assert sum(one.startswith("block k") for one in blocks) == 9
    text = " ".join(reader.text)
    assert "24 ch · 16×16" in text
    assert "256 ch" in text
    assert text.count("7×7") == 1
    assert text.count("5×1") == 2
    told = text.replace("\u00a0", " ")
    assert "1 ResNet block, 2 fused MBConv blocks, 6 MBConv blocks in 4 stages" in told


def test_architecture_without_sizes_writes_none() -> None:
    text = " ".join(read_page(draw_arch(_pick().arch)).text)
    assert "24 ch" in text
    assert "·" not in text


def test_limits_that_a_candidate_breaks_are_named() -> None:
    device = edge_devices()["no-pick"]
    assert {outside_because(one, device.budget) for one in device.candidates} == {
        "too slow, too large"
    }
    noisy = replace(device.candidates[0], verdict="noisy", latency_p95_ms=0.1, peak_memory_bytes=1)
    assert outside_because(noisy, device.budget) == "not accepted (verdict noisy)"


def test_shipping_is_good_only_when_the_device_confirms_the_same_bytes() -> None:
    device = edge_devices()["usual"]
    assert device.shipped is not None
    assert shipping(device)[0] == "good"
    silent = replace(device, shipped=replace(device.shipped, confirmed_sha256=None))
    assert shipping(silent) == ("none", "release 1.0.0: succeeded, not confirmed by the device")
    other = replace(device, shipped=replace(device.shipped, confirmed_sha256="0" * 64))
    assert shipping(other) == (
        "bad",
        "release 1.0.0: succeeded, but the device runs 000000000000",
    )
    assert shipping(replace(device, shipped=None)) == ("none", "not shipped")
    assert shipping(edge_devices()["no-pick"])[0] == "bad"


def test_pick_is_compared_with_random_search() -> None:
    device, pick = edge_devices()["usual"], _pick()
    rival = Baseline("other", "r-1", pick.accuracy_search - 0.0043, 1.0, 1.1, 1, 20)
    told = "+0.43\u00a0pt against the best of 20\u00a0random candidates"
    assert against_random(replace(device, random_baseline=rival)) == told
    same = replace(rival, arch_id=pick.arch_id)
    assert against_random(replace(device, random_baseline=same)).startswith("the same as")
    assert against_random(replace(device, random_baseline=None)) == ""


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        (units.milliseconds(0.02), "0.0200 ms"),
        (units.milliseconds(300.0), "300 ms"),
        (units.milliseconds(1234.5), "1 234 ms"),
        (units.limit_ms(0.3), "0.3 ms"),
        (units.limit_ms(660.0000001), "660 ms"),
        (units.percent(0.91837), "91.84 %"),
        (units.points(0.0043), "+0.43 pt"),
        (units.points(-0.0043), "\u22120.43 pt"),
        (units.points(-0.00001), "±0.00 pt"),
        (units.size(0), "0 B"),
        (units.size(1_500_000), "1.43 MiB"),
        (units.size(3 << 30), "3.00 GiB"),
        (units.count(2_176_782_336), "2.2 × 10⁹"),
        (units.count(10**400), "1.0 × 10⁴⁰⁰"),
        (units.count(50_000), "50 000"),
        (units.count("many"), "many"),
        (units.plural(1, "device"), "1 device"),
        (units.plural(2, "class", "es"), "2 classes"),
        (units.macs(22_300_000), "22.3 M"),
        (units.macs(900), "0.900 k"),
        (units.duration(4.25), "4.2 s"),
        (units.duration(59.6), "1 min 00 s"),
        (units.duration(3840), "1 h 04 min"),
        (units.moment("2026-01-02T03:04:05+00:00"), "2026-01-02 03:04 UTC"),
    ],
)
def test_units(spelled: str, expected: str) -> None:
    assert spelled.replace("\u00a0", " ").replace("\u202f", " ") == expected
