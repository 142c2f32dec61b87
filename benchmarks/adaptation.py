"""New classes without training: how many examples are enough, and whether merging costs any.

    python -m benchmarks.adaptation [--data digits] [--data-root DIR] [--epochs N] [--unseen 3 6]

Trains the data set's preset without two of its classes, exports the largest subnet, and learns the
two from 1, 5 and 20 training images each as a board does: integer sums of the features of the
INT8 file. Asked are all test images of the two, between the two and among all classes (the trained
ones known by their training images), and up to 2,000 test images of all classes, since new classes
take some from the old; the mean of ten draws of examples. The examples are split over four boards
by chance and merged; a merged head that is not the pooled one is counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.record import RESULTS, Figure, write_result
from edgenas.campaign.heads import sums_of
from edgenas.data import ImageData
from edgenas.data.load import load_data
from edgenas.export.exporter import Exporter
from edgenas.export.features import run_features
from edgenas.model.images import to_codes
from edgenas.space.presets import preset
from edgenas.train.loop import train
from edgenas.train.recipes import recipe
from firmware_bridge.heads.nearest import NearestMean
from firmware_bridge.wire.heads import Contribution, Sums, merge, plus

SHOTS = (1, 5, 20)
DRAWS, BOARDS, SEED = 10, 4, 0
PRESETS = {"digits": "digits", "fashion-mnist": "fashion"}
ASKED_CAP = 2000
# Percent: between the new classes, new images among all classes, images of all classes among all.
AIMS = {1: (75.0, 40.0, 75.0), 5: (90.0, 70.0, 80.0), 20: (95.0, 80.0, 85.0)}
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Features:
    """Integer features [n, d] with labels [n]."""

    rows: _Ints
    labels: _Ints

    def of(self, classes: Sequence[int]) -> Features:
        """Those of some classes."""
        kept = np.isin(self.labels, classes)
        return Features(self.rows[kept], self.labels[kept])


@dataclass(frozen=True)
class Row:
    """One draw: accuracies of new images between the new classes and among all classes, of images
    of all classes among all; whether merging changed a sum."""

    shots: int
    draw: int
    among_new: float
    among_all: float
    overall: float
    merged_differs: int


def main() -> None:
    """Train, learn, merge, write the result."""
    options = _arguments()
    data = load_data(options.data, options.data_root, seed=SEED)
    model, known, tested = _featured(options, data)
    unseen = tuple(options.unseen)
    names = data.classes
    rest = [c for c in range(len(names)) if c not in unseen]
    base = sums_of(known.of(rest).rows, known.of(rest).labels, names)
    asked = tested.of(unseen)
    everything = Features(tested.rows[:ASKED_CAP], tested.labels[:ASKED_CAP])
    rows = [
        _row(known.of(unseen), (asked, everything), base, names, shots, draw)
        for shots in SHOTS
        for draw in range(DRAWS)
    ]
    raw = {
        "data": options.data,
        "unseen": [names[c] for c in unseen],
        "model_bytes": len(model),
        "features": known.rows.shape[1],
        "test_images": len(asked.labels),
        "rows": [asdict(row) for row in rows],
    }
    write_result("adaptation", _figures(rows), {"all": SEED}, raw, options.results)


def _featured(options: argparse.Namespace, data: ImageData) -> tuple[bytes, Features, Features]:
    """The file that was trained without the unseen classes; features of training and test images.

    The test split is read here, when nothing can be chosen any more.
    """
    images, labels = data.train.images, data.train.labels
    seen = np.setdiff1d(np.arange(len(data.classes)), options.unseen)
    kept = np.isin(labels, seen)
    space = preset(PRESETS[options.data], channels=data.channels, classes=len(seen))
    used = recipe(PRESETS[options.data])
    used = replace(used, epochs=options.epochs) if options.epochs else used
    work = options.work / options.data
    checkpoint = train(
        space, images[kept], np.searchsorted(seen, labels[kept]), used, work / "run", options.data
    )
    exporter = Exporter(checkpoint.supernet(), checkpoint.digest(), images[kept], work / "exports")
    model = exporter.export(space.largest()).path.read_bytes()
    test = data.read_test()
    size = space.largest().resolution
    found = [
        Features(run_features(model, to_codes(split.images, size)), split.labels)
        for split in (data.train, test)
    ]
    return model, found[0], found[1]


def _row(
    shown: Features,
    asked: tuple[Features, Features],
    base: Sums,
    names: tuple[str, ...],
    shots: int,
    draw: int,
) -> Row:
    """Learn from a draw of examples on four boards, merge, and ask: new images, then all."""
    rng = np.random.default_rng((SEED, shots, draw))
    order = rng.permutation(len(shown.labels))
    classes = np.unique(shown.labels)
    taken = np.concatenate([order[shown.labels[order] == c][:shots] for c in classes])
    pooled = sums_of(shown.rows[taken], shown.labels[taken], names)
    board = rng.integers(0, BOARDS, len(taken))
    merged = merge(
        _contribution(shown.rows[part], shown.labels[part], names, number)
        for number in range(BOARDS)
        if len(part := taken[board == number])
    ).classes
    return Row(
        shots,
        draw,
        _accuracy(merged, asked[0], names),
        _accuracy(plus(base, merged), asked[0], names),
        _accuracy(plus(base, merged), asked[1], names),
        int(merged != pooled),
    )


def _contribution(rows: _Ints, labels: _Ints, names: tuple[str, ...], number: int) -> Contribution:
    return Contribution(
        model="0" * 64,
        learner=f"{number:032x}",
        round=1,
        dimension=rows.shape[1],
        classes=sums_of(rows, labels, names),
    )


def _accuracy(sums: Sums, asked: Features, names: tuple[str, ...]) -> float:
    nearest = NearestMean(sums)
    pairs = zip(asked.rows.tolist(), asked.labels, strict=True)
    return float(np.mean([nearest.nearest(u) == names[label] for u, label in pairs]))


def _figures(rows: Sequence[Row]) -> list[Figure]:
    figures = []
    for shots in SHOTS:
        mine = [row for row in rows if row.shots == shots]
        told = f"{shots} example{'s' * (shots > 1)} a class"
        means = np.mean([(row.among_new, row.among_all, row.overall) for row in mine], axis=0)
        asked = ("new images, two classes", "new images, all classes", "all images, all classes")
        figures += [
            Figure(f"{told}: {what}", 100 * float(mean), "%", aim, ">=")
            for what, mean, aim in zip(asked, means, AIMS[shots], strict=True)
        ]
    differing = sum(row.merged_differs for row in rows)
    return [*figures, Figure("merged heads that differ from pooled", differing, "", 0, "<=")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", choices=sorted(PRESETS), default="digits")
    parser.add_argument("--data-root", type=Path, help="folder of the data set's files")
    parser.add_argument("--epochs", type=float, help="fewer than the recipe's, for a trial")
    parser.add_argument(
        "--unseen", type=int, nargs=2, default=(3, 6), help="labels that are left out of training"
    )
    parser.add_argument("--work", type=Path, default=Path("benchmarks/scratch/adaptation"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
