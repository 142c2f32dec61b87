"""Long searches on a device that changes: what is measured again, what counts, when it ends."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.progress import Silent
from edgenas.campaign.searching import SearchPlan, search
from edgenas.search import SEARCHERS
from edgenas.search.budget import Budget
from edgenas.search.front import best_under
from edgenas.search.inner import InnerSettings
from edgenas.search.pick import shortlist
from edgenas.search.random_search import RandomSearch
from edgenas.search.searcher import Searcher
from edgenas.search.study import Study
from edgenas.search.surrogate import SurrogateSearch, SurrogateSettings
from edgenas.search.trial import Failure, Trial
from tests.edgenas.campaign.formula_measurer import FormulaMeasurer
from tests.edgenas.campaign.runs import Listener
from tests.edgenas.search.analytic import DIGITS, outcome
from tests.edgenas.search.study_cases import IDENTITY

ONE = [DeviceSetup("dev-1")]
LIMIT = Budget(latency_p95_ms=0.6, peak_memory_bytes=None, reason="test")
SLOWER = 1.2
QUICK = SurrogateSettings(first=12, round=8, inner=InnerSettings(24, 8))


class Quick(SurrogateSearch):
    """Less thorough than by default."""

    def __init__(
        self, space: object, *, device: str, seed: int, budget: Budget | None = None
    ) -> None:
        super().__init__(DIGITS, device=device, seed=seed, budget=budget, settings=QUICK)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with Study.open(tmp_path / "study.sqlite", IDENTITY) as opened:
        yield opened


class Keeping(Listener):
    """Remembers what had figures when a device changed."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self.held: list[Trial] = []
        self._study = study

    def note(self, text: str) -> None:
        super().note(text)
        if "has changed:" in text:  # said before anything is taken back
            self.held = [t for t in self._study.trials("dev-1") if t.value is not None]


def fits_still(trial: Trial) -> bool:
    return not LIMIT.violations(outcome(DIGITS, trial.arch, slower=SLOWER))


def ended(study: Study) -> list[Trial]:
    return [trial for trial in study.trials("dev-1") if trial.state != "asked"]


def test_what_a_pick_rests_on_is_measured_again_and_what_is_void_is_made_up_for(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SEARCHERS, "surrogate", Quick)
    study.set_budget("dev-1", LIMIT)
    plan = SearchPlan({"surrogate": 56}, reference_every=12)
    measurer = FormulaMeasurer(lambda done: SLOWER if done >= 40 else 1.0)
    listener = Keeping(study)
    search(measurer, study, DIGITS, ONE, plan, listener)
    short = shortlist(listener.held, LIMIT, 4)
    again = {t.number for t in ended(study) if study.renewals(t.number)}
    assert len(listener.held) > 30
    assert {trial.number for trial in short} <= again
    assert len(ended(study)) == 56, "so many results hold"
    pick, known = best_under(ended(study), LIMIT), [t for t in listener.held if fits_still(t)]
    assert pick is not None
    assert pick.value is not None
    assert pick.value.accuracy >= max(t.value.accuracy for t in known if t.value)
    count = len(measurer.asked)
    search(measurer, study, DIGITS, ONE, plan, Silent())
    assert len(measurer.asked) == count, "a search that has ended asks for nothing"


def test_accuracies_from_before_a_change_are_not_measured_anew_to_learn_from(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Trial] = []

    class Hearing(Quick):
        def overhear(self, trial: Trial) -> None:
            super().overhear(trial)
            heard.append(trial)

    archs = [DIGITS.smallest(), DIGITS.largest()]
    for trial in study.ask("dev-1", "surrogate", archs):
        study.record(trial.number, outcome(DIGITS, trial.arch))
    before = study.trials()
    study.invalidate([trial.number for trial in before], "swapped")
    monkeypatch.setitem(SEARCHERS, "surrogate", Hearing)
    search(FormulaMeasurer(), study, DIGITS, ONE, SearchPlan({"surrogate": 2}), Silent())
    assert [t.value for t in heard if t.device != "dev-1"] == [t.value for t in before]
    assert study.voided("dev-1") == before


@pytest.mark.parametrize("every", [1, 3])
def test_a_device_that_changes_again_and_again_does_not_keep_a_search_going(
    study: Study, every: int
) -> None:
    plan, listener = SearchPlan({"evolution": 10}, reference_every=every), Listener()
    measurer = FormulaMeasurer(lambda done: SLOWER ** (done // 6))
    search(measurer, study, DIGITS, ONE, plan, listener)
    changes = study.probes.drifts("dev-1")
    assert len(changes) > 1
    assert len(measurer.asked) < 200
    count = len(measurer.asked)
    search(measurer, study, DIGITS, ONE, plan, listener)
    assert len(measurer.asked) - count < 200


class Noting:
    """What each searcher was told."""

    told: ClassVar[list[tuple[str, str]]] = []

    def tell(self, trial: Trial) -> None:
        self.told.append((str(getattr(self, "name", "")), trial.searcher))
        super().tell(trial)  # type: ignore[misc]


class NotingRandom(Noting, RandomSearch):
    """Draws that note what they are told."""


def test_another_searcher_learns_of_earlier_ones_but_not_of_those_beside_it(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = SearchPlan({"evolution": 14})
    search(FormulaMeasurer(), study, DIGITS, ONE, first, Silent())
    (lost,) = study.ask("dev-1", "evolution", [DIGITS.sample_by_size(random.Random(8))])
    study.record(lost.number, Failure("DEVICE_LOST", "power cut"))
    kinds: dict[str, type[Searcher]] = {"surrogate": Quick, "random": NotingRandom}
    for name, kind in kinds.items():
        monkeypatch.setitem(SEARCHERS, name, kind)
    monkeypatch.setattr(Noting, "told", [])
    measurer = FormulaMeasurer()
    plan = SearchPlan({"surrogate": 16, "random": 4})
    search(measurer, study, DIGITS, ONE, plan, Silent())
    known = {t.arch.id for t in study.trials("dev-1", "evolution") if t.value is not None}
    fresh = study.trials("dev-1", "surrogate")
    assert len(fresh) == 16
    assert not known & {trial.arch.id for trial in fresh}
    assert {asker for _, asker in Noting.told} == {"evolution", "random"}
    assert sum(asker == "evolution" for _, asker in Noting.told) == 14
