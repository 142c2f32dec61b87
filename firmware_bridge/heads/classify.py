"""``edgenas-device classify``: which learnt class each image belongs to.

Uses the fleet's head in the active bundle together with what this board has learnt since.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from firmware_bridge.heads.active import read_active
from firmware_bridge.heads.command import FAILED, FILES_CAP, add_places, worker_argv
from firmware_bridge.heads.features import features_of
from firmware_bridge.heads.keeping import HeadStore
from firmware_bridge.heads.nearest import NearestMean
from firmware_bridge.wire.errors import BridgeError, InvalidValueError

_EPILOG = """\
Every image gets the class whose mean of features is nearest, in exact arithmetic: the same answer
wherever the features are the same. Classes are those that were learnt: here (`edgenas-device
learn`) or in the fleet (`edgenas fleet merge-heads`).
exit status: 0 done, 1 an error that the text explains, 2 wrong use.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``edgenas-device classify``."""
    parser.description = "Tell the learnt classes of images, with the model that runs in a slot."
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGE", help="image files, or .bin input codes"
    )
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Prints a class for each image; returns the exit status."""
    try:
        if len(args.images) > FILES_CAP:
            raise InvalidValueError("images", f"at most {FILES_CAP} at a time", len(args.images))
        answers = _classified(args)
    except (BridgeError, OSError) as error:
        print(f"edgenas-device classify: {error}", file=sys.stderr)
        return FAILED
    if args.json:
        print(json.dumps([{"image": str(path), "class": label} for path, label in answers]))
    else:
        for path, label in answers:
            print(f"{path}: {label}")
    return 0


def _classified(args: argparse.Namespace) -> list[tuple[Path, str]]:
    active = read_active(args.state_dir, args.slot)
    sums, _ = HeadStore(args.state_dir).load(active.sha256).together(active.merged)
    nearest = NearestMean(sums)
    found = features_of(active.model, [path.absolute() for path in args.images], worker_argv())
    return [
        (path, nearest.nearest(feature))
        for path, (_, feature) in zip(args.images, found.rows, strict=True)
    ]
