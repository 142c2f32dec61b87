"""Keyword spotting on Speech Commands' test set, beside MLPerf Tiny's network.

    python -m benchmarks.kws --data-root DIR --peers DIR [--epochs E]

DIR holds Speech Commands' official test set (features or recordings), and
`mlperf_tiny_kws_dscnn_int8.tflite`. For either kind of features a supernet is trained by its
preset's recipe on the part of the clips that is for training; accuracies are those of the bytes on
the part for testing, whose speakers are in no other part. The peer runs on the same clips, from the
features that it was made for, and each latency is measured in turns with its.

This is no contest on equal terms. The peer has seen the full training set of Speech Commands, tens
of thousands of clips, where there are 3,372 here; and all of these clips are of the official test
set, which nobody who trains on the full set has seen. How good it is on all of them is kept in the
raw figures, to be compared with what is published.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.kept import Kept
from benchmarks.latency import Beside, beside, typical
from benchmarks.options import parser_of
from benchmarks.record import Figure, write_result
from benchmarks.runs import Run
from benchmarks.tested import Tested
from edgenas.campaign.progress import Progress
from edgenas.campaign.training import load
from edgenas.cli.display import Display
from edgenas.data import ImageData
from edgenas.export.exporter import Exporter
from edgenas.export.run_bytes import run_codes
from edgenas.model.images import to_codes
from edgenas.space.arch import Arch
from edgenas.space.presets import preset
from edgenas.train.recipes import RECIPES
from firmware_bridge.wire.levels import LEVELS

SEED = 0
PEER = "mlperf_tiny_kws_dscnn_int8.tflite"
PEER_NAME, PEER_SIDES, PEER_DATA = "kws_dscnn", (49, 10), "speech_commands_mfcc"
DATA = {"kws": "speech_commands", "kws-mfcc": PEER_DATA}


@dataclass(frozen=True)
class Row:
    """One subnet.

    Attributes:
        preset: its space.
        name: `largest` or `smallest`.
        arch: its id.
        macs: multiply-accumulates of one inference.
        model_bytes: size of its file.
        accuracy: of its bytes on the test clips, 0 to 1.
        latency: over that of the peer, median over sessions.
        sessions: the measurements.
    """

    preset: str
    name: str
    arch: str
    macs: int
    model_bytes: int
    accuracy: float
    latency: float
    sessions: tuple[Beside, ...]


@dataclass(frozen=True)
class Peer:
    """MLPerf Tiny's network.

    Attributes:
        model_bytes: size of its file.
        accuracy: on the test clips, 0 to 1.
        accuracy_everywhere: on the clips of all three parts.
        clips: how many these are.
    """

    model_bytes: int
    accuracy: float
    accuracy_everywhere: float
    clips: int


class Listening:
    """What both presets have in common.

    Args:
        options: of the command.
        progress: told what is done.
    """

    def __init__(self, options: argparse.Namespace, progress: Progress) -> None:
        self.options, self.progress = options, progress
        self.file: Path = options.peers / PEER
        if not self.file.is_file():
            raise SystemExit(f"expected {self.file}, got none; name the folder of MLPerf's files")
        self.kept = Kept(options.work / "rows.jsonl")

    def rows(self, name: str) -> tuple[list[Row], float]:
        """Both extremes of a preset's supernet, and the seconds that its training took."""
        data = load(DATA[name], self.options.data_root, name, SEED)
        space = preset(name, channels=data.channels, classes=len(data.classes))
        recipe = RECIPES[name].override(seed=SEED, epochs=self.options.epochs)
        run = Run(f"training {name}", space, recipe, self.options.work / name)
        exporter = run.exporter(run.trained(data, self.progress), data)
        tested, rows = Tested(data, self.kept), []
        for label, arch in (("largest", space.largest()), ("smallest", space.smallest())):
            rows.append(self._row(name, label, exporter, arch, tested))
            self.progress.note(f"  {name}, {label}: {100 * rows[-1].accuracy:.2f} %")
        return rows, run.seconds()

    def peer(self) -> Peer:
        """The peer on the test clips, and on all there are."""
        model = self.file.read_bytes()
        tested = Tested(self._peer_data(), self.kept).accuracy(model, PEER_SIDES)
        row = self.kept.row(f"{PEER} everywhere", lambda: _everywhere(model, self._peer_data()))
        return Peer(len(model), tested, row["accuracy"], row["clips"])

    def _peer_data(self) -> ImageData:
        return load(PEER_DATA, self.options.data_root, "kws-mfcc", SEED)

    def _row(self, name: str, label: str, exporter: Exporter, arch: Arch, tested: Tested) -> Row:
        exported = exporter.export(arch)
        sessions = tuple(
            self._session(exported.path, exported.sha256, number)
            for number in range(self.options.sessions)
        )
        accuracy = tested.accuracy(exported.path.read_bytes(), arch.resolution)
        macs = exporter.net.space.macs(arch)
        size, (latency, _) = exported.size_bytes, typical(sessions)
        return Row(name, label, arch.id, macs, size, accuracy, latency, sessions)

    def _session(self, path: Path, sha256: str, number: int) -> Beside:
        key = f"latency {sha256} {self.options.level} {number}"
        row = self.kept.row(key, lambda: asdict(beside(path, self.file, self.options.level)))
        return Beside.from_row(row)


def main() -> None:
    """Train both presets, test, measure, write the result."""
    options = _arguments()
    with Display(Console(stderr=True)) as display:
        listening = Listening(options, display)
        found = {name: listening.rows(name) for name in options.presets.split(",")}
        peer = listening.peer()
    rows = [row for some, _ in found.values() for row in some]
    raw = {
        "recipes": {name: asdict(RECIPES[name]) for name in found},
        "training_seconds": {name: seconds for name, (_, seconds) in found.items()},
        "peer": asdict(peer),
        "rows": [asdict(row) for row in rows],
    }
    figures = figures_of(rows, peer)
    write_result("kws", figures, {"training": SEED}, raw, options.results)


def figures_of(rows: Sequence[Row], peer: Peer) -> list[Figure]:
    """Accuracy, latency and bytes of each subnet beside the peer's."""
    accuracy = 100 * peer.accuracy
    figures = [Figure(f"{PEER_NAME}: accuracy on the test clips", accuracy, "%", accuracy, ">=")]
    for row in rows:
        label = f"{row.preset}, {row.name}"
        figures += [
            Figure(f"{label}: accuracy on the test clips", 100 * row.accuracy, "%", accuracy, ">="),
            Figure(f"{label}: latency over {PEER_NAME}'s", row.latency, "x", 1.0, "<="),
            Figure(f"{label}: bytes over {PEER_NAME}'s", row.model_bytes / peer.model_bytes, "x",
                   1.0, "<="),
        ]  # fmt: skip
    return figures


def _everywhere(model: bytes, data: ImageData) -> dict[str, float]:
    splits = (data.train, data.search, data.read_test())
    images = np.concatenate([split.images for split in splits])
    labels = np.concatenate([split.labels for split in splits])
    right = run_codes(model, to_codes(images, PEER_SIDES)).argmax(1) == labels
    return {"accuracy": float(right.mean()), "clips": len(labels)}


def _arguments() -> argparse.Namespace:
    parser = parser_of("kws", __doc__)
    parser.add_argument("--peers", type=Path, required=True, help="folder of MLPerf Tiny's files")
    parser.add_argument("--presets", default=",".join(DATA), help="separated by commas")
    parser.add_argument("--epochs", type=float, help="another length than the recipes'")
    parser.add_argument("--sessions", type=int, default=3, help="measurements of each subnet")
    parser.add_argument("--level", choices=sorted(LEVELS), default="standard")
    return parser.parse_args()


if __name__ == "__main__":
    main()
