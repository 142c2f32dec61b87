"""TensorFlow Lite's own ``benchmark_model``: which flags to give it, and what its output says.

Follows the tool's sources (``lite/tools/benchmark/benchmark_model.cc`` and ``stats_calculator.h``
of TensorFlow 2.5 to 2.20): every line it logs may carry a prefix, a statistic is one line of
``name=value``, ``curr=value`` alone (with ``(all same)``) if all runs took equally long, and newer
builds add percentiles. Pure; the program is run by ``external``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.wire.errors import BridgeError

PROGRAM = "benchmark_model"
MIB = 1024 * 1024
_NUMBER = r"[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?"
_STATISTIC = re.compile(rf"(?:^|\s)count=(?P<count>\d+)(?P<rest>(?:\s+\w+={_NUMBER})*)")
_PAIR = re.compile(rf"(\w+)=({_NUMBER})")
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: (?P<init>{_NUMBER}), First inference: (?P<first>{_NUMBER}), "
    rf"Warmup \(avg\): (?P<warmup>{_NUMBER}), Inference \(avg\): (?P<average>{_NUMBER})"
)
_DELTA = re.compile(
    rf"Memory footprint delta from the start of the tool \(MB\): init={_NUMBER} "
    rf"overall=(?P<overall>{_NUMBER})"
)
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: ({_NUMBER})")
_REFUSALS = (
    "Failed to construct interpreter",
    "Failed to allocate tensors",
    "Failed to load",
    "Failed to mmap",
    "Didn't find op for builtin",
    "unresolved custom op",
    "Could not open",
    "failed to prepare",
    "Benchmarking failed",
)
_SECTION = re.compile(r"^=+ (?P<title>.*?) =+$")
_REGULAR_RUNS = "Operator-wise Profiling Info for Regular Benchmark Runs"
_COLUMNS = ("node type", "avg_ms", "times called", "name")


class EngineOutputError(BridgeError):
    """The output of ``benchmark_model`` is not what its sources write."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(
            f"output of {PROGRAM}: expected {expected}, got {got}; "
            "use a build of TensorFlow 2.5 or newer"
        )


@dataclass(frozen=True)
class EngineRun:
    """One run of the tool, times in nanoseconds (it resolves microseconds).

    Attributes:
        count: Timed runs.
        min_ns, max_ns, mean_ns, std_ns: Over the timed runs.
        p50_ns, p95_ns: None in builds that print no percentiles.
        init_ns: Loading and allocating.
        first_ns: The first run of the warm-up.
        overall_delta_bytes: Memory at the end over memory at the start; None if not supported.
        peak_bytes: Highest resident memory seen by its own watcher, None if that did not run.
        xnnpack: Whether it said that XNNPACK was created.
    """

    count: int
    min_ns: int
    max_ns: int
    mean_ns: float
    std_ns: float
    p50_ns: int | None
    p95_ns: int | None
    init_ns: int
    first_ns: int
    overall_delta_bytes: int | None
    peak_bytes: int | None
    xnnpack: bool

    @property
    def typical_ns(self) -> float:
        """The median, or the mean where the build prints none."""
        return self.mean_ns if self.p50_ns is None else float(self.p50_ns)


@dataclass(frozen=True)
class ProfiledNode:
    """One row of the tool's table in execution order; ``avg_ns`` is the time of one inference."""

    kind: str
    name: str
    avg_ns: int
    times_called: int


@dataclass(frozen=True)
class EngineSettings:
    """How long the tool runs; see its own ``--help`` for the flags these become."""

    threads: int
    num_runs: int
    min_s: float
    max_s: float
    warmup_runs: int
    warmup_s: float


def flags(model: Path, settings: EngineSettings, *, peak: bool, csv: Path | None) -> list[str]:
    """Arguments of one run.

    Args:
        model: The .tflite file.
        settings: How long and on how many threads.
        peak: Watch memory; that thread disturbs latency, so ask for one of the two.
        csv: Where to write each operator's time; profiling slows the model down too.
    """
    given = [
        f"--graph={model}",
        f"--num_threads={settings.threads}",
        f"--num_runs={settings.num_runs}",
        f"--min_secs={settings.min_s:g}",
        f"--max_secs={settings.max_s:g}",
        f"--warmup_runs={settings.warmup_runs}",
        f"--warmup_min_secs={settings.warmup_s:g}",
        f"--report_peak_memory_footprint={'true' if peak else 'false'}",
    ]
    if csv is not None:
        given += ["--enable_op_profiling=true", f"--profiling_output_csv_file={csv}"]
    return given


def parse_output(text: str) -> EngineRun:
    """What one successful run printed.

    Raises:
        EngineOutputError: A line that every build prints is missing, or contradicts another.
    """
    timings = _TIMINGS.search(text)
    if timings is None:
        raise EngineOutputError("a line 'Inference timings in us: ...'", _last_line(text))
    statistics = [_statistic(match) for match in _statistic_lines(text)]
    if len(statistics) < 2:
        raise EngineOutputError("two lines 'count=...', warm-up and runs", f"{len(statistics)}")
    runs = statistics[-1]
    _check_agreement(runs["avg"], float(timings["average"]))
    delta, peak = _DELTA.search(text), _PEAK.search(text)
    return EngineRun(
        count=int(runs["count"]),
        min_ns=_ns(runs["min"]),
        max_ns=_ns(runs["max"]),
        mean_ns=runs["avg"] * 1000,
        std_ns=runs["std"] * 1000,
        p50_ns=_ns(runs["median"]) if "median" in runs else None,
        p95_ns=_ns(runs["p95"]) if "p95" in runs else None,
        init_ns=_ns(float(timings["init"])),
        first_ns=_ns(float(timings["first"])),
        overall_delta_bytes=round(float(delta["overall"]) * MIB) if delta else None,
        peak_bytes=round(float(peak[1]) * MIB) if peak else None,
        xnnpack="XNNPACK delegate for CPU" in text,
    )


def refusal_in(text: str) -> str | None:
    """The line in which the tool says that it cannot run this model; None if it says no such."""
    for line in text.splitlines():
        if any(sign in line for sign in _REFUSALS):
            return line.strip()
    return None


def parse_profile(text: str) -> tuple[ProfiledNode, ...]:
    """The operators of the regular runs in execution order, out of the CSV that the tool writes.

    Older builds leave the columns ``start`` and ``first`` in or out, so columns go by name. Where a
    delegate ran the graph, its inner operators follow in a table of their own and replace it.

    Raises:
        EngineOutputError: There is no such table, or a row does not fit its heading.
    """
    tables = list(_run_orders(text))
    if not tables:
        raise EngineOutputError("a table 'Run Order' of regular runs", _last_line(text))
    outer, *inner = tables
    within = [node for table in inner for node in table]
    if not within:
        return tuple(outer)
    return tuple(node for node in outer if "delegate" not in node.kind.lower()) + tuple(within)


def _run_orders(text: str) -> Iterator[list[ProfiledNode]]:
    """The tables 'Run Order' behind the heading of the regular runs."""
    lines = iter(text.partition(_REGULAR_RUNS)[2].splitlines())
    for line in lines:
        section = _SECTION.match(line.strip())
        if section and section["title"] == "Run Order":
            heading = [cell.strip() for cell in next(lines, "").split(",")]
            if not set(_COLUMNS) <= set(heading):
                raise EngineOutputError(f"columns {', '.join(_COLUMNS)}", ", ".join(heading))
            yield list(_rows(heading, lines))


def _rows(heading: Sequence[str], lines: Iterator[str]) -> Iterator[ProfiledNode]:
    for line in lines:
        if not line.strip():
            return
        cells = [cell.strip() for cell in line.split(",", len(heading) - 1)]
        row = dict(zip(heading, cells, strict=False))
        try:
            avg_ns = round(float(row["avg_ms"]) * 1e6)
            yield ProfiledNode(row["node type"], row["name"], avg_ns, int(row["times called"]))
        except (KeyError, ValueError) as error:
            raise EngineOutputError(f"a row of {len(heading)} columns", line.strip()) from error


def _statistic_lines(text: str) -> Iterator[re.Match[str]]:
    """Lines that are a statistic; a profile's own ('Timings (microseconds): count=') is none."""
    for line in text.splitlines():
        match = _STATISTIC.search(line)
        if match and "Timings" not in line and "Memory (bytes)" not in line:
            yield match


def _statistic(match: re.Match[str]) -> Mapping[str, float]:
    """All fields of a statistic; equal runs print ``curr`` alone."""
    found = {name: float(value) for name, value in _PAIR.findall(match["rest"])}
    if "avg" not in found and "curr" in found:
        same = found["curr"]
        found |= {"first": same, "min": same, "max": same, "avg": same, "std": 0.0}
    for name in ("min", "max", "avg", "std"):
        if name not in found:
            raise EngineOutputError(f"a statistic with {name}=", match[0].strip())
    return found | {"count": float(match["count"])}


def _check_agreement(average_us: float, told_us: float) -> None:
    """Both are printed with six digits."""
    if abs(average_us - told_us) > 1e-4 * max(average_us, told_us) + 1:
        raise EngineOutputError(
            f"an average of {told_us} us in the last statistic", str(average_us)
        )


def _ns(microseconds: float) -> int:
    return round(microseconds * 1000)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return repr(lines[-1][:200]) if lines else "nothing"
