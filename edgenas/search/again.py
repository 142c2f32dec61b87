"""Of networks whose figures no longer hold: which are worth a second measurement.

A pure rule. When figures stop to hold is decided in `edgenas.search.equivalence`; taking them back
and measuring again is left to the campaign.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgenas.search.budget import Budget
from edgenas.search.cost_model import MIN_ROWS
from edgenas.search.evolution import rank
from edgenas.search.front import measured
from edgenas.search.pick import shortlist
from edgenas.search.trial import Trial

AGAIN = MIN_ROWS + 4  # costs are learnt from `MIN_ROWS`; a few are under way or fail


def worth_again(void: Sequence[Trial], budget: Budget, count: int = AGAIN) -> tuple[Trial, ...]:
    """At most `count` trials, what a pick would rest on first.

    Half of them are the shortlist: by the old figures, one of these would have been picked. The
    others are the best by front and crowding, so that all sizes are known again, of which another
    one may be the best now.

    Args:
        void: trials with the figures that no longer hold; those without figures are left out.
        budget: limits of the device.
        count: how many.
    """
    first = shortlist(void, budget, count // 2)
    others = [trial for trial, _ in rank(measured(void), budget)]
    return tuple({trial.number: trial for trial in (*first, *others)}.values())[:count]
