"""The gates behind a wave, in their order: integrity, errors, measured performance, success, soak.

Pure arithmetic over counts. Only devices that have ended count against a release, so that those
that are offline hide no failure; only the success gate opens the next wave. An operator may accept
the counts of a gate as they are: one more, and it closes again. Leaves collecting the words of
devices to `state`, and what a closed gate does to the rollout to `decide`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from edgenas.rollout.events import GateName
from edgenas.rollout.plan import Gate
from edgenas.rollout.state import Course
from edgenas.rollout.trips import ERRORS, EXCLUDED, Trip


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """One wave in numbers of devices.

    Attributes:
        assigned: Of the wave, without those that were removed, cancelled or taken over.
        succeeded: They run the release.
        already_installed: Of these, had it before.
        errors: Ended otherwise, and are not tried again.
        breaches: Of these, a wrong signature or answer, or a failed return.
        perf_known: Their trial says something.
        perf_bad: Of these, it says that the release is worse than allowed.
        open: Nothing is known of their end yet.
    """

    assigned: int = 0
    succeeded: int = 0
    already_installed: int = 0
    errors: int = 0
    breaches: int = 0
    perf_known: int = 0
    perf_bad: int = 0
    open: int = 0

    @property
    def finished(self) -> int:
        """Ended with a success or an error."""
        return self.succeeded + self.errors

    def plain(self) -> dict[str, int]:
        """As a mapping, for the records."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Closed:
    """A gate that is closed: its name, the count an operator would accept, and words."""

    gate: GateName
    count: int
    text: str


def count(courses: Iterable[Course], attempts: int) -> Counts:
    """Count the devices of one wave.

    Args:
        courses: They.
        attempts: Deployments that the plan allows a device.
    """
    own = [course.forward for course in courses if course.superseded_by is None]
    trips = [trip for trip in own if trip.state not in EXCLUDED]
    retried = [trip for trip in trips if trip.may_retry(attempts)]
    errors = [trip for trip in trips if trip.state in ERRORS and not trip.may_retry(attempts)]
    known = [trip for trip in trips if trip.evidence is not None and trip.evidence.known]
    return Counts(
        assigned=len(trips),
        succeeded=sum(trip.state == "SUCCEEDED" for trip in trips),
        already_installed=sum(trip.already_installed for trip in trips),
        errors=len(errors),
        breaches=sum(trip.breach for trip in trips),
        perf_known=len(known),
        perf_bad=sum(_bad(trip) for trip in known),
        open=len(retried) + sum(trip.open or trip.state == "QUEUED" for trip in trips),
    )


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


def _bad(trip: Trip) -> bool:
    return trip.evidence is not None and bool(trip.evidence.bad)
