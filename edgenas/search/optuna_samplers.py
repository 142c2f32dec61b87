"""Optuna's samplers as searchers: the only place that imports that library.

A baseline from outside: what somebody gets who writes the space down for Optuna as its manual says,
choice by choice, the choices of a block only where the block is there. A study in memory is rebuilt
from the history for every proposal, so nothing but the history is kept: asking, telling and
resuming are `edgenas.search.searcher`'s as everywhere. Optuna's own storages are not used.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from edgenas.search.budget import Budget
from edgenas.search.errors import MissingLibraryError, SearchError
from edgenas.search.front import objectives
from edgenas.search.searcher import Searcher
from edgenas.search.trial import Outcome, Trial
from edgenas.space import Arch, ArchSpace
from edgenas.space.narrowing import Choice, choices, chosen, compose

FIRST = 10  # random networks before the library models anything: its own default
POPULATION = 50
_TRIES_OF_THE_LIBRARY = 16  # known networks in a row, after which draws are uniform


class OptunaSearch(Searcher):
    """A sampler of Optuna's over accuracy, p95 latency and peak memory, limits as constraints.

    Options of a choice are ordered integers to the library. Candidates that failed are failed
    trials to it, from which it learns nothing; those that are being measured are running ones.

    Raises:
        MissingLibraryError: Optuna is not installed.
    """

    def __init__(
        self, space: ArchSpace, *, device: str, seed: int, budget: Budget | None = None
    ) -> None:
        """As `Searcher`."""
        super().__init__(space, device=device, seed=seed, budget=budget)
        self.check_available()
        self._choices = {choice.name: choice for choice in choices(space)}
        self._ended: dict[str, tuple[Trial, Any]] = {}
        self._study: Any = None

    @classmethod
    def check_available(cls) -> None:
        _library(cls.name)

    def _propose(self, index: int, attempt: int, rng: random.Random) -> Arch:
        if attempt == 0:
            self._study = self._rebuilt(rng.getrandbits(32))
        if attempt >= _TRIES_OF_THE_LIBRARY:
            return self.space.sample(rng)
        trial = self._study.ask()  # a known network stays as a running one, which is kept away from

        def suggested(choice: Choice) -> int:
            last = len(choice.options) - 1
            return int(trial.suggest_int(choice.name, 0, last))

        return self.space.fitted(compose(self.space, suggested), rng)

    @abstractmethod
    def _sampler(self, seed: int, complete: Sequence[Any]) -> Any:
        """A fresh sampler of the library.

        Args:
            seed: of all its randomness.
            complete: the complete trials, as the library's, in the order of asking.
        """

    def _rebuilt(self, seed: int) -> Any:
        """A study of the library that holds the history, ended trials before those under way."""
        optuna = _library(self.name)
        ended = [t for t in self._in_order() if t.state != "asked"]
        trials = [self._as_theirs(trial) for trial in ended]
        complete = [theirs for theirs in trials if theirs.values is not None]
        study = optuna.create_study(
            directions=["minimize"] * 3, sampler=self._sampler(seed, complete)
        )
        study.add_trials(trials)
        running = optuna.trial.TrialState.RUNNING
        study.add_trials([self._created(arch, state=running) for arch in self._under_way()])
        return study

    def _in_order(self) -> list[Trial]:
        return sorted(self._history(), key=lambda trial: trial.number)

    def _under_way(self) -> list[Arch]:
        """What is being measured: for other searchers, then for this one."""
        asked = [t.arch for t in self._in_order() if t.state == "asked"]
        foreign = [arch for arch in asked if arch.id not in self._proposed]
        ended = {t.arch.id for t in self._told.values() if t.state != "asked"}
        own = [self._proposed[arch_id] for arch_id in self._order() if arch_id not in ended]
        return [*foreign, *own]

    def _as_theirs(self, trial: Trial) -> Any:
        """An ended trial, made once: building them is most of a rebuild."""
        known = self._ended.get(trial.arch.id)
        if known is not None and known[0] is trial:
            return known[1]
        states = _library(self.name).trial.TrialState
        if trial.value is None:
            theirs = self._created(trial.arch, state=states.FAIL)
        else:
            theirs = self._created(
                trial.arch,
                state=states.COMPLETE,
                values=objectives(trial.value),
                constraints=self._excesses(trial.value),
            )
        self._ended[trial.arch.id] = (trial, theirs)
        return theirs

    def _excesses(self, outcome: Outcome) -> dict[str, float]:
        """By which share each limit is exceeded; what is not above 0 is met."""
        loads = self.budget.loads(outcome.latency_p95_ms, outcome.peak_memory_bytes)
        return {name: load - 1.0 for name, load in loads.items()}

    def _created(self, arch: Arch, **what: Any) -> Any:
        optuna = _library(self.name)
        indices, ranges = {}, {}
        for name, option in chosen(self.space, arch).items():
            options = self._choices[name].options
            indices[name] = options.index(option)
            ranges[name] = optuna.distributions.IntDistribution(0, len(options) - 1)
        return optuna.trial.create_trial(params=indices, distributions=ranges, **what)


class OptunaTpeSearch(OptunaSearch):
    """Tree-structured Parzen estimators for several objectives (Ozaki et al. 2020)."""

    name = "optuna-tpe"

    def _sampler(self, seed: int, complete: Sequence[Any]) -> Any:
        return _library(self.name).samplers.TPESampler(seed=seed, n_startup_trials=FIRST)


class OptunaNsgaSearch(OptunaSearch):
    """NSGA-II with generations (Deb et al. 2002), as that library has it."""

    name = "optuna-nsga2"

    def __init__(
        self,
        space: ArchSpace,
        *,
        device: str,
        seed: int,
        budget: Budget | None = None,
        population: int = POPULATION,
    ) -> None:
        """As `OptunaSearch`; `population` is of one generation."""
        super().__init__(space, device=device, seed=seed, budget=budget)
        if population < 2:
            raise SearchError(
                f"searcher {self.name}: expected a population >= 2, got {population!r}; "
                f"{POPULATION} is the library's own"
            )
        self.population = population

    def _sampler(self, seed: int, complete: Sequence[Any]) -> Any:
        return _replaying(_library(self.name), self.population, seed, complete)


def _replaying(optuna: Any, population: int, seed: int, complete: Sequence[Any]) -> Any:
    """NSGA-II that reads generations off the order of asking, where the library would store them.

    The n-th complete trial belongs to generation n / population. With one candidate at a time that
    is what the library itself would have written down.
    """

    class Replaying(optuna.samplers.NSGAIISampler):  # type: ignore[misc]
        def get_trial_generation(self, study: Any, trial: Any) -> int:
            return len(complete) // population

        def get_population(self, study: Any, generation: int) -> list[Any]:
            states = (optuna.trial.TrialState.COMPLETE,)
            kept = study.get_trials(deepcopy=False, states=states)
            return list(kept[generation * population : (generation + 1) * population])

        def get_parent_population(self, study: Any, generation: int) -> list[Any]:
            found = super().get_parent_population(study, generation)
            return sorted(found, key=lambda trial: int(trial.number))  # as from the library's cache

    return Replaying(population_size=population, seed=seed)


def _library(searcher: str) -> Any:
    """Optuna, told to be silent but for warnings.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingLibraryError(f"searcher {searcher}", "optuna", "optuna") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
