"""Architectures, the spaces they are drawn from, and the layers they consist of (no torch)."""

from edgenas.space.arch import (
    Arch,
    ArchError,
    BlockArch,
    Resolution,
    Sides,
    StageArch,
    sides,
    sides_text,
)
from edgenas.space.layers import INPUT, Layer, same_padding
from edgenas.space.presets import PRESETS, preset
from edgenas.space.space import ArchSpace, StageSpace

__all__ = [
    "INPUT",
    "PRESETS",
    "Arch",
    "ArchError",
    "ArchSpace",
    "BlockArch",
    "Layer",
    "Resolution",
    "Sides",
    "StageArch",
    "StageSpace",
    "preset",
    "same_padding",
    "sides",
    "sides_text",
]
