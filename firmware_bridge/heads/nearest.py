"""Which class a feature is nearest to, in exact arithmetic: the same answer on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from operator import mul

from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.heads import Sums


class NearestMean:
    """Classifies by the nearest class mean, in exact arithmetic.

    The class with the least |u - S/n|^2 is the one with the greatest (2n u.S - S.S) / n^2; the
    scale of the features falls out. Of equally near classes the first name wins.

    Args:
        sums: At least one class.

    Raises:
        InvalidValueError: No class.
    """

    def __init__(self, sums: Sums) -> None:
        if not sums:
            raise InvalidValueError("head", "at least one class that was learnt", "none")
        self._classes = [
            (name, each.count, each.total, sum(map(mul, each.total, each.total)))
            for name, each in sorted(sums.items())
        ]

    def nearest(self, feature: Sequence[int]) -> str:
        """The class of one integer feature vector."""
        best = max(self._scores(feature), key=lambda scored: scored[0])
        return best[1]

    def _scores(self, feature: Sequence[int]) -> list[tuple[Fraction, str]]:
        return [
            (Fraction(2 * count * sum(map(mul, feature, total)) - square, count * count), name)
            for name, count, total, square in self._classes
        ]
