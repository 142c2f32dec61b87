"""The training step: load data, train or go on, keep what the later steps need."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.progress import Progress
from edgenas.campaign.rundir import RunCard, RunDir, write_text
from edgenas.campaign.scoring import Scorer
from edgenas.campaign.starting import Start, look_at_start, part_text
from edgenas.data import ImageData, load_data
from edgenas.export.exporter import CALIBRATION_IMAGES, Exporter
from edgenas.model.peers import ALONE, Peers
from edgenas.space.presets import PRESETS, preset
from edgenas.space.space import ArchSpace
from edgenas.space.space_file import read_space_file, space_toml
from edgenas.train.checkpoint import Checkpoint, load_checkpoint
from edgenas.train.distributed import check_shared
from edgenas.train.loop import StepReport, train
from edgenas.train.precision import products_type
from edgenas.train.recipe import Recipe
from edgenas.train.recipe_file import read_recipe_file
from edgenas.train.recipes import recipe
from edgenas.train.state import check_recipe, planned_epochs, training_device

if TYPE_CHECKING:
    from edgenas.campaign.costs import ChosenCost  # reads studies: most trainings need none

DEFAULT_PRESETS = {
    "digits": "digits",
    "fashion-mnist": "fashion",
    "cifar10": "cifar",
    "speech_commands": "kws",
    "speech_commands_mfcc": "kws-mfcc",
}


@dataclass(frozen=True)
class TrainOptions:
    """What to train.

    Attributes:
        data: name of a data set, or path of an image folder.
        data_root: folder of its files.
        preset: name of the space; None takes the one that belongs to the data.
        recipe: name of the recipe, or of a method that is put on the preset's; None takes the
            preset's.
        overrides: recipe fields to change.
        seed: of everything random.
        recipe_file: TOML that changes recipe fields too; what `overrides` say goes before it.
        precision: that convolutions multiply in; the machine's, so a run may go on with another.
        start: a part of the space, weights from elsewhere.
        space_file: a space that is no preset; the preset then only names the recipe.
        cost: gives what cost bins are made of, such as `edgenas.campaign.costs.chosen_cost` with a
            text; None leaves it to the sampler.
    """

    data: str = "digits"
    data_root: Path | None = None
    preset: str | None = None
    recipe: str | None = None
    overrides: dict[str, object] | None = None
    seed: int = 0
    recipe_file: Path | None = None
    precision: str = "auto"
    start: Start = field(default_factory=Start)
    space_file: Path | None = None
    cost: Callable[[ArchSpace, RunDir], ChosenCost] | None = None

    def preset_name(self) -> str:
        """The preset that is used."""
        return self.preset or DEFAULT_PRESETS.get(self.data, "mobile")

    def space(self) -> ArchSpace:
        """The whole space, for images and classes of any number.

        Raises:
            ArchError: no preset has the name, or the file holds no space.
        """
        if self.space_file is not None:
            return read_space_file(self.space_file)
        return preset(self.preset_name(), channels=1, classes=2)

    def chosen_recipe(self) -> Recipe:
        """The recipe that is used.

        Raises:
            RecipeError: unknown name or value, or a recipe file that cannot be read.
        """
        name = self.recipe or self.preset_name()
        in_file = {} if self.recipe_file is None else read_recipe_file(self.recipe_file)
        asked = {k: v for k, v in (self.overrides or {}).items() if v is not None}
        return recipe(name, self.preset_name()).override(**{**in_file, "seed": self.seed, **asked})


def load(
    data: str, root: Path | None, preset_name: str, seed: int, *, space: ArchSpace | None = None
) -> ImageData:
    """Images at the size that the largest resolution of the preset, or of a space that is none,
    needs at most.

    Raises:
        DataError: files are missing or damaged.
    """
    named = data in DEFAULT_PRESETS
    size = None if named else max((space or PRESETS[preset_name]).largest().sides)
    return load_data(data, root, image_size=size, seed=seed)


def train_run(
    run: RunDir, options: TrainOptions, command: str, progress: Progress, peers: Peers = ALONE
) -> tuple[Checkpoint, ImageData]:
    """Train the supernet of a run folder, or go on with it.

    Args:
        run: the folder, which only the first of several processes writes to.
        options: what to train.
        command: line that is said to go on with it.
        progress: is told how it goes.
        peers: the processes that train it together.

    Raises:
        EdgenasError: see `edgenas.train.loop.train`; also wrong data and unknown names.
    """
    name, form = options.preset_name(), options.space()
    chosen = options.chosen_recipe()
    products = products_type(options.precision, training_device())
    data = load(options.data, options.data_root, name, options.seed, space=form)
    whole = replace(form, channels=data.channels, classes=len(data.classes))
    space, source = options.start.part(whole), options.start.source()
    cost = None if options.cost is None else options.cost(space, run)
    check_recipe(chosen, space, None if cost is None else cost.cost)
    check_shared(chosen.batch, peers)
    _note_sizes(data, space.name, space.size(), progress)
    root = None if options.data_root is None else str(options.data_root.resolve())
    place = options.data if options.data in DEFAULT_PRESETS else str(Path(options.data).resolve())
    card = RunCard(place, root, name, options.seed, command, part_text(space, whole))
    text = "" if options.space_file is None else space_toml(form)
    card = replace(card, space=hashlib.sha256(text.encode()).hexdigest() if text else "")
    if source is not None:
        file = str(source.path.resolve())
        card = replace(card, weights=source.identity, weights_file=file)
        if not run.checkpoint.exists():
            look_at_start(source, space, data, progress)
    steps = chosen.steps(len(data.train))
    progress.phase(f"training the supernet ({chosen.epochs:g} epochs)", steps)
    if peers.rank == 0:
        if cost is not None and not run.checkpoint.exists():
            cost.keep(run)
        _keep_card(run, card, text)
    _note_machine(chosen, peers, products, progress)

    figures = Figures(chosen.batch)
    checkpoint = train(
        space, data.train.images, data.train.labels, chosen, run.path, data.fingerprint,
        on_step=lambda report: progress.advance(report.step, figures.of(report)),
        on_note=progress.note, peers=peers, products=products, source=source,
        cost=None if cost is None else cost.cost,
    )  # fmt: skip
    if peers.rank == 0 and checkpoint.whole is not None:
        write_text(run.shrunk, space_toml(checkpoint.space))
    return checkpoint, data


def open_run(run: RunDir) -> tuple[Checkpoint, ImageData]:
    """The trained supernet of a run folder, and its data.

    Raises:
        RunFolderError: training has not ended, or the data are not those it was trained on.
    """
    card = run.read_card()
    checkpoint = load_checkpoint(run.checkpoint)
    if not checkpoint.finished:
        epochs = checkpoint.recipe.epochs  # of two --epochs the last one counts
        other = "" if planned_epochs(checkpoint) == epochs else f" --epochs {epochs:g}"
        raise RunFolderError(
            f"{run.path}: expected a finished training, got step {checkpoint.step} of "
            f"{checkpoint.steps}; repeat the `edgenas train` command to go on: "
            f"{card.command}{other}"
        )
    root = None if card.data_root is None else Path(card.data_root)
    data = load(card.data, root, card.preset, card.seed, space=whole_space(run, card))
    if data.fingerprint != checkpoint.data:
        raise RunFolderError(
            f"{card.data}: expected the images that the supernet was trained on (fingerprint "
            f"{checkpoint.data[:12]}), got {data.fingerprint[:12]}; restore the data set"
        )
    return checkpoint, data


def whole_space(run: RunDir, card: RunCard) -> ArchSpace:
    """The space that a run trains all or a part of; channels and classes are the data's.

    Raises:
        ArchError: its space file is missing or damaged.
    """
    if not card.space:
        return preset(card.preset, channels=1, classes=2)
    found = read_space_file(run.space)
    if hashlib.sha256(space_toml(found).encode()).hexdigest() != card.space:
        raise RunFolderError(
            f"{run.space}: expected the space that the run began with, got another; put that file "
            f"back, or train this one with another --out"
        )
    return found


def scorer_of(run: RunDir, checkpoint: Checkpoint, data: ImageData) -> Scorer:
    """Exports and scores architectures of the run's supernet."""
    space = checkpoint.space
    heavy = space.macs(space.largest()) > 200e6  # calibrating 2,048 images would take minutes
    images = CALIBRATION_IMAGES // 4 if heavy else CALIBRATION_IMAGES
    exporter = Exporter(
        checkpoint.supernet(), checkpoint.digest(), data.train.images, run.exports, images
    )
    return Scorer(exporter, data.search, data.fingerprint)


def _keep_card(run: RunDir, card: RunCard, space: str) -> None:
    """Write the card of a new run; a run that goes on keeps its own.

    Raises:
        RunFolderError: the folder belongs to a run with other data, preset or seed.
    """
    if not (run.card.exists() and run.checkpoint.exists()):
        if space:
            write_text(run.space, space)
        run.write_card(card)
        return
    old = run.read_card()
    if replace(old, command=card.command, weights_file=card.weights_file) != card:
        raise RunFolderError(
            f"{run.path}: expected the run that began there ({_told(old)}), got {_told(card)}; "
            f"choose another --out, or repeat the first command: {old.command}"
        )


def _told(card: RunCard) -> str:
    part = f" with {card.only}" if card.only else ""
    part += f", space file {card.space[:12]}" if card.space else ""
    weights = f", weights {card.weights[:12]} of {card.weights_file}" if card.weights else ""
    return f"{card.data}, preset {card.preset}{part}, seed {card.seed}{weights}"


def _note_sizes(data: ImageData, space: str, size: int, progress: Progress) -> None:
    progress.note(
        f"data {data.name}: {len(data.train):,} train, {len(data.search):,} search images, "
        f"{len(data.classes)} classes; the test split stays closed until the end"
    )
    progress.note(f"space {space}: {size:,} subnets, every one INT8")


def _note_machine(recipe: Recipe, peers: Peers, products: torch.dtype, progress: Progress) -> None:
    if not peers.alone:
        each = recipe.batch // peers.size
        progress.note(f"{peers.size} processes share each batch of {recipe.batch}: {each} each")
    if products != torch.float32:
        progress.note(f"convolutions multiply in {str(products).removeprefix('torch.')}")


class Figures:
    """The live line of a training: losses, images a second, time left.

    Extreme subnets that no step trains by themselves are told as the last look found them, others
    as they were trained last.

    Args:
        batch: images a step.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._step_s = math.nan  # moving average
        self._trained: dict[str, float] = {}  # since the last look
        self._known: dict[str, float] = {}

    def of(self, report: StepReport) -> str:
        """The line after a step; losses of what the step did not run are left out."""
        seconds = self.batch / report.images_per_s
        self._step_s = seconds if math.isnan(self._step_s) else 0.95 * self._step_s + 0.05 * seconds
        named = {
            "largest": report.loss_largest,
            "smallest": report.loss_smallest,
            "random": report.loss_random,
        }
        self._trained.update(_numbers(named))
        watched = {"largest": report.watched_largest, "smallest": report.watched_smallest}
        if looked := _numbers(watched):
            self._known.update({**looked, **self._trained})
            self._trained.clear()
        self._known.update(_numbers(named))
        losses = [f"{self._known[name]:.3f} {name}" for name in named if name in self._known]
        return (
            f"{report.phase:5s} loss {', '.join(losses)}; {self.batch / self._step_s:,.0f} "
            f"images/s, {_duration(self._step_s * (report.steps - report.step))} left"
        )


def _numbers(losses: dict[str, float]) -> dict[str, float]:
    return {name: loss for name, loss in losses.items() if not math.isnan(loss)}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes}:{rest:02d}"
