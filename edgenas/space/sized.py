"""A space without the networks that take too many bytes to send: all its moves stay below a limit.

The size is arithmetic, so nothing needs to be measured to keep a limit on it, and no searcher needs
to know of it: whoever moves within the space cannot leave it. What counts are weights in the bits
of their layers (`ArchSpace.packed_bytes`); so where layers may choose their bits, fewer bits are
what wider layers are paid for with (SimQ-NAS).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields

from edgenas.space.arch import Arch, ArchError
from edgenas.space.narrowing import choices, chosen, with_option
from edgenas.space.space import ArchSpace

_TRIES = 20


@dataclass(frozen=True)
class SizedSpace(ArchSpace):
    """The networks of a space that take at most so many bytes; see `sized`.

    `size` still counts all of the space, and `check` lets all of it through: what was measured
    before there was a limit is knowledge all the same.

    Attributes:
        most_packed_bytes: of weights in the bits of their layers, and of INT32 biases.
    """

    most_packed_bytes: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        least = self.packed_bytes(self.smallest())
        if least > self.most_packed_bytes:
            raise ArchError(
                f"packed size: expected a limit that the smallest network of {self.name} meets, "
                f"which takes {least:,} bytes, got {self.most_packed_bytes:,}; allow more, or take "
                f"a space with smaller networks or fewer bits"
            )

    def admits(self, arch: Arch) -> bool:
        """Whether a network is small enough."""
        return self.packed_bytes(arch) <= self.most_packed_bytes

    def fitted(self, arch: Arch, rng: random.Random) -> Arch:
        """`arch` itself, or after as many random choices have become smaller as it takes."""
        if self.admits(arch):
            return arch
        options = {choice.name: choice.options for choice in choices(self)}
        while not self.admits(arch):
            places = {name: options[name].index(o) for name, o in chosen(self, arch).items()}
            lower = [name for name, place in places.items() if place and name != "resolution"]
            name = rng.choice(lower)  # with none left it would be the smallest, which is admitted
            arch = with_option(arch, name, options[name][places[name] - 1])
        return arch

    def largest(self) -> Arch:
        """The largest of all, made smaller at random but always alike."""
        return self.fitted(super().largest(), random.Random(f"largest/{self.name}"))

    def sample(self, rng: random.Random) -> Arch:
        """A uniform draw, made smaller where it is too large."""
        return self.fitted(super().sample(rng), rng)

    def sample_by_size(self, rng: random.Random) -> Arch:
        """A draw of any size, made smaller where it is too large."""
        return self.fitted(super().sample_by_size(rng), rng)

    def mutate(self, arch: Arch, rng: random.Random, rate: float = 0.1) -> Arch:
        """As `ArchSpace.mutate`; a child that would be too large loses choices at random."""
        for _ in range(_TRIES):
            child = self.fitted(super().mutate(arch, rng, rate), rng)
            if child != arch:
                return child
        return self.sample(rng)

    def crossover(self, left: Arch, right: Arch, rng: random.Random) -> Arch:
        """As `ArchSpace.crossover`; a child that would be too large loses choices at random."""
        return self.fitted(super().crossover(left, right, rng), rng)


def sized(space: ArchSpace, most_packed_bytes: int) -> SizedSpace:
    """The networks of `space` that take at most so many bytes.

    Raises:
        ArchError: not even the smallest one does.
    """
    values = {field.name: getattr(space, field.name) for field in fields(ArchSpace)}
    return SizedSpace(**values, most_packed_bytes=most_packed_bytes)
