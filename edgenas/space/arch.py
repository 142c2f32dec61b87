"""The architecture of one subnet: a frozen tuple of choices, resolution and bits included.

An `Arch` says *what was chosen*; which choices exist is the business of `edgenas.space.space`, and
what layers follow from them of `edgenas.space.layers`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from edgenas.errors import EdgenasError

Sides = tuple[int, int]
"""Height and width: of a tensor in pixels, of a kernel, of a stride."""
Resolution = int | Sides
"""Side of a square input, or height and width of one that is none, in pixels."""
FULL_BITS = 8
"""Of the codes that a device computes with, and of weights where nothing else is said."""


class ArchError(EdgenasError):
    """A description of an architecture is malformed or lies outside its space."""


@dataclass(frozen=True)
class BlockArch:
    """One block: kernel size and expansion ratio. Of which kind it is says its space.

    Attributes:
        kernel: side of its kernel.
        expand: hidden channels over input or output channels.
        bits: width of the weights of each of its layers, in the order of
            `edgenas.space.stage.LAYERS`; () stands for that of the whole network.
    """

    kernel: int
    expand: int
    bits: tuple[int, ...] = ()


@dataclass(frozen=True)
class StageArch:
    """One stage: output width in channels and its active blocks (their number is the depth)."""

    width: int
    blocks: tuple[BlockArch, ...]

    @property
    def depth(self) -> int:
        """Number of active blocks."""
        return len(self.blocks)


@dataclass(frozen=True)
class Arch:
    """One subnet of an `ArchSpace`.

    Attributes:
        resolution: side of the square input image in pixels, or (height, width).
        stem: output channels of the stem convolution.
        stages: the stages in order.
        head: output channels of the last 1x1 convolution, before pooling.
        bits: width of the weights, 8 or 4, of all layers of which their block says nothing else;
            activations have 8 always.
    """

    resolution: Resolution
    stem: int
    stages: tuple[StageArch, ...]
    head: int
    bits: int = FULL_BITS

    @property
    def sides(self) -> Sides:
        """Height and width of the input."""
        return sides(self.resolution)

    @cached_property
    def id(self) -> str:
        """First 12 hex digits of the SHA-256 over the canonical JSON: equal nets, equal ids."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON form; `from_dict` is its inverse."""
        whole = asdict(self)
        for stage in whole["stages"]:
            for block in stage["blocks"]:
                if not block["bits"]:  # so that ids are what they were before blocks had bits
                    del block["bits"]
        return whole

    @property
    def precisions(self) -> frozenset[int]:
        """Every width that some layer's weights have."""
        own = (bits for stage in self.stages for block in stage.blocks for bits in block.bits)
        outside_blocks = {self.bits}  # the stem at least
        return frozenset(outside_blocks.union(own))

    def in_bits(self, bits: int) -> Arch:
        """The same network with all weights in `bits`."""
        stages = tuple(
            replace(stage, blocks=tuple(replace(block, bits=()) for block in stage.blocks))
            for stage in self.stages
        )
        return replace(self, stages=stages, bits=bits)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Arch:
        """Read the JSON form back.

        Raises:
            ArchError: a field is missing or is not of its type.
        """
        try:
            stages = tuple(
                StageArch(
                    int(stage["width"]),
                    tuple(map(_read_block, stage["blocks"])),
                )
                for stage in data["stages"]
            )
            return Arch(
                _read_resolution(data["resolution"]),
                int(data["stem"]),
                stages,
                int(data["head"]),
                int(data.get("bits", FULL_BITS)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArchError(
                f"architecture: expected the fields resolution, stem, stages[width, "
                f"blocks[kernel, expand]] and head, got {str(data)[:200]!r} ({error!r}); "
                f"write one with `edgenas export RUN --arch random --arch-out FILE`"
            ) from error

    def describe(self) -> str:
        """One line for a person: `r16 stem8 | 16: k3e2 k5e3 | ... | head64`; `r49x40 ...`.

        Weights of other than 8 bits are said at the end: `... | 4 bits`; those of a block with
        layers of its own bits behind it: `k3e2:4/8/4`.
        """
        stages = " | ".join(
            f"{s.width}: " + " ".join(map(_block_text, s.blocks)) for s in self.stages
        )
        bits = "" if self.bits == FULL_BITS else f" | {self.bits} bits"
        return f"r{sides_text(self.resolution)} stem{self.stem} | {stages} | head{self.head}{bits}"


def sides(resolution: Resolution) -> Sides:
    """Height and width of an input of this resolution."""
    return (resolution, resolution) if isinstance(resolution, int) else resolution


def sides_text(resolution: Resolution) -> str:
    """For a person: `16` of a square, `49x40` of another input."""
    return str(resolution) if isinstance(resolution, int) else "x".join(map(str, resolution))


def _block_text(block: BlockArch) -> str:
    bits = ":" + "/".join(map(str, block.bits)) if block.bits else ""
    return f"k{block.kernel}e{block.expand}{bits}"


def _read_block(data: dict[str, Any]) -> BlockArch:
    return BlockArch(
        int(data["kernel"]), int(data["expand"]), tuple(map(int, data.get("bits", ())))
    )


def _read_resolution(value: Any) -> Resolution:
    if isinstance(value, list | tuple):
        height, width = value
        return int(height), int(width)
    return int(value)
