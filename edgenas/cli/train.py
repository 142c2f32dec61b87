"""`edgenas train`: train a quantised-for-all supernet, or go on with one."""

from __future__ import annotations

import argparse
import contextlib
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.cli.options import Subparsers, add_training, command_line, training_options
from edgenas.cli.start_options import add_start, start_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgenas.campaign.costs import ChosenCost
    from edgenas.campaign.progress import Progress
    from edgenas.campaign.rundir import RunDir
    from edgenas.data import ImageData
    from edgenas.space.space import ArchSpace
    from edgenas.train.checkpoint import Checkpoint


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "train",
        help="train a supernet in which every subnet is INT8",
        description="Trains one subnet a step, with labels, unless the recipe "
        "says otherwise (`edgenas recipes` lists them); after a short float warm-up every forward "
        "pass of every subnet runs in fake-quantised INT8. Ctrl-C loses nothing, a kill at most "
        "the steps since the last checkpoint (ten): the same command goes on, also with another "
        "number of processes: `torchrun --nproc-per-node N -m edgenas train ...` shares every "
        "batch out among N.",
    )
    add_training(parser)
    add_start(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train; of several processes only the first one shows and keeps anything."""
    from edgenas.campaign.rundir import RunDir
    from edgenas.campaign.training import train_run
    from edgenas.train.distributed import Place, together

    folder, place = RunDir(args.out), Place.from_environment(os.environ)
    with _progress(shown=place.rank == 0) as progress:
        with together(place) as peers:
            options, command = training_options(args), command_line()
            options = replace(options, start=start_of(args), space_file=args.space)
            options = replace(options, cost=_cost_of(args))
            checkpoint, data = train_run(folder, options, command, progress, peers)
        if place.rank == 0:
            _tell_ends(folder, checkpoint, data, progress)
            print(folder.checkpoint)
    return 0


def _cost_of(args: argparse.Namespace) -> Callable[[ArchSpace, RunDir], ChosenCost] | None:
    if args.cost is None:
        return None
    from edgenas.campaign.costs import chosen_cost

    return partial(chosen_cost, args.cost)


def _progress(*, shown: bool) -> contextlib.AbstractContextManager[Progress]:
    from rich.console import Console

    from edgenas.campaign.progress import Silent
    from edgenas.cli.display import Display

    return Display(Console(stderr=True)) if shown else contextlib.nullcontext(Silent())


def _tell_ends(folder: RunDir, checkpoint: Checkpoint, data: ImageData, progress: Progress) -> None:
    """Say what the extremes of what was trained are worth, and who may take them."""
    from edgenas.campaign.training import scorer_of
    from edgenas.fleet.keys import ensure_keys
    from edgenas.train.trained import listed_archs, trained_space

    scorer = scorer_of(folder, checkpoint, data)
    trained = trained_space(checkpoint)
    if archs := listed_archs(checkpoint):
        progress.note(
            f"{len(archs)} subnets were trained, no others; largest and smallest are of these"
        )
    for name, arch in (("largest", trained.largest()), ("smallest", trained.smallest())):
        found = scorer.candidate(arch)
        progress.note(
            f"{name} subnet: {100 * found.accuracy:.2f} % of the search split by its INT8 "
            f"bytes, {found.exported.size_bytes / 1024:.0f} KiB, {found.macs / 1e6:.2f} MMAC"
        )
    keys = ensure_keys(folder.keys).verify  # now, for devices are started before `ship`
    given = " ".join(f"--verify-key {key}" for key in keys)
    progress.note(f"devices take releases of this run if started with {given}")
