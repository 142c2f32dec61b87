"""Options that say what a training starts from, and what it counts as cost."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgenas.campaign.starting import Start


def add_start(parser: argparse.ArgumentParser) -> None:
    """Which space or part of it, whose weights, whose cost."""
    parser.add_argument(
        "--space", type=Path, metavar="FILE",
        help="train the space in this TOML file, as `edgenas space evolve` and `edgenas space "
        "show` write them; --preset then only names the recipe",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=Path, metavar="FILE",
        help="start from these weights of the largest subnet: checkpoint.pt of another run, or a "
        "plain float model of the same blocks (state dict in .pt, .safetensors)",
    )  # fmt: skip
    parser.add_argument(
        "--weights-names", type=Path, metavar="FILE",
        help="TOML that says which tensors of the model belong to which layer, where neither names "
        "nor order tell",
    )  # fmt: skip
    parser.add_argument(
        "--new-classifier", action="store_true",
        help="take over all weights but the last layer's, for other classes",
    )  # fmt: skip
    parser.add_argument(
        "--only", action="append", default=[], metavar="CHOICE=OPTIONS",
        help="train a part of the space: s0.width=16,24, s1.b0.kernel=3, resolution=8, ...; "
        "`largest` leaves the largest subnet alone; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--cost", metavar="COST",
        help="what samplers that look at cost make their bins of: macs, bytes, or "
        "RUN/study.sqlite[=DEVICE], the median latency on a device as an earlier `edgenas search` "
        "of the same space measured it (default: macs, for prenas and --shrink-at bytes)",
    )  # fmt: skip


def start_of(args: argparse.Namespace) -> Start:
    """The parsed options of `add_start`."""
    from edgenas.campaign.starting import Start

    return Start(tuple(args.only), args.weights, args.new_classifier, args.weights_names)
