"""What the cost bins of samplers are made of, with a name that a resumed run must give again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgenas.space.arch import Arch


@dataclass(frozen=True)
class NamedCost:
    """A cost of subnets.

    Attributes:
        name: equal names mean equal costs of every subnet; with the digest of whatever figures the
            cost rests on.
        of: the cost of a subnet, in any unit; NaN where it is not known.
    """

    name: str
    of: Callable[[Arch], float]
