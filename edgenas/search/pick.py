"""The last decision: which trials to measure again, and which finalist is shipped.

Picking by one measurement picks lucky measurements. So a shortlist is measured again in several
sessions, and only those figures count here. Pure rules over values; measuring and shipping are
left to the campaign.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgenas.search.budget import Budget
from edgenas.search.errors import TrialError
from edgenas.search.front import measured, preference
from edgenas.search.trial import NETWORK_FAULTS, Failure, Outcome, Trial
from edgenas.search.wording import in_bytes, in_ms, in_percent
from edgenas.space import Arch, sides_text

LATENCY_SLACK = 1.05  # one measurement this far above the limit may still turn out inside
SAFE_SHARE = 0.8  # of the latency limit: as a fall-back, if nothing nearer to it is certified


@dataclass(frozen=True, slots=True)
class Finalist:
    """A shortlisted candidate with its sessions on one device.

    Attributes:
        arch: the candidate.
        sessions: outcomes of the sessions that gave figures; all are of the same bytes.
        failures: the sessions that gave none.
    """

    arch: Arch
    sessions: tuple[Outcome, ...]
    failures: tuple[Failure, ...] = ()

    def __post_init__(self) -> None:
        if not self.sessions and not self.failures:
            raise TrialError("sessions", "at least one session or failure", ())
        for name in ("sha256", "accuracy", "model_bytes", "macs"):
            found = {getattr(outcome, name) for outcome in self.sessions}
            if len(found) > 1:
                raise TrialError(name, "the same in all sessions of a finalist", found)

    @staticmethod
    def of(arch: Arch, results: Iterable[Outcome | Failure]) -> Finalist:
        """Sort the results of all sessions of one candidate into figures and failures.

        Raises:
            TrialError: there are none, or they are not of the same bytes.
        """
        found = tuple(results)
        return Finalist(
            arch,
            tuple(result for result in found if isinstance(result, Outcome)),
            tuple(result for result in found if isinstance(result, Failure)),
        )

    @property
    def certified_p95_ms(self) -> float:
        """Median over the sessions of the upper bound of the p95, of the p95 where none is known.

        Raises:
            TrialError: no session gave figures.
        """
        return statistics.median(outcome.certified_p95_ms for outcome in self._measured())

    @property
    def peak_memory_bytes(self) -> int:
        """Highest over the sessions: memory that is missing once kills the process.

        Raises:
            TrialError: no session gave figures.
        """
        return max(outcome.peak_memory_bytes for outcome in self._measured())

    def _measured(self) -> tuple[Outcome, ...]:
        if not self.sessions:
            raise TrialError("sessions", "a session that gave figures", self.failures)
        return self.sessions


@dataclass(frozen=True, slots=True)
class Ranked:
    """One finalist's place: `accepted` if it is inside the budget; `reason` is for people."""

    arch_id: str
    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is shipped, and why.

    Attributes:
        pick: the finalist to ship; None if nothing fits.
        message: one sentence: what was picked, or which limit is too tight for everything.
        reason_next_lost: why the first of the others in the ranking was not picked.
        ranking: all finalists, the most accurate first.
    """

    pick: Finalist | None
    message: str
    reason_next_lost: str
    ranking: tuple[Ranked, ...]


def shortlist(trials: Iterable[Trial], budget: Budget, k: int) -> tuple[Trial, ...]:
    """The at most `k` trials that are worth being measured again.

    The most accurate ones whose memory is inside the budget and whose p95 exceeds it by at most
    5 %. From `k` = 3 on, two places are for fall-backs: the most accurate one with latency to
    spare and the fastest one inside. Where nothing comes near the budget, the `k` trials that
    exceed it least. Of several trials of one architecture the first counts.
    """
    found = list({trial.arch.id: (trial, o) for trial, o in reversed(measured(trials))}.values())
    near = [pair for pair in found if _comes_near(pair[1], budget)]
    if not near:
        found.sort(key=lambda pair: (budget.excess(pair[1]), *preference(*pair)))
        return tuple(trial for trial, _ in found[:k])
    near.sort(key=lambda pair: preference(*pair))
    safe = _fall_backs(near, budget) if k >= 3 else []
    best = [trial for trial, _ in near]
    kept = dict.fromkeys([*best[: max(0, k - len(safe))], *safe, *best])
    chosen = list(kept)[:k]
    return tuple(trial for trial in best if trial in chosen)


def choose(
    finalists: Sequence[Finalist],
    budget: Budget,
    *,
    smallest: Outcome | None = None,
    golden_tolerance_lsb: int | None = None,
) -> Decision:
    """The most accurate finalist inside the budget; ties go to the faster, then to the smaller.

    Args:
        finalists: the candidates with their sessions.
        budget: the limits, judged by `certified_p95_ms` and `peak_memory_bytes`.
        smallest: figures of the smallest network on the device, for the message if nothing fits;
            without them, those of the smallest finalist stand in.
        golden_tolerance_lsb: largest difference of output codes from the host's that may be
            shipped; None does not judge it.
    """
    ordered = sorted(finalists, key=_order)
    against = [objections(finalist, budget, golden_tolerance_lsb) for finalist in ordered]
    judged = list(zip(ordered, against, strict=True))
    pick = next((finalist for finalist, found in judged if not found), None)
    ranking = tuple(_ranked(finalist, found, pick, budget) for finalist, found in judged)
    others = [r for f, r in zip(ordered, ranking, strict=True) if f is not pick]
    lost = others[0].reason if others else "there was no other finalist"
    message = _shortfall(ordered, budget, smallest) if pick is None else _praise(pick, budget)
    return Decision(pick, message, lost, ranking)


def objections(
    finalist: Finalist, budget: Budget, golden_tolerance_lsb: int | None = None
) -> tuple[str, ...]:
    """In words, everything that keeps a finalist from being shipped; empty if nothing does."""
    own = [f for f in finalist.failures if f.code in NETWORK_FAULTS or not finalist.sessions]
    if own:
        return tuple(f"failed when measured again ({f.code}: {f.detail})" for f in own)
    against = budget.exceeded(finalist.certified_p95_ms, finalist.peak_memory_bytes)
    worst = max((o.golden_max_lsb or 0 for o in finalist.sessions), default=0)
    if golden_tolerance_lsb is not None and worst > golden_tolerance_lsb:
        text = f"its outputs on the device differ by {worst} > {golden_tolerance_lsb} steps"
        against = (*against, text)
    return against


def _comes_near(outcome: Outcome, budget: Budget) -> bool:
    return not budget.exceeded(outcome.latency_p95_ms / LATENCY_SLACK, outcome.peak_memory_bytes)


def _fall_backs(near: Sequence[tuple[Trial, Outcome]], budget: Budget) -> list[Trial]:
    limit_ms = budget.latency_p95_ms
    if limit_ms is None:
        return []
    inside = [pair for pair in near if not budget.violations(pair[1])] or near
    spare = [trial for trial, o in inside if o.latency_p95_ms <= SAFE_SHARE * limit_ms]
    fastest = min(inside, key=lambda pair: (pair[1].latency_p95_ms, *preference(*pair)))[0]
    return [fastest, *spare[:1]]


def _order(finalist: Finalist) -> tuple[float, float, int, str]:
    if not finalist.sessions:
        return (1.0, 0.0, 0, finalist.arch.id)
    first = finalist.sessions[0]
    return (-first.accuracy, finalist.certified_p95_ms, first.model_bytes, finalist.arch.id)


def _ranked(
    finalist: Finalist, against: tuple[str, ...], pick: Finalist | None, budget: Budget
) -> Ranked:
    label = f"r{sides_text(finalist.arch.resolution)} {finalist.arch.id}"
    if finalist.sessions:
        label += f": {in_percent(finalist.sessions[0].accuracy)}"
    if against:
        return Ranked(finalist.arch.id, False, f"{label} but {' and '.join(against)}")
    if pick is None or finalist is pick:
        return Ranked(finalist.arch.id, True, f"picked: {_praise(finalist, budget)}")
    return Ranked(finalist.arch.id, True, f"{label}, {_behind(finalist, pick)}")


def _behind(finalist: Finalist, pick: Finalist) -> str:
    points = 100 * (pick.sessions[0].accuracy - finalist.sessions[0].accuracy)
    if points > 0:
        return f"{points:.1f} points less accurate" if points >= 0.05 else "just less accurate"
    if finalist.certified_p95_ms > pick.certified_p95_ms:
        slower = f"p95 {in_ms(finalist.certified_p95_ms)} against {in_ms(pick.certified_p95_ms)}"
        return f"equally accurate but slower ({slower})"
    return "equally accurate and fast but not smaller"


def _praise(pick: Finalist, budget: Budget) -> str:
    costs = [f"p95 {in_ms(pick.certified_p95_ms)}"]
    if budget.latency_p95_ms is not None:
        costs[0] += f" <= budget {in_ms(budget.latency_p95_ms)}"
    costs.append(f"peak memory {in_bytes(pick.peak_memory_bytes)}")
    if budget.peak_memory_bytes is not None:
        costs[1] += f" <= budget {in_bytes(budget.peak_memory_bytes)}"
    accuracy = in_percent(pick.sessions[0].accuracy)
    return f"r{sides_text(pick.arch.resolution)} {pick.arch.id}: {accuracy} at {', '.join(costs)}"


def _shortfall(ordered: Sequence[Finalist], budget: Budget, smallest: Outcome | None) -> str:
    if smallest is None:
        outcomes = [outcome for finalist in ordered for outcome in finalist.sessions]
        smallest = min(outcomes, key=lambda outcome: outcome.macs, default=None)
    if smallest is None:
        return "nothing fits: no finalist could be measured; see the failures of the sessions"
    loads = budget.loads(smallest.certified_p95_ms, smallest.peak_memory_bytes)
    if not loads or not _over_budget(ordered, budget):
        return "nothing can be shipped: every finalist failed otherwise than by its costs"
    name = max(loads, key=lambda limit: loads[limit])
    limit, needed = _limit_and_cost(name, budget, smallest)
    advice = "measure smaller networks again" if loads[name] <= 1 else "raise the limit"
    return (
        f"nothing fits: the tightest limit is {name} {limit}; the smallest network "
        f"({smallest.macs} MACs) needs {needed}, {loads[name]:.2f} times the limit; {advice}"
    )


def _over_budget(ordered: Sequence[Finalist], budget: Budget) -> bool:
    costs = [(f.certified_p95_ms, f.peak_memory_bytes) for f in ordered if f.sessions]
    return not ordered or any(budget.exceeded(*cost) for cost in costs)


def _limit_and_cost(name: str, budget: Budget, outcome: Outcome) -> tuple[str, str]:
    if name == "p95":
        return in_ms(budget.latency_p95_ms or 0.0), in_ms(outcome.certified_p95_ms)
    return in_bytes(budget.peak_memory_bytes or 0), in_bytes(outcome.peak_memory_bytes)
