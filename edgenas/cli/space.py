"""`edgenas space`: show a space as a file, or evolve one for a device."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.cli.options import Subparsers, add_broker, add_devices, seconds

if TYPE_CHECKING:
    from edgenas.campaign.block_meter import BlockMeter
    from edgenas.campaign.evolving import Evolved, EvolvePlan


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "space",
        help="show a space as a file, or evolve one for a device",
        description="A space file says which networks exist; `edgenas train --space FILE` trains "
        "all of them in one supernet.",
    )
    verbs = parser.add_subparsers(title="what to do", required=True, metavar="VERB")
    _add_show(verbs)
    _add_evolve(verbs)


def _add_show(verbs: Subparsers) -> None:
    parser = verbs.add_parser(
        "show",
        help="print a preset or a space file as TOML",
        description="Prints a space as a file; `edgenas space show digits > mine.toml` is where a "
        "space of your own begins.",
    )
    parser.add_argument("space", metavar="NAME|FILE", help="a preset, or a space file")
    parser.set_defaults(run=show)


def _add_evolve(verbs: Subparsers) -> None:
    parser = verbs.add_parser(
        "evolve",
        help="find the space that suits a device",
        description="SpaceEvo: every form of block that a stage may have learns to imitate the "
        "same stage of the teacher in INT8, real INT8 files of its sub-stages are timed on the "
        "device, and spaces evolve by what networks of theirs would lose within the latency limit. "
        "A form that has not learnt is trained again, then excluded with the reason. Writes "
        "DIR/space.toml for `edgenas train --space`. Ctrl-C or a kill loses little: the same "
        "command goes on, and another limit needs no new table.",
    )
    parser.add_argument(
        "teacher", type=Path, metavar="RUN",
        help="folder made by `edgenas train`: its largest network is imitated, and its space lies "
        "in the middle of those that are looked at",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="keeps everything")
    parser.add_argument(
        "--latency-ms", type=float, metavar="MS",
        help="median latency that networks shall have at most (default: what half of the networks "
        "of the teacher's space have)",
    )  # fmt: skip
    parser.add_argument(
        "--rows", type=int, default=8, metavar="N", help="sub-stages of each width and form (8)"
    )
    parser.add_argument(
        "--steps", type=int, default=200, metavar="N", help="training steps of each form (200)"
    )
    parser.add_argument("--batch", type=int, default=64, help="images a step (64)")
    parser.add_argument(
        "--images", type=int, default=4096, metavar="N", help="images that forms learn from (4096)"
    )
    parser.add_argument(
        "--asked", type=int, default=2000, metavar="N", help="images they are judged on (2000)"
    )
    parser.add_argument(
        "--spaces", type=int, default=5000, metavar="N", help="spaces to score (5000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (0)")
    parser.add_argument("--level", default="quick", help="of timing: quick (default), standard")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="interpreter threads here (1)"
    )
    add_broker(parser, required=False)
    add_devices(parser)
    parser.add_argument(
        "--wait", type=seconds, default=10.0, metavar="S", help="wait this long for devices (10)"
    )
    parser.epilog = "Times on this machine, unless --device names one of a fleet (with --broker)."
    parser.set_defaults(run=evolve)


def show(args: argparse.Namespace) -> int:
    """Print one space."""
    from edgenas.space.presets import PRESETS
    from edgenas.space.space_file import read_space_file, space_toml

    space = PRESETS.get(args.space)
    print(space_toml(space or read_space_file(Path(args.space))), end="")
    return 0


def evolve(args: argparse.Namespace) -> int:
    """Evolve a space and say what it is."""
    from rich.console import Console

    from edgenas.campaign.evolving import evolve_space
    from edgenas.campaign.rundir import RunDir
    from edgenas.cli.display import Display

    with Display(Console(stderr=True)) as display, _meter(args) as meter:
        evolved = evolve_space(RunDir(args.teacher), args.out, _plan(args), meter, display)
        display.note(_summary(evolved))
        display.note(f"to look at: {evolved.page}")
    print(evolved.path)
    return 0


def _plan(args: argparse.Namespace) -> EvolvePlan:
    from edgenas.campaign.block_table import TablePlan
    from edgenas.campaign.evolving import EvolvePlan
    from edgenas.search.space_evolution import EvolutionSettings
    from edgenas.train.blockwise import ImitationRecipe

    imitation = ImitationRecipe(steps=args.steps, batch=args.batch, seed=args.seed)
    table = TablePlan(args.rows, imitation, args.images, args.asked, args.seed)
    evolution = EvolutionSettings(spaces=args.spaces)
    return EvolvePlan(table, evolution, args.latency_ms, seed=args.seed)


@contextlib.contextmanager
def _meter(args: argparse.Namespace) -> Iterator[BlockMeter]:
    """This machine, or the one device that was named."""
    from edgenas.campaign.block_meter import FleetMeter, LocalMeter
    from edgenas.campaign.errors import CampaignError
    from edgenas.campaign.fleet_session import fleet_host
    from edgenas.campaign.rundir import RunDir
    from edgenas.cli.fleet_options import chosen_setups
    from edgenas.fleet.profiles import known_profiles

    if not args.device:
        yield LocalMeter(args.level, args.threads)
        return
    if len(args.device) > 1 or args.broker is None:
        raise CampaignError(
            f"space evolve: expected one --device and a --broker, got {args.device} and "
            f"{args.broker}; evolve a space for each device into a folder of its own"
        )
    folder = RunDir(args.out)
    with fleet_host(folder, args.broker, args.fleet, args.database, args.tls) as host:
        profiles = known_profiles(*args.profile_dirs)
        (setup,) = chosen_setups(args.device, host, args.wait, profiles)
        yield FleetMeter(host, setup, args.level)


def _summary(evolved: Evolved) -> str:
    """What was found, in a few lines."""
    spaces, score, own = evolved.filled.super_space, evolved.score, evolved.own
    lines = [f"  {part}" for part in spaces.describe(evolved.code).split(" | ")]
    found = (
        f"{100 * score.share:.1f} % of its networks within {evolved.limit_ms:.4g} ms, loss of the "
        f"best {score.loss:.3f}, score {score.score:.3f}"
    )
    before = "" if own is None else (
        f"; the space it began with: {100 * own.share:.1f} %, {own.loss:.3f}, {own.score:.3f}"
    )  # fmt: skip
    return "\n".join([f"the best space, {found}{before}:", *lines])
