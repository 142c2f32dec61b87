"""`edgenas report`: test the picks once and write report.json and report.html."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenas.cli.options import Subparsers, add_run, command_line


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="test the picks and write report.json and report.html",
        description="Reads the test split once, for the picks, and keeps the figures; writing the "
        "report again does not read it again.",
    )
    add_run(parser)
    parser.add_argument(
        "--plots", type=Path, metavar="DIR", help="also write one SVG plot per device here"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Report."""
    from rich.console import Console

    from edgenas.campaign.rundir import RunDir
    from edgenas.campaign.steps import write_reports
    from edgenas.campaign.workbench import workbench
    from edgenas.cli.display import Display
    from edgenas.report import write_plot_svg
    from edgenas.report.terminal import terminal_table

    folder = RunDir(args.folder)
    with Display(Console(stderr=True)) as display, workbench(folder) as bench:
        report = write_reports(bench, command_line(), display)
    if args.plots:
        args.plots.mkdir(parents=True, exist_ok=True)
        for device in report.devices:
            write_plot_svg(device, args.plots / f"{device.device_id}.svg")
    console = Console()
    console.print(terminal_table(report))
    console.print(f"{folder.report_html}\n{folder.report_json}", highlight=False)
    return 0
