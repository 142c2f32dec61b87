"""What a board has learnt for one model: examples by class, and what of them was handed out.

Pure: every change gives a new notebook. An example is known by the digest of its input, so that
learning the same folder twice, after a kill for instance, changes nothing. Leaves files to
``keeping``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.heads import (
    ClassSums,
    Contribution,
    MergedHead,
    check_class_name,
    minus,
    plus,
)
from firmware_bridge.wire.values import check_id, check_sha256

EXAMPLES_CAP = 20_000
HAND_OUTS_KEPT = 8


@dataclass(frozen=True)
class Example:
    """One labelled example.

    Attributes:
        label: Its class.
        digest: SHA-256 of its input codes, 64 hex digits.
        feature: Integer features u = code - zero point.
    """

    label: str
    digest: str
    feature: tuple[int, ...]


@dataclass(frozen=True)
class Lesson:
    """One class in the notebook: its sums, and the digests of the examples in them."""

    sums: ClassSums
    digests: tuple[str, ...]

    def __post_init__(self) -> None:
        for digest in self.digests:
            check_sha256(digest, "digest")
        if len(set(self.digests)) != self.sums.count:
            raise InvalidValueError("digests", f"{self.sums.count}, all different", self.digests)


@dataclass(frozen=True)
class HandOut:
    """The sums that were given to the host as one round."""

    round: int
    classes: Mapping[str, ClassSums]


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """Everything that one board has learnt for one model.

    Attributes:
        model: SHA-256 of the model file.
        learner: Id under which the sums are handed out.
        dimension: Numbers a feature has; 0 before the first example.
        runtime: What computed the features last.
        lessons: By class.
        handed: The latest rounds that were handed out, oldest first.
    """

    model: str
    learner: str
    dimension: int = 0
    runtime: str = ""
    lessons: Mapping[str, Lesson] = field(default_factory=dict)
    handed: tuple[HandOut, ...] = ()

    def __post_init__(self) -> None:
        check_sha256(self.model, "model")
        check_id(self.learner, "learner")

    @property
    def sums(self) -> dict[str, ClassSums]:
        """Sums by class."""
        return {name: lesson.sums for name, lesson in sorted(self.lessons.items())}

    @property
    def unsent(self) -> bool:
        """Whether something was learnt or forgotten since the last hand-out."""
        return self.sums != (self.handed[-1].classes if self.handed else {})

    def learnt(self, examples: Iterable[Example], runtime: str) -> Notebook:
        """With these examples added; those that are known already change nothing.

        Raises:
            InvalidValueError: An example is known under another class, has other features than
                the rest, or there are too many.
        """
        of = {d: name for name, lesson in self.lessons.items() for d in lesson.digests}
        fresh, held = list[Example](), set(of)
        for each in examples:
            check_class_name(each.label)
            known = of.setdefault(each.digest, each.label)
            if known != each.label:
                expected = f"one that is not in class {known} too"
                raise InvalidValueError(f"an example of {each.label}", expected, each.digest)
            if each.digest not in held:
                held.add(each.digest)
                fresh.append(each)
        if len(of) > EXAMPLES_CAP:
            raise InvalidValueError("examples", f"at most {EXAMPLES_CAP} on a board", len(of))
        return self._with(fresh, runtime)

    def _with(self, fresh: Sequence[Example], runtime: str) -> Notebook:
        lessons = dict(self.lessons)
        dimension = self.dimension or (len(fresh[0].feature) if fresh else 0)
        for each in fresh:
            if len(each.feature) != dimension:
                raise InvalidValueError("features", f"{dimension} numbers", len(each.feature))
            one = ClassSums(1, each.feature)
            known = lessons.get(each.label)
            before = {} if known is None else {each.label: known.sums}
            digests = () if known is None else known.digests
            total = plus(before, {each.label: one})[each.label]
            lessons[each.label] = Lesson(total, (*digests, each.digest))
        return replace(
            self, dimension=dimension, lessons=lessons, runtime=runtime if fresh else self.runtime
        )

    def forgotten(self, label: str) -> Notebook:
        """Without a class that was learnt here.

        Raises:
            InvalidValueError: It was not.
        """
        if label not in self.lessons:
            known = ", ".join(sorted(self.lessons)) or "none"
            raise InvalidValueError("class", f"one that was learnt here ({known})", label)
        return replace(self, lessons={n: each for n, each in self.lessons.items() if n != label})

    def handed_out(self) -> Notebook:
        """With what is known now as its latest round; unchanged if nothing is new."""
        if not self.unsent:
            return self
        number = self.handed[-1].round + 1 if self.handed else 1
        kept = (*self.handed, HandOut(number, self.sums))[-HAND_OUTS_KEPT:]
        return replace(self, handed=kept)

    def contribution(self) -> Contribution | None:
        """What was handed out last, None if nothing ever was."""
        if not self.handed:
            return None
        last = self.handed[-1]
        return Contribution(
            model=self.model,
            learner=self.learner,
            round=last.round,
            dimension=self.dimension,
            classes=last.classes,
            runtime=self.runtime,
        )

    def together(self, merged: MergedHead | None) -> tuple[dict[str, ClassSums], bool]:
        """What to classify with: the fleet's head, and what this board has learnt since.

        Returns:
            The sums; and whether all that was learnt here is in them. It is not where the head
            holds a round of this board that is too old to be remembered.
        """
        if merged is None:
            return self.sums, True
        included = merged.included.get(self.learner)
        if included is None:
            return plus(merged.classes, self.sums), True
        there = next((h.classes for h in self.handed if h.round == included), None)
        try:
            others = minus(merged.classes, there or {})
        except InvalidValueError:  # a state directory from a backup: another past than the fleet's
            there = None
        if there is None:
            return dict(merged.classes), False
        return plus(others, self.sums), True
