"""The report as a table for the terminal; the only place of this package that imports rich.

Shows the headline figures a device. Printing it is the caller's business.
"""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgenas.report import units
from edgenas.report.markup import printable
from edgenas.report.model import DeviceReport, Pick, Report
from edgenas.report.wording import against_random, limits, shipping, summary

_STYLES = {"good": "green", "bad": "red", "none": "yellow"}


def terminal_table(report: Report) -> RenderableType:
    """Return what was picked and shipped as a rich table, with a line for each failure.

    Texts of the report are never read as rich markup, and control characters are replaced.
    """
    table = Table(box=box.SIMPLE_HEAD, title=_plain(report.title), title_justify="left")
    table.add_column("device")
    for name in ("accuracy (test)", "p95 / budget", "memory / budget", "model"):
        table.add_column(name, justify="right")
    table.add_column("against random")
    table.add_column("shipped")
    for device in report.devices:
        table.add_row(*_cells(device))
    failures = [
        _plain(f"failure in {one.where}: {one.code}: {one.reason}", "red")
        for one in report.failures
    ]
    return Group(table, _plain(summary(report)), *failures)


def _cells(device: DeviceReport) -> tuple[Text, ...]:
    kind, told = shipping(device)
    name, shipped = _plain(device.device_id, "bold"), _plain(told, _STYLES[kind])
    if device.pick is None:
        dash = _plain("-")
        budget = _plain(limits(device.budget), "dim")
        return name, dash, budget, dash, dash, dash, shipped
    return name, *_pick_cells(device, device.pick), shipped


def _pick_cells(device: DeviceReport, pick: Pick) -> tuple[Text, ...]:
    memory = device.budget.peak_memory_bytes
    allowed = "no limit" if memory is None else units.size(memory)
    gain = against_random(device).partition(" against")[0].partition(" as ")[0]
    latency = units.milliseconds(pick.latency_p95_ms)
    bound = device.budget.latency_p95_ms
    slowest = "no limit" if bound is None else units.limit_ms(bound)
    return (
        _plain(units.percent(pick.bytes_accuracy_test)),
        _plain(f"{latency} / {slowest}"),
        _plain(f"{units.size(pick.peak_memory_bytes)} / {allowed}"),
        _plain(units.size(pick.model_bytes)),
        _plain(gain or "-"),
    )


def _plain(value: str, style: str = "") -> Text:
    return Text(printable(value), style=style)
