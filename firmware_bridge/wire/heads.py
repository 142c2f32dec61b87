"""Heads: classes learnt without training, as sums of integer features that can be added.

A nearest-mean classifier (Mensink et al., 2013; merged over devices as in Federated
Reconnaissance, Hendryx et al., 2021) needs of each class S = sum of u and n, where u = code - zero
point is the integer feature vector of one example. Adding such sums is exact, so a merged head
does not depend on how the examples were split over devices, nor on the order of merging. Each
device's sums carry its learner id and a round: a later round replaces an earlier one, and the same
one twice counts once. What a feature is, is left to ``firmware_bridge.runtimes.features``; which
class an image belongs to, to ``firmware_bridge.heads.nearest``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from firmware_bridge.wire.errors import InvalidValueError, OverCapError
from firmware_bridge.wire.jsontext import parse
from firmware_bridge.wire.shape import plain, read
from firmware_bridge.wire.values import MIB, RESULT_CAP_BYTES, check_id, check_range, check_sha256

FORMAT: Literal["edgenas-head/1"] = "edgenas-head/1"
HEAD_CAP_BYTES = 8 * MIB
CLASS_NAME_CAP = 64
CLASSES_CAP = 1000
DIMENSION_CAP = 4096
FEATURE_CAP = 255  # a code of 8 bits less a zero point of 8 bits
COUNT_CAP = 2**47  # times FEATURE_CAP still fits into 63 bits


@dataclass(frozen=True)
class ClassSums:
    """Examples of one class, added up.

    Attributes:
        count: Number of examples, at least 1.
        total: Sum of their integer features.
    """

    count: int
    total: tuple[int, ...]

    def __post_init__(self) -> None:
        check_range("count", self.count, 1, COUNT_CAP)
        check_range("dimension", len(self.total), 1, DIMENSION_CAP)
        bound = FEATURE_CAP * self.count
        if not -bound <= min(self.total) <= max(self.total) <= bound:
            raise InvalidValueError("total", f"sums within +-{bound}", self.total)


Sums = Mapping[str, ClassSums]


def check_class_name(name: str) -> str:
    """Return a class name that can be printed and stored.

    Raises:
        InvalidValueError: Empty, longer than 64 characters, or with unprintable ones.
    """
    if not 1 <= len(name) <= CLASS_NAME_CAP or not name.isprintable() or name != name.strip():
        raise InvalidValueError("class", "1 to 64 printable characters, no blanks around", name)
    return name


def plus(one: Sums, other: Sums) -> dict[str, ClassSums]:
    """Add two heads, class by class; both of one dimension."""
    return _combined(one, other, 1)


def minus(one: Sums, other: Sums) -> dict[str, ClassSums]:
    """Take away what was added before; a class without examples is left out.

    Raises:
        InvalidValueError: ``other`` was never part of ``one``.
    """
    return _combined(one, other, -1)


def _combined(one: Sums, other: Sums, sign: int) -> dict[str, ClassSums]:
    found = dict(one)
    for name, sums in other.items():
        zeros = (0,) * len(sums.total)
        count, total = (found[name].count, found[name].total) if name in found else (0, zeros)
        count += sign * sums.count
        total = tuple(a + sign * b for a, b in zip(total, sums.total, strict=True))
        if count == 0 and not any(total):
            del found[name]
        else:
            found[name] = ClassSums(count, total)
    return dict(sorted(found.items()))


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """What one device has learnt for one model, up to a round; also a message kind.

    Attributes:
        model: SHA-256 of the model file whose features were added up.
        learner: Id of whoever learnt, made once on its device.
        round: Grows with every change that was handed out; a later one replaces an earlier one.
        dimension: Numbers a feature vector has.
        runtime: What computed the features, for people: kernels differ by a code now and then.
        classes: Sums by class; empty once everything was forgotten.
    """

    kind: ClassVar[str] = "head"
    cap_bytes: ClassVar[int] = RESULT_CAP_BYTES

    model: str
    learner: str
    round: int
    dimension: int
    classes: Mapping[str, ClassSums]
    runtime: str = ""

    def __post_init__(self) -> None:
        check_sha256(self.model, "model")
        check_id(self.learner, "learner")
        check_range("round", self.round, 1, COUNT_CAP)
        _check_classes(self.classes, self.dimension)


@dataclass(frozen=True, kw_only=True)
class MergedHead:
    """The sums of many devices, for the model that stands in the same bundle.

    Attributes:
        format: ``edgenas-head/1``.
        model: SHA-256 of the model file.
        dimension: Numbers a feature vector has.
        classes: Sums by class.
        included: Learner to the round that these sums hold of it.
    """

    model: str
    dimension: int
    classes: Mapping[str, ClassSums]
    included: Mapping[str, int] = field(default_factory=dict)
    format: Literal["edgenas-head/1"] = FORMAT

    def __post_init__(self) -> None:
        check_sha256(self.model, "model")
        _check_classes(self.classes, self.dimension)
        for learner, number in self.included.items():
            check_id(learner, "learner")
            check_range("round", number, 1, COUNT_CAP)

    def to_bytes(self) -> bytes:
        """Serialise, the same head always to the same bytes.

        Raises:
            OverCapError: Longer than ``HEAD_CAP_BYTES``.
        """
        return to_text(self, "head")

    @classmethod
    def from_bytes(cls, raw: bytes) -> MergedHead:
        """Parse a head from outside.

        Raises:
            OverCapError: Too long or nested too deeply.
            DecodeError: Not a head.
        """
        return read(cls, parse(raw, HEAD_CAP_BYTES, "head"), "head", "head")


def to_text(value: MergedHead | Contribution, what: str) -> bytes:
    """Serialise with sorted names and no spaces.

    Raises:
        OverCapError: Longer than ``HEAD_CAP_BYTES``.
    """
    raw = json.dumps(plain(value), sort_keys=True, separators=(",", ":")).encode()
    if len(raw) > HEAD_CAP_BYTES:
        raise OverCapError(what, HEAD_CAP_BYTES, len(raw))
    return raw


def contribution_of(raw: bytes) -> Contribution:
    """Parse a contribution from a file.

    Raises:
        OverCapError: Too long or nested too deeply.
        DecodeError: Not a contribution.
    """
    return read(Contribution, parse(raw, HEAD_CAP_BYTES, "contribution"), "head", "contribution")


def merge(contributions: Iterable[Contribution]) -> MergedHead:
    """Add up what devices have learnt, of each its latest round.

    Any order, any split over devices and any repetition give the same bytes.

    Raises:
        InvalidValueError: None at all, different models, or two different sums under one learner
            and round, as a copied memory card gives.
    """
    latest: dict[str, Contribution] = {}
    seen: dict[tuple[str, int], Contribution] = {}
    for each in contributions:
        known = seen.setdefault((each.learner, each.round), each)
        if known.classes != each.classes or known.model != each.model:
            raise InvalidValueError(
                f"learner {each.learner}, round {each.round}",
                "the same sums under the same learner and round; two boards share one identity, "
                "or learnt for different models: leave one out",
                "different ones",
            )
        if each.learner not in latest or each.round > latest[each.learner].round:
            latest[each.learner] = each
    return _added(sorted(latest.values(), key=lambda each: each.learner))


def _added(latest: Sequence[Contribution]) -> MergedHead:
    faces = {(each.model, each.dimension) for each in latest}
    if len(faces) != 1:
        shown = [f"model {model[:12]} with {d} features" for model, d in sorted(faces)]
        raise InvalidValueError("contributions", "some, all for one model", shown)
    ((model, dimension),) = faces
    total: dict[str, ClassSums] = {}
    for each in latest:
        total = plus(total, each.classes)
    included = {each.learner: each.round for each in latest}
    return MergedHead(model=model, dimension=dimension, classes=total, included=included)


def _check_classes(classes: Sums, dimension: int) -> None:
    check_range("dimension", dimension, 1, DIMENSION_CAP)
    check_range("number of classes", len(classes), 0, CLASSES_CAP)
    for name, sums in classes.items():
        check_class_name(name)
        if len(sums.total) != dimension:
            raise InvalidValueError(f"class {name}", f"{dimension} sums", len(sums.total))
