"""What a program of one's own imports to search: the history, ask and tell, searchers and scores.

    from edgenas.search.api import Search, Searcher, Study, StudyIdentity

A searcher of one's own is a subclass of `Searcher` with a `name` and a `_propose`; put into
`SEARCHERS` under its name, it serves `edgenas.campaign.searching.search` as well. A score of one's
own is a subclass of `Score`. `examples/own_search.py` shows both.
"""

from __future__ import annotations

from edgenas.search import SEARCHERS
from edgenas.search.ask_tell import Search
from edgenas.search.budget import Budget, parse_budget
from edgenas.search.records import StudyIdentity
from edgenas.search.score_cache import ScoreCache, ScoreKey
from edgenas.search.scores import Cached, CostClass, Score, ScoreError
from edgenas.search.searcher import Searcher
from edgenas.search.study import Study
from edgenas.search.trial import Failure, Outcome, Trial

__all__ = [
    "SEARCHERS",
    "Budget",
    "Cached",
    "CostClass",
    "Failure",
    "Outcome",
    "Score",
    "ScoreCache",
    "ScoreError",
    "ScoreKey",
    "Search",
    "Searcher",
    "Study",
    "StudyIdentity",
    "Trial",
    "parse_budget",
]
