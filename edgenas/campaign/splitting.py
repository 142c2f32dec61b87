"""The splitting step: which parts of a supernet should stop sharing weights, as runs to be trained.

Measures on training images alone. Each part becomes a run folder once `edgenas train` is called
with what stands in `split.json`; searching over several of them at once is nobody's yet.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.progress import Progress
from edgenas.campaign.rundir import RunCard, RunDir, write_json
from edgenas.campaign.starting import part_text
from edgenas.campaign.training import open_run, whole_space
from edgenas.data import ImageData
from edgenas.space.narrowing import choices, narrowing_text, narrowings, options_text
from edgenas.space.space import ArchSpace
from edgenas.train.batches import Augmentation, Batches
from edgenas.train.checkpoint import Checkpoint
from edgenas.train.recipe_file import recipe_toml
from edgenas.train.splitting import Disagreement, Split, disagreement, expected_bytes, split_up
from edgenas.train.state import training_device

FORMAT = "edgenas-split/1"
BATCHES = 100


@dataclass(frozen=True)
class SplitOptions:
    """How to split.

    Attributes:
        out: folder for the record, and for the runs of the parts.
        pieces: parts that are wanted.
        limit: bytes that the checkpoints of all parts together may have; None for any.
        batches: that gradients are compared over, for each choice.
        seed: of the draws.
    """

    out: Path
    pieces: int = 2
    limit: int | None = None
    batches: int = BATCHES
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("pieces", 2), ("batches", 1)):
            if getattr(self, name) < least:
                raise RunFolderError(
                    f"split: expected at least {least} {name}, got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class Piece:
    """One part, as a run that waits to be trained.

    Attributes:
        folder: of its run.
        only: what of the preset it is.
        subnets: that it has.
        expected_bytes: of its checkpoint.
        command: that trains it from the parent's weights.
    """

    folder: Path
    only: tuple[str, ...]
    subnets: int
    expected_bytes: int
    command: str


def split_run(run: RunDir, options: SplitOptions, progress: Progress) -> list[Piece]:
    """Split the supernet of a run folder.

    Raises:
        RunFolderError: its training has not ended, or the folder for the parts cannot be written.
        SplittingError: there is nothing to split, or no room for two parts.
    """
    checkpoint, data = open_run(run)
    card, size = run.read_card(), run.checkpoint.stat().st_size
    meter = _Meter(checkpoint, data, options, progress)
    split = split_up(
        checkpoint.space, meter.measure, lambda part: expected_bytes(part, checkpoint, size),
        pieces=options.pieces, limit=options.limit,
    )  # fmt: skip
    if len(split.parts) < options.pieces:
        progress.note(f"{len(split.parts)} parts: no cut is left that has room")
    whole = replace(
        whole_space(run, card),
        channels=checkpoint.space.channels,
        classes=checkpoint.space.classes,
    )
    pieces = [
        _piece(number, part, whole, run, card, options, expected_bytes(part, checkpoint, size))
        for number, part in enumerate(split.parts, 1)
    ]
    _write(options, run, checkpoint, split, pieces, whole)
    return pieces


class _Meter:
    """Compares the options of every choice of a part, with the weights of the whole."""

    def __init__(
        self, checkpoint: Checkpoint, data: ImageData, options: SplitOptions, progress: Progress
    ) -> None:
        self.net = checkpoint.supernet().to(training_device())
        self.options, self.progress = options, progress
        images, labels, batch = data.train.images, data.train.labels, checkpoint.recipe.batch
        self.batches = Batches(images, labels, batch, Augmentation(), options.seed)

    def measure(self, part: ArchSpace) -> list[Disagreement]:
        """The disagreement of every choice that all architectures of `part` make."""
        asked = [c for c in choices(part) if c.always and len(c.options) > 1]
        self.progress.phase(f"comparing gradients in {part.size():,} subnets", len(asked))
        found: list[Disagreement] = []
        for number, choice in enumerate(asked, 1):
            one = disagreement(
                self.net, part, choice, self.batches, self.options.batches, self.options.seed
            )
            found.append(one)
            most = max(map(max, one.distances))
            self.progress.advance(
                number, f"{choice.name} {options_text(choice.options)}: up to {most:.3f}"
            )
        return found


def _piece(
    number: int,
    part: ArchSpace,
    whole: ArchSpace,
    run: RunDir,
    card: RunCard,
    options: SplitOptions,
    size: int,
) -> Piece:
    folder = options.out / f"piece-{number}"
    only = tuple(narrowing_text(*pair) for pair in narrowings(part, whole).items())
    words = ["edgenas", "train", "--data", card.data, "--preset", card.preset]
    words += ["--seed", str(card.seed), "--recipe-file", str(_recipe_file(options))]
    words += ["--space", str(run.space)] if card.space else []
    words += [] if card.data_root is None else ["--data-root", card.data_root]
    words += [word for text in only for word in ("--only", text)]
    words += ["--weights", str(run.checkpoint), "--out", str(folder)]
    return Piece(folder, only, part.size(), size, shlex.join(words))


def _recipe_file(options: SplitOptions) -> Path:
    return options.out / "recipe.toml"


def _write(
    options: SplitOptions,
    run: RunDir,
    checkpoint: Checkpoint,
    split: Split,
    pieces: Sequence[Piece],
    whole: ArchSpace,
) -> None:
    """Keep the recipe of the parts and everything that was decided.

    A parent that shrank has passed on what was left: its parts do not shrink once more.
    """
    decisions = [
        {
            "part": part_text(taken.part, whole),
            "choice": taken.cut.choice,
            "groups": [list(taken.cut.first), list(taken.cut.second)],
            "mean_distance": taken.cut.value,
            "measured": [_told(one) for one in taken.measured],
        }
        for taken in split.taken
    ]
    body = {
        "format": FORMAT,
        "parent": str(run.checkpoint),
        "parent_digest": checkpoint.digest(),
        "batches": options.batches,
        "seed": options.seed,
        "limit_bytes": options.limit,
        "expected_bytes": split.stored,
        "decisions": decisions,
        "pieces": [
            {
                "folder": str(piece.folder),
                "only": list(piece.only),
                "subnets": piece.subnets,
                "expected_bytes": piece.expected_bytes,
                "command": piece.command,
            }
            for piece in pieces
        ],
    }
    write_json(options.out / "split.json", body)
    recipe = checkpoint.recipe.override(shrink_at=0.0)
    _recipe_file(options).write_text(recipe_toml(recipe), encoding="utf-8")


def _told(one: Disagreement) -> dict[str, object]:
    return {
        "choice": one.choice.name,
        "options": list(one.choice.options),
        "distances": [list(row) for row in one.distances],
    }
