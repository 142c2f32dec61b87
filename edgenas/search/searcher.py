"""The seam between proposing and measuring: `ask` for architectures, `tell` what came of them.

A searcher never measures, waits or stores. It serves one device. What it proposes follows from its
seed, the number of its earlier proposals and what it was told, and from nothing else: told the
stored trials, a fresh searcher goes on where a killed one stopped.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from edgenas.search.budget import Budget
from edgenas.search.errors import ForeignTrialError
from edgenas.search.trial import Trial
from edgenas.space import Arch, ArchError, ArchSpace

TRIES = 300  # draws for one proposal; a space in which all of them are known is as good as used up


class Searcher(ABC):
    """Proposes architectures for one device.

    Everything that was told counts as knowledge, whichever searcher asked for it: who compares
    two searchers tells each one its own trials only. A searcher whose budget becomes known later
    is replaced by a new one that is told the trials so far.
    """

    name: ClassVar[str]

    def __init__(
        self, space: ArchSpace, *, device: str, seed: int, budget: Budget | None = None
    ) -> None:
        """Start without any history.

        Args:
            space: where architectures come from.
            device: the device that is searched for.
            seed: two searchers with the same seed and history propose the same.
            budget: limits on that device; None means none.
        """
        self.space, self.device, self.seed = space, device, seed
        self.budget = budget if budget is not None else Budget()
        self._told: dict[str, Trial] = {}
        self._proposed: dict[str, Arch] = {}
        self._asked_here: dict[str, int] = {}
        self._numbers: dict[str, int] = {}

    @classmethod
    def check_available(cls) -> None:
        """Let this kind of searcher through where everything that it needs is installed.

        Raises:
            MissingLibraryError: names the extra that brings what is not.
        """
        return

    def ask(self, k: int = 1) -> list[Arch]:
        """Propose `k` architectures, none of which was proposed or told before.

        Asking again before telling is fine; asking for five is the same as asking five times for
        one. The list is shorter than `k` only when the space holds hardly anything new.
        """
        fresh: list[Arch] = []
        for _ in range(k):
            arch = self._next()
            if arch is None:
                break
            self._proposed[arch.id] = arch
            self._asked_here[arch.id] = len(self._asked_here)
            fresh.append(arch)
        return fresh

    @property
    def is_ready(self) -> bool:
        """Whether the next `ask` has nothing long to compute."""
        return True

    def prepare(self) -> None:
        """Do now, while devices measure, whatever the next `ask` would have to compute first.

        Never changes what is proposed, only how long the next `ask` takes.
        """
        return

    def overhear(self, trial: Trial) -> None:
        """Take note of what another device answered.

        A searcher may use what does not depend on the device, above all the accuracy; that the
        architecture was measured elsewhere does not keep it from being proposed here.
        """
        return

    def tell(self, trial: Trial) -> None:
        """Add a trial to the history, or its result; the order of telling does not matter.

        A trial that is still `asked` counts as proposed. Telling the same again changes nothing.

        Raises:
            ForeignTrialError: the trial is of another device, or its architecture of another
                space.
        """
        self._check_ours(trial)
        if trial.searcher == self.name:
            self._proposed.setdefault(trial.arch.id, trial.arch)
            number = self._numbers.get(trial.arch.id, trial.number)
            self._numbers[trial.arch.id] = min(number, trial.number)
        known = self._told.get(trial.arch.id, trial)
        self._told[trial.arch.id] = min(known, trial, key=self._precedence)

    def resume(self, trials: Iterable[Trial]) -> None:
        """Tell all of `trials`."""
        for trial in trials:
            self.tell(trial)

    @abstractmethod
    def _propose(self, index: int, attempt: int, rng: random.Random) -> Arch:
        """Draw a candidate, which may turn out to be known.

        Args:
            index: number of earlier proposals of this searcher.
            attempt: number of draws for this proposal that turned out to be known.
            rng: source of all randomness; a fresh one for each index.
        """

    def _next(self) -> Arch | None:
        index = len(self._proposed)
        rng = random.Random(f"{self.name}/{self.device}/{self.seed}/{index}")
        for attempt in range(TRIES):
            arch = self._propose(index, attempt, rng)
            if not self._is_known(arch):
                return arch
        return None

    def _is_known(self, arch: Arch) -> bool:
        return arch.id in self._proposed or arch.id in self._told

    def _history(self) -> list[Trial]:
        """What was told, sorted so that the order of arrival cannot matter."""
        return [self._told[arch_id] for arch_id in sorted(self._told)]

    def _order(self) -> list[str]:
        """Ids of this searcher's proposals, in the order in which it made them."""

        def position(arch_id: str) -> tuple[bool, int]:
            here = self._asked_here.get(arch_id)
            return (False, self._numbers[arch_id]) if here is None else (True, here)

        return sorted(self._proposed, key=position)

    def _precedence(self, trial: Trial) -> tuple[bool, bool, int]:
        """Of two trials of one architecture: an ended one, then our own, then the earlier one."""
        return (trial.state == "asked", trial.searcher != self.name, trial.number)

    def _check_ours(self, trial: Trial) -> None:
        if trial.device != self.device:
            raise ForeignTrialError(
                f"trial {trial.number}: expected device {self.device!r}, got {trial.device!r}; "
                "figures of another device mislead the search, so filter the trials by device"
            )
        try:
            self.space.check(trial.arch)
        except ArchError as error:
            raise ForeignTrialError(
                f"trial {trial.number}: expected an architecture of space {self.space.name}, got "
                f"{trial.arch.describe()}: {error}"
            ) from error
