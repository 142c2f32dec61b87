"""``edgenas-device learn``: new classes from a handful of images, for the model that runs here.

Reads folders, asks for features, keeps the notebook, hands sums out. What a notebook does with
examples is left to ``notebook``, computing features to a child process.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from firmware_bridge.agent.settings import DEFAULT_STATE_DIR
from firmware_bridge.heads.active import Active, read_active
from firmware_bridge.heads.features import Featured, FeaturesError, features_of
from firmware_bridge.heads.keeping import HeadStore
from firmware_bridge.heads.notebook import Example, Notebook
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.errors import BridgeError, OverCapError, StoreError
from firmware_bridge.wire.heads import CLASSES_CAP, check_class_name, to_text
from firmware_bridge.wire.messages import Contribution

FAILED = 1
FILES_CAP = 5_000
SUFFIXES = frozenset({".webp", ".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".bin"})
_EPILOG = """\
Images are FOLDER/<class>/<image> (webp, png, jpeg, bmp, pgm, ppm: needs Pillow, pip install
'edgenas[learn]'), or .bin files that hold the model's input codes. They are not kept: only sums of
features are, and the digest of each input, so that learning the same image again changes nothing.
exit status: 0 done, 1 an error that the text explains, 2 wrong use.
environment: EDGENAS_STATE_DIR, EDGENAS_RUNTIME, EDGENAS_WORKER_ARGV (how to start Python here).
"""


def add_places(parser: argparse.ArgumentParser) -> None:
    """Declares where the daemon keeps what runs here."""
    state_dir = Path(os.environ.get("EDGENAS_STATE_DIR") or DEFAULT_STATE_DIR)
    parser.add_argument(
        "--state-dir", type=Path, default=state_dir, help=f"of the daemon (default {state_dir})"
    )
    parser.add_argument("--slot", default="main", help="slot of the model (default main)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``edgenas-device learn``."""
    parser.description = (
        "Learn new classes for the model that runs in a slot, without training: the features of "
        "its own INT8 graph are added up class by class."
    )
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "folder", type=Path, nargs="?", metavar="FOLDER", help="examples: FOLDER/<class>/<image>"
    )
    parser.add_argument("--status", action="store_true", help="only tell what is known")
    parser.add_argument("--forget", metavar="CLASS", help="take back a class that was learnt here")
    parser.add_argument(
        "--hand-out", action="store_true",
        help="let the daemon publish the sums, for `edgenas fleet merge-heads`",
    )  # fmt: skip
    parser.add_argument(
        "--export", type=Path, metavar="FILE", help="hand out into a file as well, to carry over"
    )
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Carries the command out; returns its exit status."""
    asked = (args.folder, args.forget, args.export, args.hand_out or None)
    if not args.status and all(each is None for each in asked):
        print("edgenas-device learn: name a FOLDER of examples, or --status", file=sys.stderr)
        return 2
    try:
        active = read_active(args.state_dir, args.slot)
        found = None if args.folder is None else _examples(active, args.folder)
        store = HeadStore(args.state_dir)
        if args.status:
            notebook = store.load(active.sha256)
        else:
            notebook = _change(args, store, active, found)
    except (BridgeError, OSError) as error:
        print(f"edgenas-device learn: {error}", file=sys.stderr)
        return FAILED
    facts = status_of(notebook, active)
    print(json.dumps(facts, indent=1) if args.json else in_words(facts))
    return 0


def _change(
    args: argparse.Namespace,
    store: HeadStore,
    active: Active,
    found: tuple[Featured, list[Example]] | None,
) -> Notebook:
    """Learn, forget, hand out, in this order; the file is replaced before anything leaves it."""
    with store.alone():
        notebook = before = store.load(active.sha256)
        if found is not None:
            notebook = notebook.learnt(found[1], found[0].runtime)
        if args.forget is not None:
            notebook = notebook.forgotten(args.forget)
        if args.hand_out or args.export is not None:
            notebook = notebook.handed_out()
        if notebook != before:
            store.save(notebook)
        _give(args, store, notebook)
    return notebook


def _give(args: argparse.Namespace, store: HeadStore, notebook: Notebook) -> None:
    contribution = notebook.contribution()
    if not (args.hand_out or args.export is not None):
        return
    if contribution is None:
        raise StoreError("expected examples to hand out, got none; learn some first")
    if args.export is not None:
        args.export.write_bytes(to_text(contribution, "contribution"))
    if args.hand_out:
        store.leave_hand_out(args.slot, _message(contribution))


def _message(contribution: Contribution) -> bytes:
    try:
        return encode(contribution)
    except OverCapError as error:
        raise StoreError(
            f"expected sums that fit into one message of {error.cap} B, got {error.got} B of "
            f"{len(contribution.classes)} classes; carry them over with --export FILE"
        ) from error


def files_by_class(folder: Path) -> dict[str, list[Path]]:
    """The examples below a folder, by class.

    Raises:
        StoreError: There are none, or too many.
        InvalidValueError: A folder's name cannot name a class.
        OSError: A folder cannot be read.
    """
    shown = [each for each in sorted(folder.iterdir()) if not each.name.startswith(".")]
    found = {
        check_class_name(each.name): [
            path.absolute() for path in sorted(each.iterdir()) if path.suffix.lower() in SUFFIXES
        ]
        for each in shown
        if each.is_dir()
    }
    count = sum(map(len, found.values()))
    if not found or not all(found.values()) or count > FILES_CAP or len(found) > CLASSES_CAP:
        empty = [name for name, paths in found.items() if not paths]
        raise StoreError(
            f"{folder}: expected <class>/<image> with 1 to {FILES_CAP} images "
            f"({', '.join(sorted(SUFFIXES))}), got {len(found)} classes and {count} images"
            + (f", none in {', '.join(empty)}" if empty else "")
        )
    return found


def worker_argv() -> tuple[str, ...]:
    """How Python children are started here."""
    return tuple(os.environ.get("EDGENAS_WORKER_ARGV", sys.executable).split())


def _examples(active: Active, folder: Path) -> tuple[Featured, list[Example]]:
    by_class = files_by_class(folder)
    labels = [name for name, paths in by_class.items() for _ in paths]
    files = [path for paths in by_class.values() for path in paths]
    featured = features_of(active.model, files, worker_argv())
    if featured.sha256 != active.sha256:
        raise FeaturesError(
            f"{active.model}: expected the model that runs here, got another file meanwhile; "
            "repeat the command"
        )
    return featured, [
        Example(label, *row) for label, row in zip(labels, featured.rows, strict=True)
    ]


def status_of(notebook: Notebook, active: Active) -> dict[str, object]:
    """What is known here, as JSON shows it."""
    merged = active.merged
    together, all_counted = notebook.together(merged)
    return {
        "model": notebook.model,
        "learner": notebook.learner,
        "here": {name: each.count for name, each in notebook.sums.items()},
        "fleet": {} if merged is None else {n: each.count for n, each in merged.classes.items()},
        "together": {name: each.count for name, each in together.items()},
        "handed_out_round": notebook.handed[-1].round if notebook.handed else None,
        "unsent": notebook.unsent,
        "all_counted": all_counted,
        "runtime": notebook.runtime,
    }


def in_words(facts: Mapping[str, object]) -> str:
    """The same for people."""
    lines = [f"model {str(facts['model'])[:12]}"]
    for name, title in (("here", "learnt here"), ("fleet", "from the fleet")):
        counts = facts[name]
        assert isinstance(counts, dict)
        told = ", ".join(f"{label} ({count})" for label, count in counts.items()) or "nothing"
        lines.append(f"{title}: {told}")
    if facts["handed_out_round"] is not None:
        lines.append(f"handed out: round {facts['handed_out_round']}")
    if facts["unsent"]:
        lines.append("not handed out yet: `edgenas-device learn --hand-out`")
    if not facts["all_counted"]:
        lines.append(
            "the fleet's head holds a round of this board that is not remembered here: what was "
            "learnt since counts after the next merge"
        )
    return "\n".join(lines)
