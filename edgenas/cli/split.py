"""`edgenas split`: where sharing weights hurts, and the commands that train the parts apart."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenas.cli.options import Subparsers, add_run


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "split",
        help="split a supernet into several where its subnets disagree",
        description="Compares the gradients that the options of each choice have on the weights "
        "they share, and cuts the space where they disagree most, again and again. Every subnet is "
        "in exactly one part. Trains nothing: prints, for each part, the command that trains it "
        "from the weights of this run. K parts cost K checkpoints.",
    )
    add_run(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR",
        help="receives split.json and recipe.toml, and later the runs of the parts",
    )  # fmt: skip
    parser.add_argument("--pieces", type=int, default=2, metavar="K", help="parts (default: 2)")
    parser.add_argument(
        "--storage", metavar="SIZE",
        help="what the checkpoints of all parts together may take, such as 40MiB (default: any)",
    )  # fmt: skip
    parser.add_argument(
        "--batches", type=int, default=100, metavar="N",
        help="batches that gradients are compared over, for each choice (default: 100)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Split."""
    from rich.console import Console

    from edgenas.campaign.rundir import RunDir
    from edgenas.campaign.splitting import SplitOptions, split_run
    from edgenas.cli.display import Display

    limit = None if args.storage is None else _size(args.storage)
    options = SplitOptions(args.out, args.pieces, limit, args.batches, args.seed)
    with Display(Console(stderr=True)) as display:
        pieces = split_run(RunDir(args.folder), options, display)
    for piece in pieces:
        print(
            f"# {' '.join(piece.only)}: {piece.subnets:,} subnets, about {piece.expected_bytes:,} B"
        )
        print(piece.command)
    return 0


def _size(text: str) -> int:
    """Bytes of a size such as 40MiB.

    Raises:
        BudgetError: it is none.
    """
    from edgenas.search.budget import parse_budget
    from edgenas.search.errors import BudgetError

    found = parse_budget(text).peak_memory_bytes
    if found is None or "," in text:
        raise BudgetError(f"storage {text!r}: expected a size such as 40MiB, got something else")
    return found
