"""Exactness and speed of the INT8 export, over random architectures of every preset.

    python -m benchmarks.export --data-root DIR [--presets digits,fashion,cifar,mobile] [--archs 50]

DIR holds `fashion-mnist/`, `cifar-10-batches-bin/` and an image folder `flowers128/`. Each preset
is trained first (for minutes only: exactness does not need a good network, only a trained one),
then random architectures are exported and compared on real images: the bytes under the runtime
against the integer twin, against the calibrated supernet, and against the arithmetic of training
(the same ranges and statistics, but sums and biases not rounded to whole numbers). What was
measured is kept in `--work`, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.record import Figure, write_result
from edgenas.campaign.progress import Silent
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.training import TrainOptions, open_run, train_run
from edgenas.data import ImageData
from edgenas.export.exporter import CALIBRATION_IMAGES, Exporter
from edgenas.export.parity import Parity, check_graph, compare, twin_codes
from edgenas.export.run_bytes import accuracy, run_codes
from edgenas.model.calibration import Calibration
from edgenas.model.images import Codes, Pixels, batch_size, input_batches, to_codes
from edgenas.model.numerics import Numerics
from edgenas.model.subnet import Subnet
from edgenas.model.supernet import Pass
from edgenas.space.arch import Arch
from edgenas.train.batches import Labels

SEED = 0
DATA = {"digits": "digits", "fashion": "fashion-mnist", "cifar": "cifar10", "mobile": "flowers128"}
EPOCHS = {"digits": 24.0, "fashion": 1.0, "cifar": 0.3, "mobile": 5.0}
BATCH = {"digits": 64, "fashion": 128, "cifar": 64, "mobile": 32}
RATE = 0.1
CALIBRATION = {"digits": 2048, "fashion": 2048, "cifar": 512, "mobile": 128}
IMAGES = 1000
CONVERSION = ("onnx", "onnx2tf", "quantise")


@dataclass(frozen=True)
class Row:
    """What was found for one architecture."""

    preset: str
    arch: str
    macs: int
    bytes: int
    twin: Parity
    fake: Parity
    training: Parity
    accuracy_bytes: float
    accuracy_fake: float
    plain_gap: float
    seconds: dict[str, float]
    cached_seconds: float


def main() -> None:
    """Train, export, compare, write the result."""
    options = _arguments()
    rows: list[Row] = []
    for name in options.presets.split(","):
        if options.kept_only:
            rows += [r for p in options.work.glob(f"{name}-*.jsonl") for r in _kept_rows(p)]
        else:
            rows += _preset(name, options.data_root, options.archs, options.work)
    write_result("export", _figures(rows), {"seed": SEED}, [asdict(row) for row in rows])


def _preset(name: str, root: Path, archs: int, work: Path) -> list[Row]:
    run = RunDir(work / name)
    folder = root / DATA[name] if name == "mobile" else None
    data_root = {"fashion": root / "fashion-mnist", "cifar": root}.get(name)
    options = TrainOptions(
        str(folder) if folder else DATA[name], data_root, name, None,
        {"epochs": EPOCHS[name], "batch": BATCH[name], "rate": RATE, "checkpoint_every": 10}, SEED,
    )  # fmt: skip
    train_run(run, options, "benchmark", Silent())
    checkpoint, data = open_run(run)
    exporter = Exporter(
        checkpoint.supernet(),
        checkpoint.digest(),
        data.train.images,
        run.exports,
        CALIBRATION[name],
    )
    pixels, labels = _images(data)
    rng = random.Random(SEED)
    kept = work / f"{name}-{checkpoint.digest()[:12]}.jsonl"
    rows = _kept_rows(kept)
    for number in range(archs):
        arch = checkpoint.space.sample(rng)
        if number < len(rows):
            continue
        rows.append(_one(name, exporter, arch, pixels, labels))
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(rows[-1])) + "\n")
        print(f"{name} {number + 1}/{archs} {rows[-1].twin} {rows[-1].seconds}", flush=True)
    return rows


def _kept_rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    bodies = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Row(**{**body, **{name: Parity(**body[name]) for name in ("twin", "fake", "training")}})
        for body in bodies
    ]


def _images(data: ImageData) -> tuple[Pixels, Labels]:
    """Real images that the calibration did not see, where there are enough of them."""
    split = data.search if len(data.search) >= IMAGES else data.train
    return split.images[-IMAGES:], split.labels[-IMAGES:]


def _one(name: str, exporter: Exporter, arch: Arch, pixels: Pixels, labels: Labels) -> Row:
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Exporter(
            exporter.net, "bench", exporter.images, Path(scratch), len(exporter.images)
        )
        fresh._batches = exporter._batches  # resized once for all architectures
        exported = fresh.export(arch)
        began = time.perf_counter()
        if not fresh.export(arch).cached:
            raise RuntimeError("the second export was not taken from the cache")
        cached_seconds = time.perf_counter() - began
        model, subnet = exported.path.read_bytes(), fresh.subnet(arch)
    check_graph(model, subnet)
    codes = to_codes(pixels, arch.resolution)
    got = run_codes(model, codes)
    fake = _fake_codes(exporter, arch, subnet.calibration, pixels)
    training = _fake_codes(exporter, arch, subnet.calibration, pixels, as_trained=True)
    return Row(
        name, arch.id, exporter.net.space.macs(arch), len(model),
        compare(twin_codes(subnet, codes), got), compare(fake, got), compare(training, got),
        accuracy(got, labels), accuracy(fake, labels), _plain_gap(exporter, subnet, pixels),
        exported.seconds, cached_seconds,
    )  # fmt: skip


def _fake_codes(
    exporter: Exporter,
    arch: Arch,
    calibration: Calibration,
    pixels: Pixels,
    as_trained: bool = False,
) -> Codes:
    """Logit codes of the supernet itself, fake-quantised, calibrated for the subnet."""
    scale, zero = calibration.scale_zero("logits")
    parts = []
    with torch.no_grad():
        for x in input_batches(pixels, arch.resolution, batch_size(arch.resolution)):
            if as_trained:
                logits = Pass(exporter.net, arch, Numerics.INT8, calibration).logits(x)
            else:
                logits = exporter.net(x, arch, calibration=calibration)
            parts.append(torch.round(logits / scale) + zero)
    return torch.cat(parts).clamp(-128, 127).to(torch.int8).numpy()


def _plain_gap(exporter: Exporter, subnet: Subnet, pixels: Pixels) -> float:
    """Largest relative difference of float logits: supernet(x, arch) against the plain subnet."""
    arch, calibration = subnet.arch, subnet.calibration
    x = next(input_batches(pixels[:64], arch.resolution, 64))
    with torch.no_grad():
        ours = exporter.net(x, arch, calibration=calibration, numerics=Numerics.FLOAT)
        plain = subnet(x, Numerics.FLOAT)
    return float((ours - plain).abs().max() / plain.abs().max())


def _figures(rows: list[Row]) -> list[Figure]:
    figures = []
    for name in dict.fromkeys(row.preset for row in rows):
        mine = [row for row in rows if row.preset == name]
        figures += _exactness(name, mine)
    totals = [sum(row.seconds[step] for step in CONVERSION) for row in rows]
    converter = [row.seconds["onnx2tf"] for row in rows]
    cached = statistics.median(row.cached_seconds for row in rows)
    figures += [
        Figure("export of one candidate, median", statistics.median(totals), "s", 1.5, "<="),
        Figure("of which onnx2tf, median", statistics.median(converter), "s", 1.5, "<="),
        *_whole(rows),
        Figure("second export of a candidate, median", cached, "s", 0.05, "<="),
    ]  # fmt: skip
    return figures


def _whole(rows: list[Row]) -> list[Figure]:
    """Time from architecture to checked bytes, where calibration uses its usual 2,048 images."""
    figures = []
    for name in [n for n, images in CALIBRATION.items() if images == CALIBRATION_IMAGES]:
        if not any(row.preset == name for row in rows):
            continue
        whole = statistics.median(sum(r.seconds.values()) for r in rows if r.preset == name)
        figures.append(Figure(f"{name}: with calibration and gate, median", whole, "s", 1.5, "<="))
    return figures


def _exactness(name: str, rows: list[Row]) -> list[Figure]:
    """The worst of all architectures of one preset."""
    gaps = [abs(row.accuracy_fake - row.accuracy_bytes) for row in rows]
    top1 = 100 * min(row.twin.top1_agreement for row in rows)
    mean, largest = max(r.twin.mean_lsb for r in rows), max(r.twin.max_lsb for r in rows)
    fake = 100 * min(row.fake.top1_agreement for row in rows)
    plain = max(row.plain_gap for row in rows)
    training = 100 * min(row.training.top1_agreement for row in rows)
    return [
        Figure(f"{name}: architectures compared", len(rows), "", 50, ">="),
        Figure(f"{name}: twin top-1 agreement", top1, "%", 99.95, ">="),
        Figure(f"{name}: twin mean difference", mean, "LSB", 0.05, "<="),
        Figure(f"{name}: twin largest difference", largest, "LSB", 0, "<="),
        Figure(f"{name}: fake-quantised top-1 agreement", fake, "%", 99.5, ">="),
        Figure(f"{name}: fake-quantised accuracy difference", 100 * max(gaps), "points", 0.2, "<="),
        Figure(f"{name}: arithmetic of training, top-1 agreement", training, "%", 95, ">="),
        Figure(f"{name}: float, supernet against plain subnet", plain, "relative", 1e-4, "<="),
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--presets", default="digits,fashion,cifar,mobile")
    parser.add_argument("--archs", type=int, default=50)
    parser.add_argument(
        "--kept-only", action="store_true", help="measure nothing, write the result of what is kept"
    )
    parser.add_argument("--work", type=Path, default=Path("benchmarks/scratch/export"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
