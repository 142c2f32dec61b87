"""`edgenas demo`: the main job in one go, on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenas.cli.options import Subparsers, add_training, command_line, training_options


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo",
        help="the whole job on this machine: train, search, pick, ship, report",
        description="Trains an INT8 supernet, starts a broker and two device daemons, lets them "
        "measure candidates, picks the best fit for each, ships it and writes a report. Repeating "
        "the command goes on where it stopped.",
    )
    add_training(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("edgenas-demo"), metavar="DIR",
        help="keeps everything (default: edgenas-demo)",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="a small one: with digits under 90 seconds"
    )
    parser.add_argument(
        "--broker", metavar="URL", help="mqtt[s]://HOST:PORT instead of the embedded broker"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run everything."""
    from rich.console import Console

    from edgenas.campaign.demo import demo_plan, run_demo
    from edgenas.campaign.rundir import RunDir
    from edgenas.cli.display import Display
    from edgenas.report.terminal import terminal_table

    folder = RunDir(args.out)
    plan = demo_plan(training_options(args), quick=args.quick)
    with Display(Console(stderr=True)) as display:
        report = run_demo(folder, plan, args.broker, command_line(), display)
    console = Console()
    console.print(terminal_table(report))
    console.print(f"{folder.report_html}\n{folder.report_json}", highlight=False)
    return 1 if report.failures else 0
