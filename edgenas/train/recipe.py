"""A training recipe: one frozen, self-checking configuration.

Named values are in `edgenas.train.recipes`, files that change some of them in
`edgenas.train.recipe_file`. What the names in it stand for is said where they are registered:
`samplers`, `optimisers`, `schedules`, `teachers`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from edgenas.errors import EdgenasError


class RecipeError(EdgenasError):
    """A recipe holds a value that cannot work, or an unknown name was asked for."""


CHOICES: dict[str, tuple[str, ...]] = {
    "divergence": ("kl", "alpha"),
    "dropout_for": ("largest", "all", "size"),
    "optimiser": ("sgd", "rmsprop", "adamw", "schedule_free"),
    "schedule": ("cosine", "exponential", "one_cycle", "constant"),
    "clip": ("norm", "median"),
    "shift_axes": ("both", "time"),
    "activations": ("subnet_ranges", "shared_ranges", "lsq", "lsq_plus"),
    "weights": ("min_max", "double_rounding"),
}
TEACHERS = ("largest", "average", "frozen", "external")
_POSITIVE = (
    *("epochs", "batch", "rate", "clip_norm", "checkpoint_every", "alpha_clip", "temperature"),
    *("decay_until", "int8_rate", "start_resolution", "step_rate", "shrink_intervals"),
)
_SHARES = (
    *("warmup", "label_smoothing", "shift", "dropout", "momentum", "beta2"),
    *("momentum_dip", "rate_floor", "average", "cutout", "shrink_at"),
)
_NOT_NEGATIVE = (
    *("random_subnets", "weight_decay", "seed", "label_share", "mixup", "held_out"),
    *("check_every", "rollbacks", "grow_until", "float_share"),
)
_AT_MOST_ONE = ("decay_until", "start_resolution", "grow_until", "float_share")


@dataclass(frozen=True)
class Recipe:
    """How the supernet is trained; as it stands: the sandwich rule with in-place distillation
    (BigNAS), INT8 for every subnet.

    Attributes:
        epochs: passes over the training split; may be changed later if the run is `endless`.
        batch: images a step.
        rate: peak learning rate.
        warmup: share of all steps over which the rate rises.
        float_share: share of all steps trained in float before INT8 begins; below 1 the last step
            is always INT8, 1 trains in float to the end, for comparisons.
        random_subnets: subnets a step, or in a turn of many steps, besides those that the sampler
            always runs.
        label_smoothing: of the cross-entropy with labels.
        weight_decay: on weights only, never on BatchNorm or biases.
        clip_norm: bound on the norm of the summed gradient.
        shift: largest random translation, as a share of the image side.
        shift_axes: `both`, or `time`: along the first axis alone, as sound wants it.
        flip: whether images are mirrored at random.
        seed: of initial weights, data order, augmentation and drawn architectures.
        checkpoint_every: steps between checkpoints.
        sampler: which subnets a step runs, by its name in `edgenas.train.samplers`.
        held_out: training images kept back for samplers that compare subnets on unseen images.
        teachers: who teaches all but the largest subnet: `largest` (of the same step), `average`
            (the largest under the moving average of the weights), `frozen` (the largest as it was
            before any other was trained), `external` (the largest of other supernets); several are
            an ensemble, none leaves labels only.
        teacher_files: checkpoints of the external teachers.
        divergence: between teacher and student: `kl`, or `alpha` (adaptive, clipped; AlphaNet).
        alpha_clip: largest ratio in the alpha-divergence.
        temperature: that outputs are softened with before they are compared.
        label_share: weight of the labels' loss beside the teacher's (once-for-all: 1).
        dropout: share of the classifier's inputs left out in training.
        dropout_for: `largest` subnet only (BigNAS), `all`, or `size`: times the share of its width
            that a subnet keeps (TODM).
        optimiser: `sgd` (Nesterov), `rmsprop`, `adamw`, `schedule_free`.
        momentum: of SGD and RMSProp; first beta of the Adam family.
        beta2: memory of squared gradients in the Adam family.
        schedule: of the rate after the rise: `cosine`, `exponential`, `one_cycle`, `constant`.
        rate_floor: lowest rate of `cosine` and `exponential`, as a share of the peak.
        decay_until: share of the falling part at which `exponential` reaches its floor.
        momentum_dip: how much lower momentum is where a `one_cycle` rate peaks; 0 with any other.
        int8_rate: factor on the rate once INT8 has begun.
        clip: `norm` (the bound is `clip_norm`), or `median`: twice the median norm of the last 100
            steps.
        average: decay per step of a moving average of the weights, which is then what is evaluated
            and exported; 0 keeps none.
        start_resolution: largest image side at the beginning, as a share of the space's largest.
        grow_until: share of all steps over which images grow to their full size.
        cutout: side of a square painted over in each image, as a share of the image side.
        mixup: parameter of the Beta distribution of shares in which images are blended; 0 for none.
        check_every: steps between looks at the smallest subnet; 0 means once an epoch.
        rollbacks: how often a run that went wrong goes back to its last good checkpoint.
        activations: where scales and zero points come from. `subnet_ranges`: running ranges in
            training, ranges of its own in each deployed subnet; `shared_ranges`: the running ranges
            in both; `lsq`: steps learned by gradient, deployed as they are; `lsq_plus`: zero points
            learned as well.
        weights: `min_max` (8 bits), or `double_rounding`: learned steps, each drawn subnet trained
            in 8 and in 4 bits that are derived from the 8.
        step_rate: rate of learned steps and zero points, as a factor on the others'.
        shrink_at: share of all steps after which the space is reduced to the choices that weight
            scores prefer (PreNAS), for the rest of the run and all that follows; 0 never.
        shrink_intervals: of cost, in each of which the best-scored subnet is preferred.
    """

    epochs: float = 20.0
    batch: int = 128
    rate: float = 0.1
    warmup: float = 0.05
    float_share: float = 0.15
    random_subnets: int = 2
    label_smoothing: float = 0.1
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    shift: float = 0.1
    flip: bool = False
    seed: int = 0
    checkpoint_every: int = 1
    sampler: str = "sandwich"
    held_out: int = 0
    teachers: tuple[str, ...] = ("largest",)
    teacher_files: tuple[str, ...] = ()
    divergence: str = "kl"
    alpha_clip: float = 5.0
    temperature: float = 1.0
    label_share: float = 0.0
    dropout: float = 0.0
    dropout_for: str = "largest"
    optimiser: str = "sgd"
    momentum: float = 0.9
    beta2: float = 0.999
    schedule: str = "cosine"
    rate_floor: float = 0.0
    decay_until: float = 0.8
    momentum_dip: float = 0.0
    int8_rate: float = 1.0
    clip: str = "norm"
    average: float = 0.0
    start_resolution: float = 1.0
    grow_until: float = 0.5
    cutout: float = 0.0
    mixup: float = 0.0
    check_every: int = 0
    shift_axes: str = "both"
    rollbacks: int = 3
    activations: str = "subnet_ranges"
    weights: str = "min_max"
    step_rate: float = 0.1
    shrink_at: float = 0.0
    shrink_intervals: int = 10

    def __post_init__(self) -> None:
        for name in ("teachers", "teacher_files"):  # a list, as TOML and JSON have it, is welcome
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in _POSITIVE:
            self._expect(name, 0 < getattr(self, name) < math.inf, "> 0")
        for name in _SHARES:
            self._expect(name, 0 <= getattr(self, name) < 1, "0 <= x < 1")
        for name in _NOT_NEGATIVE:
            self._expect(name, getattr(self, name) >= 0, ">= 0")
        for name in _AT_MOST_ONE:
            self._expect(name, getattr(self, name) <= 1, "<= 1")
        for name, known in CHOICES.items():
            self._expect(name, getattr(self, name) in known, f"one of {', '.join(known)}")
        self._check_teachers()
        self._check_together()

    def override(self, **values: object) -> Recipe:
        """A copy with the given fields changed; None leaves a field alone."""
        known = {f.name for f in fields(self)}
        unknown = set(values) - known
        if unknown:
            raise RecipeError(f"recipe: unknown fields {sorted(unknown)}; known: {sorted(known)}")
        return replace(self, **{k: v for k, v in values.items() if v is not None})  # type: ignore[arg-type]

    @property
    def endless(self) -> bool:
        """Whether no rate or momentum leads up to the last step, so that any may be the last."""
        return self.schedule == "constant"

    def steps(self, images: int) -> int:
        """Optimiser steps for a training split of `images`.

        Raises:
            RecipeError: there are fewer images than one batch holds.
        """
        seen = images - self.held_out
        if seen < self.batch:
            kept = f" ({self.held_out} more are held out)" if self.held_out else ""
            raise RecipeError(
                f"training split: expected at least one batch of {self.batch} images, got "
                f"{max(seen, 0)}{kept}; use more images or `--batch {max(seen // 2, 1)}`"
            )
        return max(1, round(self.epochs * (seen // self.batch)))

    def _expect(self, name: str, fits: bool, what: str) -> None:
        if not fits:
            raise RecipeError(f"recipe {name}: expected {what}, got {getattr(self, name)!r}")

    def _check_teachers(self) -> None:
        known = f"each one of {', '.join(TEACHERS)}, at most once"
        distinct = len(set(self.teachers)) == len(self.teachers)
        self._expect("teachers", distinct and set(self.teachers) <= set(TEACHERS), known)
        if ("external" in self.teachers) != bool(self.teacher_files):
            raise RecipeError(
                f"recipe teacher_files: expected checkpoint files exactly if `external` is among "
                f"the teachers, got teachers {list(self.teachers)} and files "
                f"{list(self.teacher_files)}; name both or neither"
            )
        if "average" in self.teachers and not self.average:
            raise RecipeError(
                "recipe average: expected > 0 with `average` among the teachers, got 0; set "
                "average = 0.999 or so"
            )

    def _check_together(self) -> None:
        learned = self.activations in ("lsq", "lsq_plus") or self.weights == "double_rounding"
        if learned and self.float_share == 1:
            raise RecipeError(
                f"recipe float_share: expected < 1 with quantisers that learn in INT8 (activations "
                f"{self.activations}, weights {self.weights}), got 1; lower it or take others"
            )
        if self.optimiser == "schedule_free" and self.average:
            raise RecipeError(
                f"recipe average: expected 0 with schedule_free, which averages by itself, got "
                f"{self.average}; leave one of them out"
            )
        if self.shrink_at and self.sampler == "prenas":
            raise RecipeError(
                f"recipe shrink_at: expected 0 with the sampler prenas, which trains nothing but "
                f"preferred subnets from the first step on, got {self.shrink_at}; leave one out"
            )
        if self.momentum_dip > self.momentum:
            raise RecipeError(
                f"recipe momentum_dip: expected at most the momentum of {self.momentum}, got "
                f"{self.momentum_dip}"
            )
        if self.momentum_dip and self.schedule != "one_cycle":
            raise RecipeError(
                f"recipe momentum_dip: expected 0 with the {self.schedule} schedule, whose rate "
                f"has no cycle to follow, got {self.momentum_dip}; leave it out or set schedule = "
                f'"one_cycle"'
            )
        if self.schedule == "exponential" and not self.rate_floor:
            raise RecipeError(
                "recipe rate_floor: expected > 0 with the exponential schedule, which falls by "
                "equal factors, got 0; set rate_floor = 0.05 or so"
            )
