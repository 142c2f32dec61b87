"""Which architecture for which device: searchers, the durable history, fronts and the pick.

No torch and no network: the search proposes and judges; training, exporting and measuring are left
to the other packages.
"""

from __future__ import annotations

from edgenas.search.evolution import EvolutionSearch
from edgenas.search.genetic import AgingSearch, NsgaSearch
from edgenas.search.limited import OfaSearch, SposSearch
from edgenas.search.linas import LinasSearch
from edgenas.search.optuna_samplers import OptunaNsgaSearch, OptunaTpeSearch
from edgenas.search.random_search import RandomSearch
from edgenas.search.searcher import Searcher
from edgenas.search.surrogate import SurrogateSearch

__all__ = ["SEARCHERS"]

SEARCHERS: dict[str, type[Searcher]] = {
    searcher.name: searcher
    for searcher in (
        *(RandomSearch, EvolutionSearch, SurrogateSearch, LinasSearch),
        *(NsgaSearch, AgingSearch, SposSearch, OfaSearch),
        *(OptunaTpeSearch, OptunaNsgaSearch),
    )
}
