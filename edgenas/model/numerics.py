"""In which numbers a network runs: the one switch that all forms of a network share."""

from __future__ import annotations

from enum import Enum


class Numerics(Enum):
    """In which numbers a forward pass runs."""

    FLOAT = "float"
    """No quantisation: the warm-up."""
    OBSERVE = "observe"
    """Float activations over quantised weights, their ranges recorded."""
    INT8 = "int8"
    """Fake quantisation of weights and of every tensor."""
