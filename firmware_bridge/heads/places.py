"""Names below the state directory; apart, so that the daemon loads nothing else of heads."""

from __future__ import annotations

HEADS_NAME = "heads"
HAND_OUT_SUFFIX = ".handout"
