"""A measurement for people: what ``edgenas-device bench`` prints without ``--json``.

Plain text, fits a terminal of 80 columns. Lays out the fields of ``report`` and computes nothing
but units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from firmware_bridge.bench.advice import MEASURED
from firmware_bridge.bench.details import Operator, OperatorReport
from firmware_bridge.bench.report import BenchReport, describe, in_words

UNKNOWN = "unknown"
MOST_OPERATORS = 30
_LABEL_WIDTH = 26
_CELL_WIDTH = 16
_NAME_WIDTH = 40
_MIB = 1024 * 1024

Fields = Mapping[str, Any]
Row = tuple[str, Sequence[str]]


def draw(report: BenchReport) -> str:
    """The whole page."""
    fields = describe(report)
    parts = [_head(report, fields)]
    if report.outcome.kind == "measurement" and fields["verdict"] in MEASURED:
        parts += [_figures(report, fields), _surroundings(fields)]
    if report.operators is not None:
        parts.append(operators_table(report.operators))
    return "\n\n".join(parts)


def _head(report: BenchReport, fields: Fields) -> str:
    fingerprint = fields["fingerprint"]
    cpus = fingerprint["cpus"]
    pinned = f"CPUs {', '.join(map(str, cpus))}" if cpus else "not pinned"
    rows = [
        ("model", str(report.model)),
        ("against", str(report.against or "")),
        ("board", fingerprint["board"] or fingerprint["cpu"] or fingerprint["arch"]),
        ("runtime", fields.get("runtime") or UNKNOWN),
        ("beside it", _other_runtime(fields)),
        ("threads", f"{fingerprint['threads']}, {pinned}"),
        ("governor", fingerprint["governor"] or UNKNOWN),
        ("verdict", fields["verdict"] if "verdict" in fields else f"failed ({fields['code']})"),
        ("why", fields.get("detail") or ""),
        ("what to do", fields["advice"] or ""),
    ]
    lines = [f"{label:<12}{text}" for label, text in rows if text]
    if report.ratio is not None and report.against is not None:
        lines += ["", in_words(report.ratio, "A", "B"), *_names(report)]
    return "\n".join(lines)


def _other_runtime(fields: Fields) -> str:
    """What runs the other model, where it is another runtime."""
    other = (fields["against_loading"] or {}).get("runtime")
    return other if other and other != fields.get("runtime") else ""


def _names(report: BenchReport) -> list[str]:
    assert report.against is not None
    return [f"  A = {report.model.name}", f"  B = {report.against.name}"]


def _figures(report: BenchReport, fields: Fields) -> str:
    columns = [fields["latency"], fields["reference_latency"]]
    loading = [fields, fields["against_loading"]]
    width = 1 if report.against is None else 2
    heads = [""] if width == 1 else ["A", "B"]
    blocks = [
        ("latency, ms", _latency_rows(columns[:width])),
        ("loading, ms", _loading_rows(loading[:width])),
        ("memory, MiB", _memory_rows([each and each["memory"] for each in loading[:width]])),
    ]
    lines: list[str] = []
    for title, rows in blocks:
        lines += ["", f"{title:<{_LABEL_WIDTH}}" + "".join(f"{h:>{_CELL_WIDTH}}" for h in heads)]
        lines += [
            f"  {label:<{_LABEL_WIDTH - 2}}" + "".join(f"{c:>{_CELL_WIDTH}}" for c in cells)
            for label, cells in rows
            if any(cell.strip("-") for cell in cells)
        ]
    return "\n".join(line.rstrip() for line in lines[1:])


def _latency_rows(columns: Sequence[Fields | None]) -> list[Row]:
    def cells(name: str) -> list[str]:
        return [_ms(_value(each, name)) for each in columns]

    def interval(each: Fields | None) -> str:
        if not each or each["p50_ci95_ns"] is None:
            return "-"
        low, high = each["p50_ci95_ns"]
        return f"{_ms(low)}-{_ms(high)}"

    return [
        ("median (p50)", cells("p50_ns")),
        ("  95 % CI", [interval(each) for each in columns]),
        ("p90", cells("p90_ns")),
        ("p95", cells("p95_ns")),
        ("  at most, 95 % sure", cells("p95_upper95_ns")),
        ("p99", cells("p99_ns")),
        ("mean", cells("mean_ns")),
        ("least", cells("min_ns")),
        ("spread (cv), %", [f"{100 * each['cv']:.1f}" if each else "-" for each in columns]),
        ("runs", [f"{each['n']:,}" if each else "-" for each in columns]),
    ]


def _loading_rows(columns: Sequence[Fields | None]) -> list[Row]:
    names = (
        ("file not cached", "load_cold_ns"),
        ("file cached", "load_warm_ns"),
        ("first run", "first_invoke_ns"),
    )
    return [(label, [_ms(_value(each, name)) for each in columns]) for label, name in names]


def _memory_rows(columns: Sequence[Fields | None]) -> list[Row]:
    names = (
        ("peak, above the runtime", "peak_delta_bytes"),
        ("runtime and Python alone", "baseline_bytes"),
        ("peak, all", "peak_bytes"),
        ("shared fairly (PSS)", "pss_bytes"),
        ("private, written to", "private_dirty_bytes"),
        ("anonymous", "rss_anon_bytes"),
        ("of files", "rss_file_bytes"),
        ("in swap", "swap_bytes"),
        ("model file", "model_file_bytes"),
    )
    return [(label, [_mib(_value(each, name)) for each in columns]) for label, name in names]


def _surroundings(fields: Fields) -> str:
    legs = fields.get("legs") or []
    warmest = max((leg["temp_c"] for leg in legs if leg["temp_c"] is not None), default=None)
    slowest = min((leg["freq_khz"] for leg in legs if leg["freq_khz"]), default=None)
    flags = [leg["throttle_bits"] for leg in legs if leg["throttle_bits"] is not None]
    preempted = sum(leg["nivcsw"] > 0 for leg in legs)
    busy = fields.get("busy_pct")
    rows = [
        ("others used the CPUs", UNKNOWN if busy is None else f"{busy:g} %"),
        ("temperature, highest", UNKNOWN if warmest is None else f"{warmest:.1f} degrees Celsius"),
        ("frequency, lowest", UNKNOWN if slowest is None else f"{slowest / 1000:,.0f} MHz"),
        ("throttle flags", f"{_union(flags):#x}" if flags else f"{UNKNOWN} (no source)"),
        ("interrupted legs", f"{preempted} of {len(legs)}" if legs else ""),
    ]
    lines = [f"  {label:<{_LABEL_WIDTH - 2}}{text:>{_CELL_WIDTH}}" for label, text in rows if text]
    return "\n".join(["meanwhile", *lines])


def operators_table(report: OperatorReport) -> str:
    """Operators by kind, then the slowest ones; one line if the runtime tells none."""
    if report.operators is None:
        return f"operators: {report.note}"
    total_ns = sum(each.ns for each in report.operators) or 1
    kinds: dict[str, list[Operator]] = {}
    for each in report.operators:
        kinds.setdefault(each.kind, []).append(each)
    lines = [f"{'by kind':<{_NAME_WIDTH}}{'operators':>10}{'ms a run':>12}{'%':>8}"]
    for kind, members in sorted(kinds.items(), key=lambda item: -_time(item[1])):
        lines.append(_line(kind, str(len(members)), _time(members), report.invocations, total_ns))
    shown = sorted(report.operators, key=lambda each: -each.ns)[:MOST_OPERATORS]
    lines += ["", f"{'slowest first':<{_NAME_WIDTH}}{'':>10}{'ms a run':>12}{'%':>8}"]
    for each in shown:
        lines.append(_line(f"{each.kind} {each.name}", "", each.ns, report.invocations, total_ns))
    left_out = len(report.operators) - len(shown)
    if left_out:
        lines.append(f"and {left_out} more, see --json")
    watched = "watching slows the model down: these show where time goes, they are not a latency"
    return "\n".join([f"operators, over {report.invocations} runs ({watched})", *lines])


def _line(name: str, count: str, ns: int, invocations: int, total_ns: int) -> str:
    short = name if len(name) < _NAME_WIDTH else name[: _NAME_WIDTH - 4] + "..."
    milliseconds = ns / max(invocations, 1) / 1e6
    return f"{short:<{_NAME_WIDTH}}{count:>10}{milliseconds:>12.4f}{100 * ns / total_ns:>8.1f}"


def _value(column: Fields | None, name: str) -> Any:
    """A field of one column; None if there is no such column or no such field."""
    return None if column is None else column.get(name)


def _time(operators: Sequence[Operator]) -> int:
    return sum(each.ns for each in operators)


def _union(flags: Sequence[int]) -> int:
    union = 0
    for bits in flags:
        union |= bits
    return union


def _ms(ns: float | None) -> str:
    return "-" if ns is None else f"{ns / 1e6:.4g}" if ns < 1e9 else f"{ns / 1e6:,.0f}"


def _mib(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "-"
    return f"{size_bytes / _MIB:.2f}"
