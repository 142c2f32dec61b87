"""Which of what devices have learnt is added up: pure rules over who sent what.

A device speaks for its own learners only. What does not fit is left out with a word that names its
sender, and the rest is merged: nobody can hold up what the others have learnt. Leaves collecting
and keeping to `heads`, adding up to `firmware_bridge.wire.heads`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from firmware_bridge.wire.messages import Contribution

EXAMPLES_CAP = 1 << 32  # of one class by one learner; 32,768 of them still fit into a merged head


@dataclass(frozen=True)
class Collected:
    """A contribution, and where it came from.

    Attributes:
        source: A device, or a file.
        contribution: What was learnt.
        device: The device that sent it, which the broker vouches for; None for a file.
    """

    source: str
    contribution: Contribution
    device: str | None = None

    @property
    def learner(self) -> str:
        """Who learnt it."""
        return self.contribution.learner


@dataclass(frozen=True)
class Chosen:
    """What is added up.

    Attributes:
        collected: The latest of each learner, by learner; each with the device it belongs to.
        complaints: What was left out and why, a line each.
    """

    collected: tuple[Collected, ...]
    complaints: tuple[str, ...]


def trained_learner(model: str) -> str:
    """Learner id of the classes that a model was trained on: the host's own."""
    return sha256(f"trained {model}".encode()).hexdigest()[:32]


def left_in(collected: Iterable[Collected], leave_out: Collection[str]) -> list[Collected]:
    """Without those whose device or learner is to be left out."""
    return [c for c in collected if c.learner not in leave_out and c.device not in leave_out]


def choose(
    kept: Sequence[Collected], come: Sequence[Collected], dimension: int | None = None
) -> Chosen:
    """Choose what may be added up of contributions for one model.

    Args:
        kept: What was chosen earlier: by it, learners belong to devices.
        come: What came now.
        dimension: Numbers that a feature of this model has; None takes what most devices say.
    """
    complaints: list[str] = []
    before, now = _by_learner(kept, complaints), _by_learner(come, complaints)
    chosen = []
    for learner in sorted({*before, *now}):
        found = _latest(learner, before.get(learner, []), now.get(learner, []), complaints)
        chosen += [] if found is None else [found]
    return _of_one_size(chosen, dimension, complaints)


def _by_learner(
    collected: Sequence[Collected], complaints: list[str]
) -> dict[str, list[Collected]]:
    """By learner, without what cannot be a device's."""
    found: dict[str, list[Collected]] = {}
    for each in collected:
        counts = [sums.count for sums in each.contribution.classes.values()]
        if each.learner == trained_learner(each.contribution.model):
            complaints.append(
                f"{each.source}: speaks for the classes that the model was trained on"
            )
        elif max(counts, default=0) > EXAMPLES_CAP:
            complaints.append(f"{each.source}: expected at most 2^32 examples of a class, got more")
        else:
            found.setdefault(each.learner, []).append(each)
    return found


def _latest(
    learner: str, kept: Sequence[Collected], come: Sequence[Collected], complaints: list[str]
) -> Collected | None:
    """The newest round that the learner's own device sent, or that came in a file."""
    owners = _devices(kept) or _devices(come)
    if len(owners) > 1:
        complaints.append(
            f"learner {learner}: {' and '.join(sorted(owners))} claim it; name the one that it "
            "does not belong to with --leave-out"
        )
        return None
    owner = next(iter(owners), None)
    for each in come:
        if each.device not in (None, owner):
            complaints.append(f"{each.source}: learner {learner} is that of {owner}")
    mine = [each for each in (*kept, *come) if each.device in (None, owner)]
    by_round: dict[int, Contribution] = {}
    for each in mine:
        known = by_round.setdefault(each.contribution.round, each.contribution)
        if _says(known) != _says(each.contribution):
            complaints.append(
                f"{each.source}: learner {learner}, round {known.round} came with different sums; "
                "two boards share one identity, or its state was set back: hand out a later round"
            )
            return None
    return replace(max(mine, key=lambda each: each.contribution.round), device=owner)


def _says(one: Contribution) -> tuple[int, object]:
    return one.dimension, one.classes


def _devices(collected: Iterable[Collected]) -> set[str]:
    return {each.device for each in collected if each.device is not None}


def _of_one_size(chosen: list[Collected], dimension: int | None, complaints: list[str]) -> Chosen:
    says: dict[int, set[str]] = defaultdict(set)
    for each in chosen:
        says[each.contribution.dimension].add(each.device or each.learner)
    if dimension is None and says:
        most = max(len(who) for who in says.values())
        likely = [size for size, who in says.items() if len(who) == most]
        dimension = likely[0] if len(likely) == 1 else None
    for each in chosen:
        if each.contribution.dimension != dimension:
            wanted = "one number for this model" if dimension is None else str(dimension)
            complaints.append(
                f"{each.source}: expected {wanted} features, got {each.contribution.dimension}"
            )
    fitting = (each for each in chosen if each.contribution.dimension == dimension)
    return Chosen(tuple(fitting), tuple(complaints))
