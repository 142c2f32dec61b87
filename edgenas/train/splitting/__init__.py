"""Splitting a supernet where sharing hurts: parts of its space that no longer share weights.

Options of a choice whose gradients on the shared weights disagree go to different parts (few-shot
architecture search with gradient matching). `disagreement` measures, `split_up` decides.
"""

from edgenas.train.splitting.agreement import Disagreement, SplittingError, disagreement
from edgenas.train.splitting.cuts import Cut, best_cut
from edgenas.train.splitting.parts import Split, Taken, split_up
from edgenas.train.splitting.storage import expected_bytes

__all__ = [
    "Cut",
    "Disagreement",
    "Split",
    "SplittingError",
    "Taken",
    "best_cut",
    "disagreement",
    "expected_bytes",
    "split_up",
]
