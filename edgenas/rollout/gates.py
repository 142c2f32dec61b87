"""The gates behind a wave, in their order: integrity, errors, measured performance, success, soak.

Pure arithmetic over counts. Only the success gate opens the next wave. An operator may accept the
counts of a gate as they are: one more, and it closes again. Leaves counting to `counts`, and what a
closed gate does to the rollout to `decide`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgenas.rollout.counts import Counts
from edgenas.rollout.events import GateName
from edgenas.rollout.plan import Gate


@dataclass(frozen=True, slots=True)
class Closed:
    """A gate that is closed: its name, the count an operator would accept, and words."""

    gate: GateName
    count: int
    text: str


def closed_by_failure(counts: Counts, gate: Gate, accepted: Mapping[str, int]) -> list[Closed]:
    """Gates 1 to 3, which watch a wave from its opening to the rollout's end."""
    found: list[Closed] = []
    if counts.breaches > accepted.get("integrity", 0):
        text = "a signature or an answer was wrong, or a device could not go back"
        found.append(Closed("integrity", counts.breaches, f"{counts.breaches}: {text}"))
    if _errors_close(counts, gate) and counts.errors > accepted.get("error_gate", 0):
        text = f"{counts.errors} of {counts.finished} ended devices failed"
        found.append(Closed("error_gate", counts.errors, text))
    if _perf_closes(counts, gate) and counts.perf_bad > accepted.get("perf_gate", 0):
        text = f"on {counts.perf_bad} of {counts.perf_known} devices it measured worse than allowed"
        found.append(Closed("perf_gate", counts.perf_bad, text))
    return found


def closed_by_lack(counts: Counts, gate: Gate, accepted: Mapping[str, int]) -> Closed | None:
    """What gates 4 and 5 miss, None while the wave is on its way or when nothing is missing."""
    if not success_met(counts, gate, accepted):
        if counts.open:
            return None
        short = counts.assigned - counts.succeeded
        text = f"{counts.succeeded} of {counts.assigned} devices run it, {gate.success_pct} % must"
        return Closed("success_not_met", short, text)
    unmeasured = _unmeasured(counts, gate)
    if unmeasured > accepted.get("perf_unknown", 0):
        text = f"{counts.perf_known} devices could measure it, {unmeasured} more must"
        return Closed("perf_unknown", unmeasured, text)
    return None


def success_met(counts: Counts, gate: Gate, accepted: Mapping[str, int]) -> bool:
    """Whether enough devices run the release, or an operator takes fewer of a wave that is over."""
    if 100 * counts.succeeded >= gate.success_pct * counts.assigned:
        return True
    short = counts.assigned - counts.succeeded
    return not counts.open and short <= accepted.get("success_not_met", 0)


def _errors_close(counts: Counts, gate: Gate) -> bool:
    if gate.error_abs is not None and counts.errors >= gate.error_abs:
        return True
    enough = counts.finished >= min(gate.min_finished, counts.assigned)
    share = gate.error_pct is not None and 100 * counts.errors >= gate.error_pct * counts.finished
    return enough and share


def _perf_closes(counts: Counts, gate: Gate) -> bool:
    if gate.perf_abs is not None and counts.perf_bad >= gate.perf_abs:
        return True
    needed = counts.assigned if gate.perf_min is None else min(gate.perf_min, counts.assigned)
    share = gate.perf_pct is not None and 100 * counts.perf_bad >= gate.perf_pct * counts.perf_known
    return counts.perf_known >= needed and share


def _unmeasured(counts: Counts, gate: Gate) -> int:
    """How many trials are missing that should have said something."""
    if not gate.measures:
        return 0
    fresh = counts.succeeded - counts.already_installed
    needed = fresh if gate.perf_min is None else min(gate.perf_min, fresh)
    return max(0, needed - counts.perf_known)
