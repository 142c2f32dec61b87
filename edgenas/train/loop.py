"""The training loop: every step draws subnets, adds up their gradients and moves the weights once.

One visible loop. Which subnets run is `edgenas.train.samplers`, what is lost
`edgenas.train.objective`, what is seen `edgenas.train.batches`, how fast `edgenas.train.pace`, what
is held `edgenas.train.state`, what is kept `edgenas.train.keeping`, when it has gone wrong
`edgenas.train.guards`; showing progress is the caller's (`on_step`, `on_note`). Several processes
run it side by side (`edgenas.train.distributed`): each answers for its part of the batch, and what
is decided is decided by numbers of the whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from edgenas.model.images import Pixels, to_input
from edgenas.model.numerics import Numerics
from edgenas.model.peers import ALONE, Peers
from edgenas.model.quantisers.steps import FULL_BITS
from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace
from edgenas.train.batches import Labels
from edgenas.train.checkpoint import Checkpoint, digest_of
from edgenas.train.cost import NamedCost
from edgenas.train.distributed import check_alike, check_shared, stopping_together
from edgenas.train.dropout import dropout_mask, dropout_share
from edgenas.train.gradients import (
    Role,
    Trained,
    add_gradient,
    add_measured_gradient,
    average_gradients,
    leading_loss,
    mean_loss,
)
from edgenas.train.guards import TrainingDivergedError
from edgenas.train.inheriting import Source
from edgenas.train.interrupts import interrupts_held
from edgenas.train.judging import at_most, subnet_loss
from edgenas.train.keeping import check_same_run
from edgenas.train.keeping_together import keeper_of
from edgenas.train.losses import label_loss
from edgenas.train.metrics import (
    StepReport,
    read_metrics,
    training_core_hours,
    training_seconds,
)
from edgenas.train.objective import Lesson, Objective
from edgenas.train.observing import observe_ranges
from edgenas.train.optimisers import set_pace
from edgenas.train.quantisers import begin_int8, bound_steps, in_every_precision, mixed_at
from edgenas.train.recipe import Recipe
from edgenas.train.samplers import build_sampler, row_scores
from edgenas.train.shrinking import shrinking_text, shrunk
from edgenas.train.sorting import mover, sort_channels
from edgenas.train.state import State, Task, teachers_of

__all__ = [
    "StepReport",
    "TrainingDivergedError",
    "read_metrics",
    "train",
    "training_core_hours",
    "training_seconds",
]


def train(
    space: ArchSpace,
    images: Pixels,
    labels: Labels,
    recipe: Recipe,
    folder: Path,
    data: str,
    *,
    cost: NamedCost | None = None,
    source: Source | None = None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_note: Callable[[str], None] = lambda text: None,
    peers: Peers = ALONE,
    products: torch.dtype = torch.float32,
) -> Checkpoint:
    """Train a supernet, or go on with the one in `folder`.

    Args:
        space: of the supernet.
        images: training split, uint8 [n, h, w, c].
        labels: int64 [n].
        recipe: how to train.
        folder: receives `checkpoint.pt`, `metrics.jsonl`, `tensorboard/`, and while it trains
            `good.pt`.
        data: fingerprint of the data set, to refuse mixing runs.
        cost: what samplers make their cost bins of; None means multiply-accumulates, for `prenas`
            and for shrinking the space bytes of the weights.
        source: where the first weights come from; None means chance.
        on_step: called after every step.
        on_note: told, in a sentence, what a person should know.
        peers: the processes that train it together; only the first one writes to its `folder`.
        products: the type that convolutions multiply in while training.

    Raises:
        CheckpointError: `folder` holds another run or a damaged one, or cannot be written; earlier
            checkpoints stay.
        SamplerError, TeacherError: sampler or teachers do not fit the run.
        InheritanceError: the first weights do not fit the space.
        DistributedError: the processes do not train the same, or cannot share the batch.
        PeerLostError: another process has ended.
        TrainingDivergedError: the run goes wrong again and again, at lower and lower rates.
    """
    task = Task(space, images, labels, recipe, data, cost, on_note, peers, products, source)
    check_shared(recipe.batch, peers)
    check_alike(peers, "training", lambda: f"{torch.__version__} {task.identity}")
    run = _Run(task, folder, on_note)
    check_shared(recipe.batch, peers, run.state.sampler.parts)
    run.resume()
    with stopping_together(peers) as stop:
        try:
            while run.state.step < run.task.steps:
                with interrupts_held():
                    report = run.advance()
                    run.keeper.record(report)  # first: a line without its checkpoint is cut off
                    run.look_after()
                    run.keeper.save_if_due(run.state.step, run.state.checkpoint)
                on_step(report)
                stop()
        finally:
            run.save_last()  # Ctrl-C keeps the last whole step
    run.keeper.finish()
    return run.keeper.last()


class _Run:
    """One training run: its state, its files, its teachers."""

    def __init__(self, task: Task, folder: Path, on_note: Callable[[str], None]) -> None:
        self.recipe, self.on_note = task.recipe, on_note
        recipe, self.peers = task.recipe, task.peers
        self.keeper = keeper_of(task.peers, folder, recipe.checkpoint_every, recipe.batch)
        self._old = self.keeper.found()
        self.task = task.going_on(self._old)
        self._take(State(self.task))
        self._whole = True  # whether weights, momentum and ranges all belong to the step
        self._looks: dict[Arch, float] = {}  # after the last step, on the watched images

    def _take(self, state: State) -> None:
        """Go on with `state`."""
        self.state = state
        self.objective = Objective(self.recipe, teachers_of(state), state.device)
        self._meet_ends()

    def _meet_ends(self) -> None:
        """The extreme subnets of what is trained, which steps give roles by."""
        ends = (self.state.space.largest(), self.state.space.smallest())
        # every draw is trained in all bits
        self.largest, self.smallest = (arch.in_bits(FULL_BITS) for arch in ends)

    # --- one step ------------------------------------------------------------------------------

    def advance(self) -> StepReport:
        """Run one optimiser step."""
        state, self._whole = self.state, False
        began, began_cpu = time.perf_counter(), time.process_time()
        self._prepare()
        ranges = state.net.ranges.clone()
        trained = self._train_subnets()
        skipped = not self._move_weights(trained)
        if skipped:  # its activations may have been anything, NaN included
            state.net.ranges.copy_(ranges)
        else:
            self._tell(trained)
        state.step, self._whole = state.step + 1, True
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        self._look()
        return self._report(trained, skipped, seconds, cpu_s)

    def _prepare(self) -> None:
        """What is due before the step: a smaller space, first ranges, sorted channels, the rate."""
        state, pace, step = self.state, self.task.pace, self.state.step
        if step == self.task.shrink_step:
            self._shrink()
        if step == pace.float_steps:
            every_kind = build_sampler("sandwich", state.setting)
            observe_ranges(state.net, self.task.batches(), every_kind)
            begin_int8(state.net, state.average)
        if step in state.sampler.sort_steps:
            average = state.average.net if state.average else None
            sort_channels(state.net, mover(state.net, state.optimiser, average))
        rate = pace.rate(step) * state.guards.rate_factor
        set_pace(state.optimiser, rate, pace.momentum(step) if self.recipe.momentum_dip else None)

    def _shrink(self) -> None:
        """Reduce the space to what the weights as they are prefer."""
        part = shrunk(self.state.setting, self.recipe.shrink_intervals)
        self.state.shrink(part)
        self._meet_ends()
        self.on_note(f"step {self.state.step}: {shrinking_text(part, self.task.space)}")

    def _train_subnets(self) -> list[Trained]:
        """Draw the subnets of this step and sum up their gradients."""
        state, step = self.state, self.state.step
        batch, resolution = state.batches.at(step), self.task.pace.resolution(step)
        numerics = self.task.pace.numerics(step)
        state.judge.attend(batch, numerics, resolution)
        whole = self.objective.lesson(batch, numerics, resolution)
        draws = self._draws = state.sampler.draw(step)
        check_alike(self.peers, f"subnets of step {step}", lambda: repr(draws))
        if "frozen" in self.recipe.teachers and not all(self._is_full(d.arch) for d in draws):
            state.frozen.freeze(state.net, numerics)
        state.optimiser.zero_grad(set_to_none=True)
        trained: list[Trained] = []
        bits = state.net.weight_quantiser.bits if numerics is Numerics.INT8 else (FULL_BITS,)
        mixed = mixed_at(state.space, self.recipe.seed, step)
        for number, draw in enumerate(in_every_precision(draws, bits, mixed)):
            role, lesson = self._role(draw.arch, trained), whole.part(draw.part, draw.parts)
            logits = self._answer(draw.arch, lesson, number)
            loss = lesson.loss(logits, largest=role == "largest", learns_from=draw.learns_from)
            if state.sampler.wants_norms:
                norms = add_measured_gradient(state.net, draw.arch, loss, draw.weight * draw.share)
            else:
                norms = add_gradient(loss, draw.weight * draw.share)
            plain = label_loss(logits.detach(), lesson.labels, 0.0).item()
            trained.append(Trained(draw.arch, role, loss.item(), plain, norms))
            if number == 0 and state.sampler.rows:
                self._row_scores = (lesson.batch.rows, row_scores(logits, lesson.labels))
        if not state.sampler.wants_norms:  # whoever wanted norms has averaged already
            average_gradients(state.net.parameters(), self.peers)
        return self._of_whole_batch(trained)

    def _of_whole_batch(self, trained: list[Trained]) -> list[Trained]:
        """The same with losses of the whole batch, not of this process's part."""
        own = [loss for one in trained for loss in (one.loss, one.label_loss)]
        whole = self.peers.means(own)
        return [
            replace(one, loss=loss, label_loss=plain)
            for one, loss, plain in zip(trained, whole[::2], whole[1::2], strict=True)
        ]

    def _answer(self, arch: Arch, lesson: Lesson, number: int) -> Tensor:
        """Logits of a subnet in this lesson, at the step's resolution at most."""
        batch, fitting = lesson.batch, at_most(arch, lesson.resolution)
        x = to_input(batch.images, fitting.resolution).to(self.state.device)
        share = dropout_share(self.recipe, self.task.space, arch)
        seed = (self.recipe.seed, self.state.step, number)
        images = len(batch.labels) * self.peers.size
        mask = dropout_mask(share, images, self.task.space, fitting, seed)
        logits: Tensor = self.state.net(
            x, fitting, numerics=lesson.numerics,
            classifier_mask=None if mask is None else self.peers.part(mask).to(x.device),
        )  # fmt: skip
        return logits

    def _is_full(self, arch: Arch) -> bool:
        """Whether all weights run: at a lower resolution the largest subnet is still itself."""
        full = arch.in_bits(FULL_BITS)
        return replace(full, resolution=self.largest.resolution) == self.largest

    def _role(self, arch: Arch, before: Sequence[Trained]) -> Role:
        """Of a subnet in its step; drawn again at random, an extreme one is like any other."""
        if any(one.arch == arch for one in before):
            return "other"
        if arch == self.largest:
            return "largest"
        return "smallest" if arch == self.smallest else "other"

    def _move_weights(self, trained: Sequence[Trained]) -> bool:
        """Clip and step, unless loss or gradient are unusable; whether the step was taken."""
        state = self.state
        norm = state.clip.apply(state.net.shared_weights(), self.peers)
        steps_norm = bound_steps(state.optimiser, self.peers)
        classes = self.task.space.classes
        if not state.guards.usable(leading_loss(trained), norm + steps_norm, classes):
            return False
        state.clip.remember(norm)
        state.optimiser.step()
        if state.average:
            state.average.update(state.net, state.step)
        return True

    def _tell(self, trained: list[Trained]) -> None:
        """Let the sampler learn from a step that was taken, of what it drew as it drew it."""
        state = self.state
        for draw, one in zip(self._draws, trained, strict=False):  # in all bits first
            state.sampler.tell(state.step, draw.arch, one.label_loss, one.norms)
        if state.sampler.rows:
            rows, scores = (self.peers.whole(torch.from_numpy(own)) for own in self._row_scores)
            state.sampler.rows.tell(rows.numpy(), scores.numpy())

    def _report(
        self, trained: list[Trained], skipped: bool, seconds: float, cpu_s: float
    ) -> StepReport:
        step, rate = self.state.step, self.state.optimiser.param_groups[0]["lr"]
        return StepReport(
            step=step,
            steps=self.task.steps,
            phase=self._numerics().value,
            rate=rate,
            loss_largest=mean_loss(trained, "largest"),
            loss_smallest=mean_loss(trained, "smallest"),
            loss_random=mean_loss(trained, "other"),
            images_per_s=self.recipe.batch / seconds,
            skipped=skipped,
            cpu_s=cpu_s,
            watched_largest=self._looks.get(self.largest, math.nan),
            watched_smallest=self._looks.get(self.smallest, math.nan),
        )

    def _look(self) -> None:
        """Look at the extreme subnets and the watched one, where it is time for it."""
        self._looks.clear()
        if self.state.step % self.task.check_every == 0:
            numerics, (images, labels) = self._numerics(), self.task.watched
            for arch in dict.fromkeys((self.largest, self.smallest, self._watched())):
                loss = subnet_loss(self.state.net, arch, images, labels, numerics)
                self._looks[arch] = loss

    def _watched(self) -> Arch:
        """The subnet whose loss tells whether the run goes wrong."""
        return self.state.sampler.least(self.state.step - 1).in_bits(FULL_BITS)

    def _numerics(self) -> Numerics:
        """Of the last step."""
        return self.task.pace.numerics(self.state.step - 1)

    # --- between steps -------------------------------------------------------------------------

    def look_after(self) -> None:
        """Keep the state if it is good, go back to the last good one if it has gone wrong.

        Raises:
            TrainingDivergedError: the run has gone back too often.
        """
        self._whole = False
        state, guards = self.state, self.state.guards
        why = None
        if guards.lost:
            why = guards.why_lost(state.step)
        elif state.step % self.task.check_every == 0:
            check_alike(self.peers, f"weights after step {state.step}", self._digest)
            why = self._why_collapsed()
            if why is None and guards.skips < 1 and state.step < self.task.steps:
                self.keeper.save_good(state.checkpoint())
        if why is not None:
            self._go_back(why)
        self._whole = True

    def _why_collapsed(self) -> str | None:
        """What is wrong with the watched subnet."""
        watched = self._watched()
        name = {self.largest: "largest", self.smallest: "smallest"}.get(watched, "watched")
        phase = f"{self._numerics().value} {watched.id}"
        return self.state.guards.why_collapsed(
            self.state.step, self._looks[watched], name, phase, self.task.space.classes
        )

    def _digest(self) -> str:
        return digest_of(self.state.net.state_dict())

    def _go_back(self, why: str) -> None:
        """Take the last good state, or the beginning, at half the rate."""
        guards, step = self.state.guards, self.state.step
        guards.check_may_go_back(self.recipe.rollbacks, why, self.recipe.rate)
        good, state = self.keeper.good(step), State(self.task)
        if good is not None:
            state.restore(good)
        guards.go_back(state.guards, step, state.step, why)
        state.guards = guards
        self._take(state)
        self.keeper.go_back(state.checkpoint())
        self.on_note(
            f"{why}: going back to step {state.step} and on at {guards.rate_factor:g} times the "
            f"rate"
        )

    # --- keeping -------------------------------------------------------------------------------

    def resume(self) -> None:
        """Go on from the folder's checkpoint, if there is one."""
        if (old := self._old) is not None:
            check_same_run(old, self.task, self.keeper.path)
            self.state.restore(old)
            self._meet_ends()
        self.keeper.begin(self.state.step)
        if old is not None and old.steps != self.task.steps:
            if old.finished:
                self.keeper.save_good(old)  # what was good before is no longer kept
            self.keeper.go_back(self.state.checkpoint())  # which knows the new length

    def save_last(self) -> None:
        """Write the last checkpoint, unless an error left a step half done."""
        if self._whole:
            self.keeper.save(self.state.step, self.state.checkpoint, durable=True)
