"""A wave in numbers: what each of its devices counts for, and their sum.

Only devices that have ended count against a release, so that those that are offline hide no
failure. Leaves what the numbers mean for a wave to `gates`, and keeping them to `index`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass

from edgenas.rollout.course import Course
from edgenas.rollout.trips import ERRORS, EXCLUDED


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

    def plus(self, other: Counts, times: int = 1) -> Counts:
        """The sum with so many times another."""
        pairs = zip(_NAMES, astuple(self), astuple(other), strict=True)
        return Counts(**{name: mine + times * its for name, mine, its in pairs})

    def plain(self) -> dict[str, int]:
        """As a mapping, for the records."""
        return asdict(self)


_NAMES = tuple(Counts.__dataclass_fields__)


def count(courses: Iterable[Course], attempts: int) -> Counts:
    """Count devices.

    Args:
        courses: They.
        attempts: Deployments that the plan allows a device.
    """
    total = Counts()
    for course in courses:
        total = total.plus(counts_for(course, attempts))
    return total


def counts_for(course: Course, attempts: int) -> Counts:
    """What one device counts for in its wave, each number 0 or 1.

    Args:
        course: The device.
        attempts: Deployments that the plan allows it.
    """
    trip = course.forward
    if course.superseded_by is not None or trip.state in EXCLUDED:
        return _NOTHING
    again = trip.may_retry(attempts)
    evidence = trip.evidence if trip.evidence is not None and trip.evidence.known else None
    return Counts(
        assigned=1,
        succeeded=int(trip.state == "SUCCEEDED"),
        already_installed=int(trip.already_installed),
        errors=int(trip.state in ERRORS and not again),
        breaches=int(trip.breach),
        perf_known=int(evidence is not None),
        perf_bad=int(evidence is not None and bool(evidence.bad)),
        open=int(again or trip.open or trip.state == "QUEUED"),
    )


_NOTHING = Counts()
