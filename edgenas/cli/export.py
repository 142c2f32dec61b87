"""`edgenas export`: one subnet as an INT8 file, with the proof that it is the subnet."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.cli.options import Subparsers, add_run
from edgenas.space import Arch

if TYPE_CHECKING:
    from edgenas.train.checkpoint import Checkpoint


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "export",
        help="write one subnet as INT8 TensorFlow Lite or ONNX",
        description="Calibrates the subnet, exports it with the trained ranges and checks the "
        "bytes against the integer twin; a file that is not the trained network is never written.",
    )
    add_run(parser)
    parser.add_argument(
        "--arch", default="largest", metavar="ARCH",
        help="largest (default), smallest, random (of what was trained), or a JSON file with an "
        "architecture",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=("tflite", "onnx"), default="tflite",
        help="kind of file: tflite (default), or onnx with the same codes, scales and zero points",
    )  # fmt: skip
    parser.add_argument(
        "--weight-bits", type=int, choices=(8, 4),
        help="precision of all weights (default: as the architecture says, or 8); 4 needs a "
        "supernet trained with double rounding, and is written as INT8 codes in steps of 16",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of --arch random (default: 0)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: ARCHID.FORMAT)"
    )
    parser.add_argument("--arch-out", type=Path, metavar="FILE", help="also write the architecture")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export."""
    import json

    from edgenas.campaign.rundir import RunDir, write_json
    from edgenas.campaign.training import open_run, scorer_of

    folder = RunDir(args.folder)
    checkpoint, data = open_run(folder)
    arch = _in_bits(_arch(args, checkpoint), args.weight_bits)
    found = scorer_of(folder, checkpoint, data).candidate(arch, args.format)
    out = args.out or Path(f"{arch.id}.{args.format}")
    _copy(found.exported.path, out)
    if args.arch_out:
        write_json(args.arch_out, arch.to_dict())
    parity = found.exported.parity
    print(
        json.dumps(
            {
                "file": str(out),
                "format": args.format,
                "sha256": found.exported.sha256,
                "bytes": found.exported.size_bytes,
                "arch": arch.id,
                "description": arch.describe(),
                "macs": found.macs,
                "accuracy_search": found.accuracy,
                "parity": {
                    "images": parity.images,
                    "top1_agreement": parity.top1_agreement,
                    "mean_lsb": parity.mean_lsb,
                    "max_lsb": parity.max_lsb,
                },
            },
            indent=1,
        )
    )
    return 0


def _copy(source: Path, out: Path) -> None:
    """Copy atomically: a full disk leaves an older file as it was."""
    from edgenas.whole_file import write_whole

    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, source.read_bytes())


def _arch(args: argparse.Namespace, checkpoint: Checkpoint) -> Arch:
    import random

    from edgenas.campaign.rundir import read_json
    from edgenas.train.trained import searchable_space, trained_space

    if args.arch == "random":
        return searchable_space(checkpoint).sample(random.Random(args.seed))
    if args.arch == "largest":
        return trained_space(checkpoint).largest()
    if args.arch == "smallest":
        return trained_space(checkpoint).smallest()
    arch = Arch.from_dict(read_json(Path(args.arch), "edgenas export --arch-out"))
    return checkpoint.space.check_form(arch)  # which bits there are, the supernet says


def _in_bits(arch: Arch, bits: int | None) -> Arch:
    return arch if bits is None else arch.in_bits(bits)
