"""Puts the selectors of a plan file to a fleet: what each picks, and waves with the devices' ids.

A plan is made of ids: what a selector picked is looked up once and noted in the plan. Leaves who
joins a continuous rollout later to `membership`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.profiles import Profiles
from edgenas.fleet.selectors import Labels, SelectorError, select
from edgenas.rollout.errors import PlanError
from edgenas.rollout.membership import Who, names_a_device
from edgenas.rollout.plan import Selection
from edgenas.rollout.waves import WaveRule

_LISTED = 12


@dataclass(frozen=True, slots=True)
class Known:
    """A fleet as selectors see it.

    Attributes:
        views: Every device that is known.
        labels: Tags and saved groups.
        profiles: Board profiles that facts are matched against.
    """

    views: Sequence[DeviceView]
    labels: Labels
    profiles: Profiles | None = None

    def picked(self, owner: str, selector: str) -> Selection:
        """What a selector picks.

        Raises:
            PlanError: It cannot be read, or picks nobody.
        """
        try:
            found = select(selector, self.views, self.labels, self.profiles)
        except SelectorError as error:
            raise PlanError(f"{owner}: {error}") from error
        if not found:
            raise PlanError(
                f"{owner}: expected devices that {selector!r} picks, got none of the "
                f"{len(self.views)} that are known ({_some([v.device_id for v in self.views])}); "
                f"`edgenas fleet list '{selector}'` shows whom it picks, `edgenas fleet tag` tags"
            )
        return Selection(owner=owner, selector=selector, devices=_ids(found))


def groups_picked(groups: Mapping[str, Who], known: Known) -> tuple[Selection, ...]:
    """What each selector of the groups picks; ids pick themselves and are left out.

    Raises:
        PlanError: One cannot be read, or picks nobody.
    """
    return tuple(
        known.picked(f"group {name}", text)
        for name, who in groups.items()
        for text in who.selectors
    )


def waves_picked(
    rules: Sequence[WaveRule], known: Known, taking_part: Collection[str]
) -> tuple[tuple[WaveRule, ...], tuple[Selection, ...]]:
    """The rules with ids in place of selectors, and what these picked.

    Raises:
        PlanError: A selector cannot be read, or picks nobody who takes part.
    """
    made: list[WaveRule] = []
    noted: list[Selection] = []
    for rule in rules:
        ids: list[str] = []
        for text in rule.canaries or ():
            if names_a_device(text):
                ids.append(text)  # whoever lays the waves says so if it does not take part
                continue
            found = known.picked(f"wave {rule.name}", text)
            ids += _taking_part(found, taking_part)
            noted.append(found)
        made.append(replace(rule, canaries=tuple(dict.fromkeys(ids))) if rule.canaries else rule)
    return tuple(made), tuple(noted)


def _taking_part(found: Selection, taking_part: Collection[str]) -> list[str]:
    ids = [device for device in found.devices if device in taking_part]
    if not ids:
        raise PlanError(
            f"{found.owner}: expected devices that take part, got {found.selector!r}, which picks "
            f"{_some(found.devices)}; they belong to no group or are left out"
        )
    return ids


def _ids(views: Sequence[DeviceView]) -> tuple[str, ...]:
    return tuple(view.device_id for view in views)


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    return (", ".join(ids[:_LISTED]) or "none") + more
