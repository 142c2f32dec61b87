"""The table for the terminal holds the headline figures and never interprets texts."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from edgenas.report import Failure, Report
from edgenas.report.terminal import terminal_table
from tests.edgenas.report.edges import edge_devices
from tests.edgenas.report.sample import sample_report


def _printed(report: Report) -> str:
    console = Console(file=io.StringIO(), width=240, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(terminal_table(report))
    return captured.get()


def test_table_shows_figures_of_every_device() -> None:
    report = sample_report()
    printed = _printed(report)
    for device in report.devices:
        assert device.device_id in printed
        assert device.pick is not None
        assert f"{100 * device.pick.bytes_accuracy_test:.2f}" in printed
        assert f"device confirms {device.pick.sha256[:12]}" in printed
    assert "failure in fleet: DEVICE_LOST" in printed


def test_device_without_a_pick_has_its_budget_in_the_table() -> None:
    printed = _printed(replace(sample_report(), devices=(edge_devices()["no-pick"],)))
    assert "nothing shipped" in printed
    assert "p95\u00a0≤\u00a00.3\u00a0ms" in printed


def test_texts_are_neither_rich_markup_nor_escape_sequences() -> None:
    failure = Failure("[red]x[/red]", "[/]", "\x1b]0;title\x07 [link=http://x]y[/link]")
    report = replace(sample_report(), title="[bold]t[/bold]", failures=(failure,))
    printed = _printed(replace(report, devices=(edge_devices()["hostile"],)))
    assert "[red]x[/red]: [/]" in printed
    assert "[bold]t[/bold]" in printed
    assert "[link=http://x]y[/link]" in printed
    assert "\x1b]0;" not in printed
    assert "\x1b[31m" not in printed
