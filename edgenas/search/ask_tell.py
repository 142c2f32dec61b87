"""A searcher and its history as one thing: `ask` for networks, `tell` what came of them.

For a loop of the user's own, around whatever measures there. Everything is durable: opened again
with the same study, it goes on where it stopped. Devices, finals and shipping are the campaign's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgenas.search.front import best_under, pareto_front
from edgenas.search.searcher import Searcher
from edgenas.search.study import Study
from edgenas.search.trial import Failure, Outcome, Trial


class Search:
    """One searcher's search on one device.

    Args:
        study: the history, open for writing.
        searcher: any searcher, fresh; it is told what the study holds of its device.
    """

    def __init__(self, study: Study, searcher: Searcher) -> None:
        self.study, self.searcher = study, searcher
        searcher.resume(study.trials(searcher.device, searcher.name))
        for trial in study.trials():
            searcher.overhear(trial)
        self._open = study.pending(searcher.device, searcher.name)

    @property
    def trials(self) -> list[Trial]:
        """Everything this searcher asked for, in the order of asking."""
        return self.study.trials(self.searcher.device, self.searcher.name)

    def ask(self, k: int = 1) -> list[Trial]:
        """The next `k` networks to measure; first those that were asked for and never told.

        Asking again before telling is fine: each of several devices may have its own. The list is
        shorter than `k` only when the space holds hardly anything new.
        """
        given, self._open = self._open[:k], self._open[k:]
        fresh = self.searcher.ask(k - len(given))
        asked = self.study.ask(self.searcher.device, self.searcher.name, fresh)
        for trial in asked:
            self.searcher.tell(trial)
        return [*given, *asked]

    def prepare(self) -> None:
        """Compute now, while networks are measured, what the next `ask` would have to wait for.

        A searcher that learns takes seconds to make its plan. Call it whenever the devices are busy
        (in a thread of its own, or before waiting for one): it never changes what is proposed.
        """
        self.searcher.prepare()

    def tell(
        self, trial: Trial, result: Outcome | Failure, raw: Mapping[str, Any] | None = None
    ) -> Trial:
        """What came of a trial: figures, or why there are none. It is durable on return.

        Args:
            trial: from `ask`.
            result: the first one stays; a repeated one changes nothing.
            raw: raw samples as plain JSON, kept beside it.

        Returns:
            The trial with its result.
        """
        ended = self.study.record(trial.number, result, raw)
        self.searcher.tell(ended)
        return ended

    def front(self) -> tuple[Trial, ...]:
        """The trials that no other one is better than in accuracy, latency and memory."""
        return pareto_front(self.trials)

    def best(self) -> Trial | None:
        """The most accurate trial inside the searcher's budget; None if there is none."""
        return best_under(self.trials, self.searcher.budget)
