"""Exactness of the INT8 ONNX files: the integer twin against onnxruntime, random architectures.

    python -m benchmarks.onnx_exactness RUN [RUN ...] [--archs 10] [--images 500]

Each RUN is a folder in which `edgenas train` has ended; exactness needs a trained network, not a
good one. Every file is run as a device runs it; which kernels computed is taken from onnxruntime's
own profile.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.record import Figure, write_result
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.training import open_run, scorer_of
from edgenas.export.exporter import Exporter
from edgenas.export.parity import Parity, compare, twin_codes
from edgenas.export.run_bytes import run_codes
from edgenas.model.images import Pixels, to_codes
from edgenas.space.arch import Arch
from firmware_bridge.runtimes.installed import find_runtime

SEED = 0
FLOAT_KERNELS = {"Conv", "Gemm", "Add", "GlobalAveragePool", "FusedConv"}


@dataclass(frozen=True)
class Row:
    """What was found for one architecture."""

    preset: str
    arch: str
    macs: int
    bytes: int
    twin: Parity
    lite: Parity
    kernels: dict[str, int]
    seconds: dict[str, float]


def main() -> None:
    """Export, compare, write the result."""
    options = _arguments()
    rows = [row for folder in options.runs for row in _run(folder, options.archs, options.images)]
    figures = [
        figure
        for name in dict.fromkeys(row.preset for row in rows)
        for figure in _figures(name, [row for row in rows if row.preset == name])
    ]
    write_result("onnx_exactness", figures, {"seed": SEED}, [asdict(row) for row in rows])


def _run(folder: Path, archs: int, images: int) -> list[Row]:
    run = RunDir(folder)
    checkpoint, data = open_run(run)
    exporter = scorer_of(run, checkpoint, data).exporter
    pixels = data.search.images[-images:]
    rng = random.Random(SEED)
    space = checkpoint.space
    chosen = [space.largest(), space.smallest(), *(space.sample(rng) for _ in range(archs - 2))]
    return [_one(space.name, exporter, arch, pixels) for arch in chosen]


def _one(preset: str, exporter: Exporter, arch: Arch, pixels: Pixels) -> Row:
    exported = exporter.export(arch, "onnx")
    model = exported.path.read_bytes()
    codes = to_codes(pixels, arch.resolution)
    got = run_codes(model, codes, file_format="onnx")
    lite = run_codes(exporter.export(arch).path.read_bytes(), codes)
    times = find_runtime("onnx").open(model, 1).operator_times(1) or ()
    kinds = [each.kind for each in times]
    row = Row(
        preset, arch.id, exporter.net.space.macs(arch), len(model),
        compare(twin_codes(exporter.subnet(arch), codes), got), compare(lite, got),
        {kind: kinds.count(kind) for kind in sorted(set(kinds))}, exported.seconds,
    )  # fmt: skip
    print(preset, arch.id, row.twin, row.kernels, flush=True)
    return row


def _figures(name: str, rows: list[Row]) -> list[Figure]:
    """The worst of all architectures of one preset."""
    top1 = 100 * min(row.twin.top1_agreement for row in rows)
    mean = max(row.twin.mean_lsb for row in rows)
    exact = 100 * float(np.mean([row.twin.exact for row in rows]))
    whole = 100 * min(row.lite.top1_agreement for row in rows)
    in_float = sum(row.kernels.get(kind, 0) for row in rows for kind in FLOAT_KERNELS)
    return [
        Figure(f"{name}: architectures compared", len(rows), "", 10, ">="),
        Figure(f"{name}: twin top-1 agreement", top1, "%", 99.95, ">="),
        Figure(f"{name}: twin mean difference", mean, "LSB", 0.05, "<="),
        Figure(
            f"{name}: twin largest difference", max(r.twin.max_lsb for r in rows), "LSB", 1, "<="
        ),
        Figure(f"{name}: equal logits", exact, "%", 99.9, ">="),
        Figure(f"{name}: top-1 agreement with the .tflite file", whole, "%", 99.95, ">="),
        Figure(f"{name}: kernels that compute in float", in_float, "", 0, "<="),
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--archs", type=int, default=10)
    parser.add_argument("--images", type=int, default=500)
    return parser.parse_args()


if __name__ == "__main__":
    main()
