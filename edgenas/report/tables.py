"""The tables of the page: candidates, finalists, failed trials and failures.

Each function returns empty markup where there is nothing to list. Headings around the tables are
`sections`' business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgenas.report import units
from edgenas.report.markup import Markup, element, join
from edgenas.report.model import CandidatePoint, DeviceReport, FailedTrial, Failure, Finalist
from edgenas.report.wording import outside_because

Column = tuple[str, str]
"""Heading and class of a column: `n` for numbers, `wide` for sentences."""


def candidate_table(device: DeviceReport) -> Markup:
    """List all candidates, the most accurate first."""
    columns = (
        ("Candidate", ""),
        ("Search", ""),
        ("Accuracy", "n"),
        ("p50", "n"),
        ("95 % CI, ms", "n"),
        ("p95", "n"),
        ("Peak memory", "n"),
        ("Model", "n"),
        ("MACs", "n"),
        ("Verdict", ""),
        ("Level", ""),
        ("Budget", ""),
        ("Front", ""),
        ("sha256", ""),
    )
    ordered = sorted(device.candidates, key=lambda one: (-one.accuracy_search, one.latency_p95_ms))
    picked = device.pick.arch_id if device.pick else None
    rows = (
        _row(columns, _candidate_cells(one, device), chosen=one.arch_id == picked)
        for one in ordered
    )
    return _table(columns, rows) if ordered else Markup()


def finalist_table(finalists: Sequence[Finalist], picked: str | None) -> Markup:
    """List the finalists in the order in which they were tried; `picked` is an arch id."""
    columns = (
        ("Finalist", ""),
        ("Accuracy", "n"),
        ("p50", "n"),
        ("p95", "n"),
        ("p95 upper bound", "n"),
        ("Peak memory", "n"),
        ("Sessions", "n"),
        ("Budget", ""),
        ("Outcome", "wide"),
    )
    rows = (_row(columns, _finalist_cells(one), chosen=one.arch_id == picked) for one in finalists)
    return _table(columns, rows) if finalists else Markup()


def failed_table(trials: Sequence[FailedTrial]) -> Markup:
    """List the trials that never became a candidate."""
    columns = (("Trial", ""), ("Search", ""), ("Code", ""), ("Reason", "wide"))
    rows = (
        _row(columns, (one.label, one.searcher, one.code, one.reason), chosen=False)
        for one in trials
    )
    return _table(columns, rows) if trials else Markup()


def failure_table(failures: Sequence[Failure]) -> Markup:
    """List what went wrong outside single trials."""
    columns = (("Where", ""), ("Code", ""), ("Reason", "wide"))
    rows = (_row(columns, (one.where, one.code, one.reason), chosen=False) for one in failures)
    return _table(columns, rows) if failures else Markup()


def _candidate_cells(one: CandidatePoint, device: DeviceReport) -> tuple[str, ...]:
    low, high = one.p50_ci95_ms
    return (
        element("span", one.label, title=one.arch_id),
        one.searcher,
        units.percent(one.accuracy_search),
        units.milliseconds(one.latency_p50_ms),
        f"{units.significant(low)}\u2013{units.significant(high)}",
        units.milliseconds(one.latency_p95_ms),
        units.size(one.peak_memory_bytes),
        units.size(one.model_bytes),
        units.macs(one.macs),
        one.verdict,
        one.level,
        outside_because(one, device.budget) or "inside",
        "yes" if one.on_front else "",
        element("span", units.short_digest(one.sha256, 8), class_="mono", title=one.sha256),
    )


def _finalist_cells(one: Finalist) -> tuple[str, ...]:
    upper = one.latency_p95_upper_ms
    resolution = one.label.split(" ", 1)[0]
    return (
        element("span", f"{resolution} {one.arch_id}", title=one.label),
        units.percent(one.accuracy_search),
        units.milliseconds(one.latency_p50_ms),
        units.milliseconds(one.latency_p95_ms),
        "too few samples" if upper is None else units.milliseconds(upper),
        units.size(one.peak_memory_bytes),
        units.count(one.sessions),
        "inside" if one.inside_budget else "over",
        one.outcome,
    )


def _row(columns: Sequence[Column], cells: Sequence[str], *, chosen: bool) -> Markup:
    written = (
        element("td", cell, class_=class_ or None)
        for cell, (_, class_) in zip(cells, columns, strict=True)
    )
    return element("tr", *written, class_="chosen" if chosen else None)


def _table(columns: Sequence[Column], rows: Iterable[Markup]) -> Markup:
    heads = (element("th", name, class_=class_ or None, scope="col") for name, class_ in columns)
    table = element("table", element("thead", element("tr", *heads)), element("tbody", join(rows)))
    return element("div", table, class_="scroll", tabindex="0")
