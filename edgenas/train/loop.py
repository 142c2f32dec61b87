"""The training loop: sandwich rule, in-place distillation, INT8 for every subnet.

One visible loop. Which subnets run is `edgenas.train.sampler`, what is lost
`edgenas.train.losses`, what is seen `edgenas.train.batches`, what is kept
`edgenas.train.checkpoint`; showing progress is the caller's (`on_step`).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from edgenas.errors import EdgenasError
from edgenas.model.images import Pixels, to_input
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Pass, Supernet
from edgenas.space.space import ArchSpace
from edgenas.train.batches import Batches, Labels
from edgenas.train.checkpoint import (
    Checkpoint,
    CheckpointError,
    disk_errors,
    load_checkpoint,
    save_checkpoint,
)
from edgenas.train.interrupts import interrupts_held
from edgenas.train.losses import distillation_loss, label_loss
from edgenas.train.recipe import Recipe
from edgenas.train.sampler import Sampler, Sandwich

OBSERVER_BATCHES = 20
DURABLE_EVERY_S = 30.0
SKIPS_ALLOWED = 10


class TrainingDivergedError(EdgenasError):
    """The loss left the finite numbers again and again."""


@dataclass(frozen=True)
class StepReport:
    """What one step did; losses in nats, the last three as means over their subnets."""

    step: int
    steps: int
    phase: str
    rate: float
    loss_largest: float
    loss_smallest: float
    loss_random: float
    images_per_s: float
    skipped: bool


def train(
    space: ArchSpace,
    images: Pixels,
    labels: Labels,
    recipe: Recipe,
    folder: Path,
    data: str,
    *,
    on_step: Callable[[StepReport], None] = lambda report: None,
) -> Checkpoint:
    """Train a supernet, or go on with the one in `folder`.

    Args:
        space: of the supernet.
        images: training split, uint8 [n, h, w, c].
        labels: int64 [n].
        recipe: how to train.
        folder: receives `checkpoint.pt` and `metrics.jsonl`.
        data: fingerprint of the data set, to refuse mixing runs.
        on_step: called after every step.

    Raises:
        CheckpointError: `folder` holds another run or a damaged one, or cannot be written; earlier
            checkpoints stay.
        TrainingDivergedError: the loss does not stay finite.
    """
    run = _Run(space, images, labels, recipe, folder, data)
    run.resume()
    try:
        while run.step < run.steps:
            with interrupts_held():
                report = run.advance()
                run.record(report)  # first: a line without its checkpoint is cut off on resume
                run.save_if_due()
            on_step(report)
    finally:
        run.save_last()  # Ctrl-C keeps the last whole step
    return load_checkpoint(folder / "checkpoint.pt")


class _Run:
    """Everything that one training run holds."""

    def __init__(
        self,
        space: ArchSpace,
        images: Pixels,
        labels: Labels,
        recipe: Recipe,
        folder: Path,
        data: str,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.folder, self.data = recipe, folder, data
        self.device = _training_device()
        self.net = Supernet(space).to(self.device).train()
        self.optimiser = _optimiser(self.net, recipe)
        self.sampler: Sampler = Sandwich(space, recipe.random_subnets, recipe.seed)
        self.batches = Batches(images, labels, recipe.batch, recipe.shift, recipe.flip, recipe.seed)
        self.steps = recipe.steps(len(images))
        self.step = 0
        self._whole = True  # whether weights, momentum and ranges all belong to `step`
        self._kept, self._durable_at = (-1, False), time.monotonic()
        self._typical_loss, self._skips = math.inf, 0.0

    # --- one step ------------------------------------------------------------------------------

    def advance(self) -> StepReport:
        """Run one optimiser step."""
        began, self._whole = time.perf_counter(), False
        if self.step == self._float_steps:
            self._observe_ranges()
        ranges = self.net.ranges.clone()
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        numerics = Numerics.FLOAT if self.step < self._float_steps else Numerics.INT8
        losses = self._backward(numerics)
        skipped = not self._apply(losses[0])
        if skipped:  # its activations may have been anything, NaN included
            self.net.ranges.copy_(ranges)
        self.step, self._whole = self.step + 1, True
        others = losses[2:] or [math.nan]
        return StepReport(
            self.step, self.steps, numerics.value, self.optimiser.param_groups[0]["lr"],
            losses[0], losses[1], sum(others) / len(others),
            self.recipe.batch / (time.perf_counter() - began), skipped,
        )  # fmt: skip

    def _backward(self, numerics: Numerics) -> list[float]:
        """Sum the gradients of all subnets of this step; their losses."""
        images, labels = self.batches.at(self.step)
        target = torch.from_numpy(labels).to(self.device)
        self.optimiser.zero_grad(set_to_none=True)
        teacher: Tensor | None = None
        losses = []
        for arch in self.sampler.draw(self.step):
            x = to_input(images, arch.resolution).to(self.device)
            logits = self.net(x, arch, numerics=numerics)
            if teacher is None:
                teacher = logits.detach()
                loss = label_loss(logits, target, self.recipe.label_smoothing)
            else:
                loss = distillation_loss(logits, teacher)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.item())
        return losses

    def _apply(self, loss: float) -> bool:
        """Clip and step, unless loss or gradient are unusable; whether the step was taken."""
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip_norm).item()
        if math.isfinite(loss) and math.isfinite(norm) and loss < 10 * self._typical_loss:
            self.optimiser.step()
            old = loss if math.isinf(self._typical_loss) else self._typical_loss
            self._typical_loss = 0.98 * old + 0.02 * loss
            self._skips = max(0.0, self._skips - 0.1)
            return True
        self._skips += 1
        if self._skips > SKIPS_ALLOWED:
            raise TrainingDivergedError(
                f"step {self.step}: expected a finite loss near {self._typical_loss:.3g}, got "
                f"{loss:.3g} (gradient norm {norm:.3g}) again and again; lower the rate "
                f"(`--rate {self.recipe.rate / 2:g}`) and start in a fresh folder"
            )
        return False

    @torch.no_grad()
    def _observe_ranges(self) -> None:
        """Begin INT8 with the extremes over a few float batches of all kinds of subnets."""
        for number in range(OBSERVER_BATCHES):
            drawn = self.sampler.draw(number)
            arch = drawn[number % len(drawn)]
            images, _ = self.batches.at(number)
            seen: dict[str, tuple[Tensor, Tensor]] = {}
            x = to_input(images, arch.resolution).to(self.device)
            Pass(self.net, arch, Numerics.FLOAT, None, observed=seen).logits(x)
            for name, (lo, hi) in seen.items():
                row = self.net.ranges[self.net.row(name)]
                row[0], row[1] = torch.minimum(row[0], lo), torch.maximum(row[1], hi)

    # --- schedule ------------------------------------------------------------------------------

    @property
    def _float_steps(self) -> int:
        return min(round(self.recipe.float_share * self.steps), self.steps - 1)

    def _rate(self) -> float:
        """Linear warm-up, then cosine to 0 over the rest."""
        warm = max(1, round(self.recipe.warmup * self.steps))
        if self.step < warm:
            return self.recipe.rate * (self.step + 1) / warm
        done = (self.step - warm) / max(1, self.steps - warm)
        return self.recipe.rate * 0.5 * (1 + math.cos(math.pi * done))

    # --- keeping -------------------------------------------------------------------------------

    def resume(self) -> None:
        """Go on from the folder's checkpoint, if there is one."""
        path = self.folder / "checkpoint.pt"
        if path.exists():
            old = load_checkpoint(path)
            _check_same_run(old, self.net.space, self.recipe, self.data, path)
            self.net.load_state_dict(old.weights)
            self.optimiser.load_state_dict(old.optimiser)
            self._typical_loss, self._skips = old.typical_loss, old.skips
            self.step, self._kept = old.step, (old.step, True)
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            _truncate_metrics(self.folder / "metrics.jsonl", self.step)

    def save_if_due(self) -> None:
        """Write the checkpoint if it is the recipe's turn; now and then wait for the disk too."""
        if self.step % self.recipe.checkpoint_every == 0:
            self.save(durable=time.monotonic() - self._durable_at > DURABLE_EVERY_S)

    def save_last(self) -> None:
        """Write the last checkpoint, unless an error left a step half done."""
        if self._whole:
            self.save(durable=True)

    def save(self, *, durable: bool) -> None:
        """Write the checkpoint of the current step, unless it is kept as safely already."""
        if self._kept >= (self.step, durable):
            return
        checkpoint = Checkpoint(
            self.step, self.steps, self.net.space, self.recipe, self.data,
            self.net.state_dict(), self.optimiser.state_dict(), self._typical_loss, self._skips,
        )  # fmt: skip
        save_checkpoint(checkpoint, self.folder / "checkpoint.pt", durable=durable)
        self._kept = (self.step, durable)
        if durable:
            self._durable_at = time.monotonic()

    def record(self, report: StepReport) -> None:
        """Append one line to the metrics."""
        path = self.folder / "metrics.jsonl"
        with disk_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(report)) + "\n")


def read_metrics(folder: Path) -> list[StepReport]:
    """The recorded steps of a run; a torn last line is left out."""
    path = folder / "metrics.jsonl"
    reports = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                reports.append(StepReport(**json.loads(line)))
            except (ValueError, TypeError):
                continue
    return reports


def training_seconds(reports: Sequence[StepReport], batch: int) -> float:
    """Wall time of the recorded steps; time between a kill and the resumption does not count."""
    return sum(batch / report.images_per_s for report in reports)


def _truncate_metrics(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = [r for r in read_metrics(path.parent) if r.step <= step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(asdict(r)) + "\n" for r in kept), encoding="utf-8")
    temporary.replace(path)


def _check_same_run(
    old: Checkpoint, space: ArchSpace, recipe: Recipe, data: str, path: Path
) -> None:
    pairs = {"space": (old.space, space), "recipe": (old.recipe, recipe), "data": (old.data, data)}
    for name, (stored, asked) in pairs.items():
        if stored != asked:
            raise CheckpointError(
                f"{path}: expected the same {name} as when this run began\n  there: {stored}\n"
                f"  asked: {asked}\nrepeat the first command to go on, or choose another --out"
            )


def _optimiser(net: Supernet, recipe: Recipe) -> torch.optim.SGD:
    decayed = [p for p in net.parameters() if p.dim() > 1]
    plain = [p for p in net.parameters() if p.dim() == 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=0.9, nesterov=True)


def _training_device() -> torch.device:
    """The machine's accelerator, or the processor."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found if found is not None else torch.device("cpu")
