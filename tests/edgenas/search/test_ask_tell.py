"""Ask and tell over a durable study: what is open comes first, and a restart changes nothing."""

from pathlib import Path

import pytest

from edgenas.search.api import SEARCHERS, Budget, Failure, Search, Study
from edgenas.space import Arch
from tests.databases import place
from tests.edgenas.search.analytic import DEVICE, DIGITS, outcome
from tests.edgenas.search.study_cases import IDENTITY

ROOMY = Budget(1000.0)


def begun(study: Study, name: str = "evolution") -> Search:
    return Search(study, SEARCHERS[name](DIGITS, device=DEVICE, seed=1, budget=ROOMY))


def answer(search: Search, count: int) -> list[Arch]:
    found = []
    for _ in range(count):
        (trial,) = search.ask()
        search.tell(trial, outcome(DIGITS, trial.arch))
        found.append(trial.arch)
    return found


@pytest.mark.parametrize("name", ["random", "evolution", "nsga2"])
def test_a_restart_goes_on_as_if_nothing_had_been(tmp_path: Path, name: str) -> None:
    with Study.open(place(tmp_path / "whole.sqlite"), IDENTITY) as study:
        whole = answer(begun(study, name), 8)
    where = place(tmp_path / "broken.sqlite")
    parts: list[Arch] = []
    for _ in range(4):
        with Study.open(where, IDENTITY) as study:
            parts += answer(begun(study, name), 2)
    assert parts == whole


def test_what_was_prepared_is_what_would_have_been_asked_for(tmp_path: Path) -> None:
    found = []
    for name, prepares in (("ready", True), ("late", False)):
        with Study.open(place(tmp_path / f"{name}.sqlite"), IDENTITY) as study:
            search = begun(study, "surrogate")
            answer(search, 20)
            assert not search.searcher.is_ready
            if prepares:
                search.prepare()
                assert search.searcher.is_ready
            found.append([trial.arch for trial in search.ask(4)])
    assert found[0] == found[1]


def test_what_was_never_told_is_asked_again_first(tmp_path: Path) -> None:
    where = place(tmp_path / "study.sqlite")
    with Study.open(where, IDENTITY) as study:
        asked = begun(study).ask(3)
        begun(study).tell(asked[1], Failure("oom", "killed"))
    with Study.open(where, IDENTITY) as study:
        again = begun(study)
        assert again.ask(3)[:2] == [asked[0], asked[2]]
        assert len(again.trials) == 4


def test_front_and_best_are_of_the_told(tmp_path: Path) -> None:
    with Study.open(place(tmp_path / "study.sqlite"), IDENTITY) as study:
        search = begun(study)
        assert (search.front(), search.best()) == ((), None)
        answer(search, 6)
        best = search.best()
        assert best is not None
        assert best.value is not None
        assert best.value.accuracy == max(t.value.accuracy for t in search.trials if t.value)
        assert best in search.front()
