"""Which group of a plan a device belongs to: by its id, by a selector, or by its profile.

Who is named goes before who is selected, and both before a whole profile, so that a group of a few
can stand beside the group of all others. The same rule places devices when a plan is made and
those that join later. Pure; leaves selectors to `edgenas.fleet.selectors`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.profiles import Profiles, profile_of, released_as
from edgenas.fleet.selectors import Labels, Test, matcher
from edgenas.rollout.errors import PlanError
from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.values import check_device_id

_NAMED, _SELECTED, _OF_PROFILE, _NOT = 3, 2, 1, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Whom a group means; exactly one of both.

    Attributes:
        profile: Every device of this profile; or
        devices: those that one of these selectors picks; an id is one that picks itself.
    """

    profile: str | None = None
    devices: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if (self.profile is None) == (self.devices is None):
            raise PlanError("expected one of profile and devices")
        if self.devices is not None and not self.devices:
            raise PlanError("devices: expected an id or a selector, got none")

    @property
    def ids(self) -> tuple[str, ...]:
        """The devices that are named."""
        return tuple(text for text in self.devices or () if names_a_device(text))

    @property
    def selectors(self) -> tuple[str, ...]:
        """What picks devices by what they are or how they are labelled."""
        return tuple(text for text in self.devices or () if not names_a_device(text))


def names_a_device(text: str) -> bool:
    """Whether a selector is the id of one device and nothing more."""
    try:
        check_device_id(text)
    except InvalidValueError:
        return False
    return True


def placing(
    groups: Mapping[str, Who], labels: Labels, profiles: Profiles | None
) -> Callable[[DeviceView], list[str]]:
    """A function from a device to the groups that mean it most exactly, mostly one.

    Args:
        groups: Name of a group to whom it means.
        labels: Tags and saved groups.
        profiles: Board profiles that facts are matched against; None takes the built-in ones.

    Raises:
        SelectorError: A selector cannot be read.
    """
    tests = {
        name: [matcher(text, labels, profiles) for text in who.selectors]
        for name, who in groups.items()
    }

    def place(view: DeviceView) -> list[str]:
        ranks = {n: _rank(who, tests[n], view, profiles) for n, who in groups.items()}
        best = max(ranks.values(), default=_NOT)
        return [name for name, rank in ranks.items() if rank == best != _NOT]

    return place


def _rank(who: Who, tests: list[Test], view: DeviceView, profiles: Profiles | None) -> int:
    if view.device_id in who.ids:
        return _NAMED
    if any(test(view) for test in tests):
        return _SELECTED
    if who.profile is not None and who.profile in (profile_of(view, profiles), released_as(view)):
        return _OF_PROFILE
    return _NOT
