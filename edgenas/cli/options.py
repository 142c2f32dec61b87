"""Options that several commands share."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgenas.campaign.training import TrainOptions

MAX_WAIT_S = 86_400.0

type Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_run(parser: argparse.ArgumentParser) -> None:
    """The run folder of an earlier `edgenas train`."""
    parser.add_argument("folder", metavar="RUN", type=Path, help="folder made by `edgenas train`")


def add_broker(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Where the devices are."""
    parser.add_argument(
        "--broker", metavar="URL", required=required and "EDGENAS_BROKER" not in os.environ,
        default=os.environ.get("EDGENAS_BROKER"),
        help="mqtt://HOST:PORT or mqtts://HOST:PORT (also from EDGENAS_BROKER)",
    )  # fmt: skip
    parser.add_argument("--fleet", default="edgenas", help="name of the fleet (default: edgenas)")
    add_tls(parser)
    add_database(parser)


def add_tls(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """The certificates to answer a broker with."""
    named = os.environ.get("EDGENAS_TLS")
    parser.add_argument(
        "--tls", metavar="DIR", type=Path, required=required and not named,
        default=Path(named) if named else None,
        help="folder that `edgenas broker init` made, or a copy of its `host` (also from "
        "EDGENAS_TLS)",
    )  # fmt: skip


def add_database(parser: argparse.ArgumentParser) -> None:
    """Where the host keeps what it knows of the fleet."""
    parser.add_argument(
        "--database",
        metavar="URL",
        default=os.environ.get("EDGENAS_DATABASE"),
        help="a file, or postgresql://USER@HOST/NAME (also from EDGENAS_DATABASE; default: "
        "fleet.sqlite in the run folder)",
    )


def add_training(parser: argparse.ArgumentParser) -> None:
    """What to train on and how."""
    parser.add_argument(
        "--data", default="digits", metavar="SET",
        help="digits (default, works offline), fashion-mnist, cifar10, speech_commands, "
        "speech_commands_mfcc, or an image folder with train/<class>/* and optionally val/, test/",
    )  # fmt: skip
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR",
        help="folder with the official files of fashion-mnist, cifar10 or speech_commands",
    )  # fmt: skip
    parser.add_argument(
        "--preset", metavar="NAME",
        help="space: digits, fashion, cifar, cifar-mixed, mobile, kws, kws-mfcc (default: by data)",
    )  # fmt: skip
    parser.add_argument(
        "--recipe", metavar="NAME",
        help="training recipe or method, as `edgenas recipes` lists them (default: the preset's)",
    )  # fmt: skip
    parser.add_argument(
        "--recipe-file", type=Path, metavar="FILE",
        help="TOML whose keys change values of the recipe; the options below change it further",
    )  # fmt: skip
    parser.add_argument(
        "--sampler", metavar="NAME",
        help="which subnets a step trains, and nothing else; a method (--recipe) has its teachers, "
        "its subnets a step and its length too",
    )  # fmt: skip
    parser.add_argument(
        "--epochs",
        type=float,
        help="passes over the training images; with a constant "
        "schedule (--recipe schedule-free) another number goes on with a run or ends it earlier",
    )
    parser.add_argument("--batch", type=int, help="images a step, of all processes together")
    parser.add_argument("--rate", type=float, help="peak learning rate")
    parser.add_argument(
        "--checkpoint-every", type=int, metavar="STEPS", help="steps between checkpoints"
    )
    parser.add_argument(
        "--shrink-at", type=float, metavar="SHARE",
        help="after this share of all steps, reduce the space to the choices that weight scores "
        "prefer (docs/spaces.md); search then sees what is left (default: never)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument(
        "--precision", default="auto", metavar="TYPE",
        help="float32 or bfloat16: what convolutions multiply in while training (default: auto: "
        "bfloat16 on accelerators that have it)",
    )  # fmt: skip


def add_devices(parser: argparse.ArgumentParser) -> None:
    """Which devices, and how."""
    parser.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="ID[=THREADS]",
        help="a device and the interpreter threads on it (default: every online device that "
        "measures, threads as its board profile says); may be repeated",
    )
    add_profiles(parser)


def add_profiles(parser: argparse.ArgumentParser) -> None:
    """Where further board profiles are; see `edgenas profiles`."""
    named = os.environ.get("EDGENAS_PROFILES", "")
    parser.add_argument(
        "--profile-dir", dest="profile_dirs", metavar="DIR", type=Path, action="append",
        default=[Path(part) for part in named.split(os.pathsep) if part],
        help="folder with board profiles of your own (*.toml), which go before the built-in ones "
        "of the same name; may be repeated (also from EDGENAS_PROFILES)",
    )  # fmt: skip


def add_budget(parser: argparse.ArgumentParser) -> None:
    """What a network may cost."""
    parser.add_argument(
        "--budget",
        action="append",
        default=[],
        metavar="[ID=]LIMITS",
        help="such as 5ms,8MiB or pi4=5ms: p95 latency and peak memory, for one device or for all; "
        "may be repeated: what a device has of its own replaces only that limit (default: 70%% of "
        "the way from the smallest to the largest network); memory is in any case limited to what "
        "the board profile has for a model; for `edgenas search` also a plain number: how many "
        "candidates to measure",
    )


def training_options(args: argparse.Namespace) -> TrainOptions:
    """The parsed options of `add_training`."""
    from edgenas.campaign.training import TrainOptions

    names = ("sampler", "epochs", "batch", "rate", "checkpoint_every", "shrink_at")
    overrides: dict[str, object] = {name: getattr(args, name) for name in names}
    return TrainOptions(
        args.data, args.data_root, args.preset, args.recipe, overrides, args.seed,
        args.recipe_file, args.precision,
    )  # fmt: skip


def seconds(text: str) -> float:
    """A time to wait; a type of argparse, which words the error.

    Raises:
        ValueError: it is no number of seconds.
    """
    value = float(text)
    if not 0 <= value <= MAX_WAIT_S:
        raise ValueError
    return value


def command_line() -> str:
    """What the user typed, for the records: without the password of a broker."""
    program = Path(sys.argv[0]).name
    words = ["edgenas" if program == "__main__.py" else program, *sys.argv[1:]]
    return shlex.join(re.sub(r"://[^@\s]*@", "://***@", word) for word in words)
