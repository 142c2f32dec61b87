"""What ``benchmark_model`` prints is read strictly, in the forms that its versions write."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.bench.benchmark_model import (
    EngineOutputError,
    EngineSettings,
    ProfiledNode,
    flags,
    parse_output,
    parse_profile,
    refusal_in,
)
from tests.firmware_bridge.bench.stand_in import CSV

MIB = 1024 * 1024

NEW = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [50]
INFO: Num threads: [1]
INFO: Graph: [model.tflite]
INFO: Loaded model model.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: The input model file size (MB): 3.57791
INFO: Initialized session in 20.5ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=52 first=25013 curr=9530 min=9443 max=25013 avg=9846.1 std=2130 p5=9449 median=9540 p95=9744
INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=105 first=9519 curr=9471 min=9437 max=9789 avg=9510.43 std=64 p5=9446 median=9494 p95=9663
INFO: Inference timings in us: Init: 20500, First inference: 25013, Warmup (avg): 9846.1, Inference (avg): 9510.43
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at your discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=4.53906 overall=10.7422
INFO: Overall peak memory footprint (MB) via periodic monitoring: 13.9414
INFO: Memory status at the end of exeution:
INFO: - VmRSS              : 13 MB
"""  # noqa: E501

OLD = """\
STARTING!
Initialized session in 6.071ms.
count=4 first=145679 curr=120000 min=119000 max=145679 avg=126000 std=11000

count=50 first=120001 curr=119000 min=118000 max=130000 avg=119500 std=900

Inference timings in us: Init: 6071, First inference: 145679, Warmup (avg): 126000, Inference (avg): 119500
"""  # noqa: E501


def test_a_new_builds_output_is_read_to_the_last_figure() -> None:
    run = parse_output(NEW)
    assert (run.count, run.min_ns, run.max_ns) == (105, 9_437_000, 9_789_000)
    assert (run.p50_ns, run.p95_ns) == (9_494_000, 9_663_000)
    assert run.mean_ns == pytest.approx(9_510_430)
    assert run.std_ns == pytest.approx(64_000)
    assert (run.init_ns, run.first_ns) == (20_500_000, 25_013_000)
    assert run.overall_delta_bytes == round(10.7422 * MIB)
    assert run.peak_bytes == round(13.9414 * MIB)
    assert run.xnnpack
    assert run.typical_ns == 9_494_000


def test_an_old_build_has_no_percentiles_and_no_memory_and_says_so() -> None:
    run = parse_output(OLD)
    assert (run.p50_ns, run.p95_ns, run.peak_bytes, run.overall_delta_bytes) == (None,) * 4
    assert run.typical_ns == 119_500_000
    assert not run.xnnpack


def test_runs_that_all_took_the_same_are_one_figure() -> None:
    same = OLD.replace(
        "first=120001 curr=119000 min=118000 max=130000 avg=119500 std=900", "curr=119500(all same)"
    )
    run = parse_output(same)
    assert (run.count, run.min_ns, run.max_ns, run.std_ns) == (50, 119_500_000, 119_500_000, 0.0)


def test_large_averages_printed_with_an_exponent_are_read() -> None:
    text = OLD.replace("avg=119500", "avg=1.195e+06").replace("(avg): 119500", "(avg): 1.195e+06")
    assert parse_output(text).mean_ns == pytest.approx(1.195e9)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", "got nothing", id="empty"),
        pytest.param(NEW[:400], "Inference timings", id="cut-short"),
        pytest.param(OLD.replace("count=4 ", ""), "two lines", id="one-statistic"),
        pytest.param(OLD.replace("std=900", ""), "std=", id="no-deviation"),
        pytest.param(OLD.replace("(avg): 119500", "(avg): 99"), "average", id="contradiction"),
    ],
)
def test_what_the_tool_never_writes_is_refused(text: str, told: str) -> None:
    with pytest.raises(EngineOutputError, match=r"expected .* got") as refused:
        parse_output(text)
    assert told in str(refused.value)


@given(start=st.integers(0, len(NEW)), noise=st.text(max_size=40), cut=st.integers(0, 200))
def test_damaged_output_is_read_or_refused_but_never_breaks(
    start: int, noise: str, cut: int
) -> None:
    try:
        run = parse_output(NEW[:start] + noise + NEW[start + cut :])
    except EngineOutputError:
        return
    assert run.count >= 0


def test_a_profiles_own_statistics_are_not_taken_for_latency() -> None:
    text = NEW + "INFO: Timings (microseconds): count=105 first=9 curr=9 min=9 max=9 avg=9 std=0\n"
    assert parse_output(text).count == 105


def test_operators_are_those_of_the_regular_runs_in_execution_order() -> None:
    assert parse_profile(CSV) == (
        ProfiledNode("CONV_2D", "[model/conv2d, with a comma]:0", 93_000, 1),
        ProfiledNode("SOFTMAX", "[model/softmax]:1", 31_000, 1),
    )


def test_columns_go_by_name_as_older_builds_have_one_more() -> None:
    old = CSV.replace("node type, first", "node type, start, first")
    old = old.replace("CONV_2D, 0.11", "CONV_2D, 0, 0.11").replace("SOFTMAX, ", "SOFTMAX, 0.1, ")
    old = old.replace("AllocateTensors, 0.03", "AllocateTensors, 0, 0.03")
    assert parse_profile(old) == parse_profile(CSV)


def test_the_operators_within_a_delegate_stand_for_it() -> None:
    head = "node type, first, avg_ms, %, cdf%, mem KB, times called, name\n"
    outer = (
        "TfLiteXNNPackDelegate, 0.2, 0.2, 90%, 90%, 0, 1, all:0\nSOFTMAX, 1, 1, 10%, 1%, 0, 1, s:1"
    )
    inner = "Convolution (NHWC, QC8) IGEMM, 0.1, 0.15, 75%, 75%, 0, 1, Delegate/Convolution:0"
    order = "============================== Run Order ==============================\n"
    text = (
        f"Operator-wise Profiling Info for Regular Benchmark Runs:\n{order}{head}{outer}\n\n"
        f"Delegate internal: \n{order}{head}{inner.replace('(NHWC, QC8) ', '')}\n\n"
    )
    assert [node.kind for node in parse_profile(text)] == ["SOFTMAX", "Convolution IGEMM"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        CSV.partition("Operator-wise")[0],
        CSV.replace("avg_ms", "mean"),
        CSV.replace("0.093", "x"),
    ],
)
def test_a_profile_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(EngineOutputError):
        parse_profile(text)


def test_a_refusal_is_found_among_the_chatter() -> None:
    line = "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '9'."
    assert refusal_in(f"INFO: STARTING!\n{line}\nERROR: more\n") == line
    assert refusal_in(NEW) is None


def test_memory_is_watched_only_where_latency_does_not_count() -> None:
    settings = EngineSettings(2, 50, 1.5, 60.0, 10, 0.5)
    given = flags(Path("m.tflite"), settings, peak=False, csv=None)
    assert "--num_threads=2" in given
    assert "--min_secs=1.5" in given
    assert "--report_peak_memory_footprint=false" in given
    assert not any("profiling" in word for word in given)
