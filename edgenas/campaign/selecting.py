"""Which devices a selector means: `pi4-a,pi4-b`, `profile=rpi4`, `runtime=litert`, `lab-*`, `all`.

One function, so that a richer language can take its place. Leaves how the devices are measured to
`edgenas.campaign.boards`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from edgenas.campaign.errors import CampaignError
from edgenas.fleet.device_view import DeviceView

_FORMS = "ids such as pi4-a or pi4-*, profile=NAME, runtime=NAME, or all, separated by commas"


def enrolled_profile(view: DeviceView) -> str:
    """The profile that a device was enrolled with; empty if it never said so."""
    return "" if view.facts is None else view.facts.profile or ""


def select(
    text: str,
    views: Sequence[DeviceView],
    profile_name: Callable[[DeviceView], str] = enrolled_profile,
) -> list[DeviceView]:
    """The devices that any part of a selector means, in the order of `views`.

    Args:
        text: parts separated by commas.
        views: the devices there are.
        profile_name: says by which board profile a device goes.

    Raises:
        CampaignError: a part cannot be read, or means no device.
    """
    chosen: set[str] = set()
    for part in (word.strip() for word in text.split(",")):
        found = {view.device_id for view in views if _means(part, view, profile_name)}
        if not found:
            there = ", ".join(view.device_id for view in views) or "none"
            raise CampaignError(
                f"--devices {text}: expected {_FORMS}, got {part!r}, which no device answers to; "
                f"there are: {there}"
            )
        chosen |= found
    return [view for view in views if view.device_id in chosen]


def _means(part: str, view: DeviceView, profile_name: Callable[[DeviceView], str]) -> bool:
    name, equals, value = part.partition("=")
    if not equals:
        return bool(part) and (part == "all" or fnmatchcase(view.device_id, part))
    if name == "profile":
        return bool(value) and fnmatchcase(profile_name(view), value)
    if name == "runtime":
        told = "" if view.facts is None else view.facts.fingerprint.get("runtime")
        return bool(value) and isinstance(told, str) and value.lower() in told.lower()
    raise CampaignError(f"--devices: expected {_FORMS}, got {part!r}")
