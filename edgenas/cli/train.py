"""`edgenas train`: train a quantised-for-all supernet, or go on with one."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenas.cli.options import Subparsers, add_training, command_line, training_options


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "train",
        help="train a supernet in which every subnet is INT8",
        description="Trains with the sandwich rule and in-place distillation, unless the recipe "
        "says otherwise (`edgenas recipes` lists them); after a short float warm-up every forward "
        "pass of every subnet runs in fake-quantised INT8. Ctrl-C or a kill loses at most the step "
        "under way: the same command goes on.",
    )
    add_training(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train."""
    from rich.console import Console

    from edgenas.campaign.rundir import RunDir
    from edgenas.campaign.training import scorer_of, train_run
    from edgenas.cli.display import Display
    from edgenas.fleet.keys import ensure_keys

    folder = RunDir(args.out)
    with Display(Console(stderr=True)) as display:
        checkpoint, data = train_run(folder, training_options(args), command_line(), display)
        scorer = scorer_of(folder, checkpoint, data)
        for name, arch in (
            ("largest", checkpoint.space.largest()),
            ("smallest", checkpoint.space.smallest()),
        ):
            found = scorer.candidate(arch)
            display.note(
                f"{name} subnet: {100 * found.accuracy:.2f} % of the search split by its INT8 "
                f"bytes, {found.exported.size_bytes / 1024:.0f} KiB, {found.macs / 1e6:.2f} MMAC"
            )
        key, _ = ensure_keys(folder.keys).verify  # now, for devices are started before `ship`
        display.note(f"devices take releases of this run if started with --verify-key {key}")
    print(folder.checkpoint)
    return 0
