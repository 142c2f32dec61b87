"""The most accurate subnet that is faster, and if asked no larger, than a given file.

Evolution as `edgenas search` runs it, on this machine instead of a fleet: the accuracy is that of
the exported bytes on the search split, the latency is measured in turns with the given file. Every
outcome is kept, so that the same command goes on where it was interrupted. The test split does not
come near this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.kept import Kept
from benchmarks.latency import Beside, beside, typical
from edgenas.campaign.progress import Progress
from edgenas.campaign.scoring import Candidate, Scorer
from edgenas.export.errors import CandidateError
from edgenas.search.budget import Budget
from edgenas.search.evolution import EvolutionSearch
from edgenas.search.front import best_under, measured, preference
from edgenas.search.trial import Failure, Outcome, Trial
from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace

MARGIN = 0.98  # a candidate that is faster by less than this may well be slower the next time


@dataclass(frozen=True)
class Quarry:
    """What is to be beaten.

    Attributes:
        name: of the goal.
        file: the file whose latency is the limit.
        most_bytes: limit of the size; None for none.
    """

    name: str
    file: Path
    most_bytes: int | None

    def limits(self) -> Budget:
        """As the search understands them: latencies are multiples of the file's, in ms; in place
        of peak memory stands the size of the file, which is what is limited here."""
        return Budget(MARGIN, self.most_bytes, reason=f"faster than {self.file.name}")


@dataclass(frozen=True)
class Finalist:
    """A subnet near the end of the hunt.

    Attributes:
        arch: what it is.
        accuracy: of its bytes on the search split.
        model_bytes: size of its file.
        macs: multiply-accumulates of one inference.
        ratio: latency over that of the quarry, median over the sessions.
        upper: upper end of its 95 % interval, median over the sessions.
        sessions: the measurements.
    """

    arch: Arch
    accuracy: float
    model_bytes: int
    macs: int
    ratio: float
    upper: float
    sessions: tuple[Beside, ...]


class Hunt:
    """Searches one space for one quarry.

    Args:
        scorer: exports and scores subnets.
        quarry: what is to be beaten.
        kept: outcomes so far.
        seed: of the search.
    """

    def __init__(self, scorer: Scorer, quarry: Quarry, kept: Kept, seed: int) -> None:
        self.scorer, self.quarry, self.kept, self.seed = scorer, quarry, kept, seed
        self.space: ArchSpace = scorer.exporter.net.space

    def search(self, count: int, progress: Progress) -> list[Trial]:
        """Try `count` subnets; all trials, failed ones included."""
        progress.phase(f"searching for {self.quarry.name}", count)
        limits, name = self.quarry.limits(), self.quarry.name
        searcher = EvolutionSearch(self.space, device=name, seed=self.seed, budget=limits)
        trials: list[Trial] = []
        for number in range(count):
            for arch in searcher.ask():
                asked = Trial(number, name, searcher.name, arch)
                trials.append(asked.ended(self._result(arch)))
                searcher.tell(trials[-1])
            progress.advance(number + 1, _best_so_far(trials, limits))
        return trials

    def finals(
        self, trials: Sequence[Trial], count: int, sessions: int, level: str, progress: Progress
    ) -> list[Finalist]:
        """Measure the best `count` again, several times each."""
        progress.phase(f"measuring the finalists for {self.quarry.name}", count)
        found = []
        for done, (trial, outcome) in enumerate(shortlist(trials, self.quarry.limits(), count)):
            candidate = self.scorer.candidate(trial.arch)
            sizes = (outcome.accuracy, outcome.model_bytes, outcome.macs)
            measured = tuple(
                self._session(candidate, level, f"{level} {number}") for number in range(sessions)
            )
            found.append(Finalist(trial.arch, *sizes, *typical(measured), measured))
            progress.advance(done + 1, f"{found[-1].accuracy:.4f} at {found[-1].ratio:.3f} x")
        return found

    def _result(self, arch: Arch) -> Outcome | Failure:
        row = self.kept.row(f"{self._prefix()} {arch.id}", lambda: self._row(arch))
        return Outcome.from_dict(row) if "accuracy" in row else Failure(**row)

    def _row(self, arch: Arch) -> dict[str, Any]:
        try:
            candidate = self.scorer.candidate(arch)
        except CandidateError as error:
            return asdict(Failure("export", str(error)))
        return outcome_of(candidate, self._session(candidate, "quick", "search")).to_dict()

    def _session(self, candidate: Candidate, level: str, label: str) -> Beside:
        path = candidate.exported.path
        key = f"{self._prefix()} {candidate.exported.sha256} {label}"
        row = self.kept.row(key, lambda: asdict(beside(path, self.quarry.file, level)))
        return Beside.from_row(row)

    def _prefix(self) -> str:
        return f"{self.quarry.name} {self.scorer.exporter.folder.name}"


def outcome_of(candidate: Candidate, session: Beside) -> Outcome:
    """A candidate as the search sees it; latencies as multiples of the quarry's."""
    low, high = session.ci95
    return Outcome(
        accuracy=candidate.accuracy,
        latency_p50_ms=session.ratio,
        latency_p95_ms=session.ratio,
        p95_upper95_ms=None,
        p50_ci95_ms=(low, high),
        peak_memory_bytes=candidate.exported.size_bytes,
        model_bytes=candidate.exported.size_bytes,
        macs=candidate.macs,
        sha256=candidate.exported.sha256,
        level="quick",
        verdict=session.verdict,
    )


def shortlist(trials: Sequence[Trial], limits: Budget, count: int) -> list[tuple[Trial, Outcome]]:
    """The most accurate ones inside the limits; where there are too few, the least excess next."""
    found = measured(trials)
    found.sort(key=lambda pair: (limits.excess(pair[1]), preference(*pair)))
    return found[:count]


def choose(finalists: Sequence[Finalist], quarry: Quarry) -> Finalist:
    """The most accurate one that is faster with confidence and small enough, else the nearest."""

    def misses(one: Finalist) -> float:
        size = 0.0 if quarry.most_bytes is None else one.model_bytes / quarry.most_bytes - 1
        return max(0.0, one.upper - 1) + max(0.0, size)

    return min(finalists, key=lambda one: (misses(one), -one.accuracy, one.ratio, one.arch.id))


def _best_so_far(trials: Sequence[Trial], limits: Budget) -> str:
    best = best_under(trials, limits)
    if best is None or best.value is None:
        return "none inside the limits yet"
    value = best.value
    return (
        f"best {100 * value.accuracy:.2f} % of the search split at {value.latency_p50_ms:.3f} x "
        f"the latency, {value.model_bytes:,} bytes"
    )
