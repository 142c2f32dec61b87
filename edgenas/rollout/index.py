"""Where every device of a rollout stands, kept up to date, so that no decision looks at them all.

A decision about a fleet comes with every word of a device. Looking at every device each time would
make a rollout to ten times the devices cost a hundred times as much: so each event moves the one
device that it is about. All of it follows from the courses; leaves changing those to `state`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from edgenas.rollout.counts import Counts, counts_for
from edgenas.rollout.course import Course

Group = dict[str, Course]  # by device, in the order in which they came in


@dataclass(slots=True)
class CourseIndex:
    """The devices of one rollout by what may happen to them next.

    Attributes:
        attempts: Deployments that the plan allows a device.
        open: They have a deployment without an end, forward or back.
        queued: By wave, nothing was offered to them yet.
        retried: By wave, they ended so that another deployment is due.
        homeward: They must go back, and no deployment for that was made yet.
        homeward_again: The same after one that may be tried again.
        by_wave: Each wave in numbers.
        total: The whole rollout in numbers.
    """

    attempts: int
    open: Group = field(default_factory=dict)
    queued: dict[str, Group] = field(default_factory=dict)
    retried: dict[str, Group] = field(default_factory=dict)
    homeward: Group = field(default_factory=dict)
    homeward_again: Group = field(default_factory=dict)
    by_wave: dict[str, Counts] = field(default_factory=dict)
    total: Counts = field(default_factory=Counts)
    _known: dict[str, Counts] = field(default_factory=dict)

    def note(self, course: Course) -> None:
        """Take in where a device stands now; must follow every change of its course."""
        mine = course.superseded_by is None
        forward, back = course.forward, course.back
        queued = mine and forward.state == "QUEUED" and not forward.withdrawn
        retried = mine and forward.may_retry(self.attempts)
        again = back is not None and back.may_retry(self.attempts)
        _put(self.open, course, forward.open or (back is not None and back.open))
        _put(self.queued.setdefault(course.wave, {}), course, queued)
        _put(self.retried.setdefault(course.wave, {}), course, retried)
        _put(self.homeward, course, course.must_go_back and back is None)
        _put(self.homeward_again, course, course.must_go_back and again)
        self._count(course)

    def waiting(self, wave: str) -> Iterator[Course]:
        """Devices of a wave to which something may be offered, the new ones first."""
        return chain(self.queued.get(wave, {}).values(), self.retried.get(wave, {}).values())

    def timed(self) -> Iterator[Course]:
        """Devices for which the time that has passed matters; some may come twice."""
        retried = chain.from_iterable(group.values() for group in self.retried.values())
        return chain(self.open.values(), retried, self.homeward_again.values())

    def _count(self, course: Course) -> None:
        before = self._known.get(course.device_id, _NOTHING)
        after = counts_for(course, self.attempts)
        if after == before:
            return
        self._known[course.device_id] = after
        wave = self.by_wave.get(course.wave, _NOTHING)
        self.by_wave[course.wave] = wave.plus(after).plus(before, -1)
        self.total = self.total.plus(after).plus(before, -1)


_NOTHING = Counts()


def _put(group: Group, course: Course, belongs: bool) -> None:
    if belongs:
        group[course.device_id] = course
    else:
        group.pop(course.device_id, None)
