"""When a training run has gone wrong, and what is done about it; decisions only.

Three things are watched: steps whose loss or gradient is unusable are skipped; too many skips, or a
watched subnet that has become much worse than it was, mean a way back to the last good checkpoint
at half the rate; too many ways back end the run. Reading and writing checkpoints is
`edgenas.train.keeping`, doing it the loop's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from edgenas.errors import EdgenasError

SKIPS_ALLOWED = 10
JUMP = 10.0
"""A loss so many times the typical one is not learned from."""
COLLAPSE = 1.5
"""The watched subnet's loss so many times its best is a collapse."""
MARGIN = 0.1
"""But both only beyond this share of ln(classes) above it: small losses waver by themselves."""


class TrainingDivergedError(EdgenasError):
    """The run went wrong again and again, at lower and lower rates."""


@dataclass(frozen=True)
class RolledBack:
    """One way back.

    Attributes:
        step: the step at which it showed that the run had gone wrong.
        to: the step of the good checkpoint.
        why: what showed it.
    """

    step: int
    to: int
    why: str


@dataclass
class Guards:
    """What the watching of one run remembers; all of it is in the checkpoint.

    Attributes:
        typical_loss: moving average of the leading losses of the steps taken, in nats: what the
            largest subnet was trained with where a step ran it, else the mean cross-entropy of the
            subnets it ran; inf before any step.
        skips: steps lately not taken, fading out.
        best: lowest loss of the watched subnet on the watched images in this phase, in nats.
        phase: that `best` belongs to.
        rate_factor: what ways back have left of the rate.
        history: the ways back.
    """

    typical_loss: float = math.inf
    skips: float = 0.0
    best: float = math.inf
    phase: str = ""
    rate_factor: float = 1.0
    history: list[RolledBack] = field(default_factory=list)

    def usable(self, loss: float, norm: float, classes: int) -> bool:
        """Whether a step with this loss and gradient norm may be taken; remembers the answer.

        Steps of one subnet have losses of small and large ones in turn: once all are small, that
        of a small subnet may be many times the typical one without anything being wrong.

        Args:
            loss: the step's leading loss, in nats.
            norm: of the gradient.
            classes: for the size of a loss that means nothing learned.
        """
        bound = max(JUMP * self.typical_loss, self.typical_loss + MARGIN * math.log(classes))
        if math.isfinite(loss) and math.isfinite(norm) and loss < bound:
            old = loss if math.isinf(self.typical_loss) else self.typical_loss
            self.typical_loss = 0.98 * old + 0.02 * loss
            self.skips = max(0.0, self.skips - 0.1)
            return True
        self.skips += 1
        return False

    @property
    def lost(self) -> bool:
        """Whether too many steps were skipped."""
        return self.skips > SKIPS_ALLOWED

    def why_lost(self, step: int) -> str:
        """What to tell if too many steps were skipped."""
        return (
            f"step {step}: expected a finite loss near {self.typical_loss:.3g} and a finite "
            f"gradient, got others in more than {SKIPS_ALLOWED} steps of late"
        )

    def why_collapsed(
        self, step: int, loss: float, watched: str, phase: str, classes: int
    ) -> str | None:
        """What to tell if the watched subnet has fallen far behind its best of this phase.

        Args:
            step: at which it was looked at.
            loss: its loss on the watched images, in nats; remembered if it is the best.
            watched: which subnet it is, for a person.
            phase: whatever makes losses incomparable: float or INT8, and which subnet it is.
            classes: for the size of a loss that means nothing learned.
        """
        if phase != self.phase:
            self.phase, self.best = phase, math.inf
        bound = max(COLLAPSE * self.best, self.best + MARGIN * math.log(classes))
        if not math.isfinite(loss) or loss > bound:
            return (
                f"step {step}: expected the {watched} subnet to lose at most {bound:.3g} nats, got "
                f"{loss:.3g}"
            )
        self.best = min(self.best, loss)
        return None

    def go_back(self, good: Guards, step: int, to: int, why: str) -> None:
        """Take over what the good checkpoint remembers; halve the rate and note the way back."""
        self.typical_loss, self.skips = good.typical_loss, 0.0
        self.best, self.phase = good.best, good.phase
        self.rate_factor *= 0.5
        self.history.append(RolledBack(step, to, why))

    def check_may_go_back(self, allowed: int, why: str, rate: float) -> None:
        """Refuse another way back after `allowed` of them.

        Raises:
            TrainingDivergedError: tells what happened and which rate to begin with.
        """
        if len(self.history) < allowed:
            return
        raise TrainingDivergedError(
            f"{why}, after {allowed} returns to a good checkpoint, each at half the rate; lower "
            f"the rate (`--rate {rate * self.rate_factor / 2:g}`) and start in a fresh folder"
        )

    def state(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return asdict(self)

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> Guards:
        """What `state` gave; fields that another version did not know begin anew."""
        known = {f.name: state[f.name] for f in fields(Guards) if f.name in state}
        history = [RolledBack(**back) for back in state.get("history", [])]
        return Guards(**{**known, "history": history})
