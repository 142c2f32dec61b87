"""Reading the options that name devices, their threads and their budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgenas.campaign.errors import CampaignError
from edgenas.campaign.measuring import DeviceSetup
from edgenas.fleet.host import FleetHost
from edgenas.fleet.profiles import profile_of
from edgenas.search.budget import Budget, parse_budget


def chosen_setups(words: Sequence[str], host: FleetHost, wait_s: float) -> list[DeviceSetup]:
    """The devices that were named, or all that are there.

    Raises:
        CampaignError: a word cannot be read, or nobody is there.
        DevicesMissingError: a named device did not come online.
    """
    if words:
        setups = [_setup(word) for word in words]
        _check_once([setup.device_id for setup in setups])
        views = host.wait_for_devices([setup.device_id for setup in setups], wait_s)
        return [replace(s, profile=profile_of(v)) for s, v in zip(setups, views, strict=True)]
    views = [v for v in host.devices() if v.online and v.facts is not None and v.facts.measure]
    if not views:
        raise CampaignError(
            f"expected a device of fleet {host.fleet!r} that measures, found none online; start "
            f"`edgenas-device run` on a board, or name a device with --device to wait for it"
        )
    return [DeviceSetup(view.device_id, profile=profile_of(view)) for view in views]


def chosen_budgets(words: Sequence[str], devices: Sequence[str]) -> dict[str, Budget]:
    """Budgets by device; a device without one is left out.

    Raises:
        BudgetError: limits cannot be read.
        CampaignError: a device is named that does not take part.
    """
    found: dict[str, Budget] = {}
    for word in sorted(words, key=lambda word: "=" in word):  # those for all come first
        name, _, limits = word.rpartition("=")
        if name and name not in devices:
            raise CampaignError(
                f"--budget {word}: expected one of the devices {', '.join(devices)}, got {name!r}"
            )
        for device in [name] if name else devices:
            found[device] = parse_budget(limits)
    return found


def _check_once(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CampaignError(
            f"--device: expected each device once, got {', '.join(twice)} more often; name it "
            f"once, with the threads that are wanted"
        )


def _setup(word: str) -> DeviceSetup:
    name, equals, threads = word.partition("=")
    if equals and not (threads.isdecimal() and int(threads) > 0):
        raise CampaignError(f"--device {word}: expected ID=THREADS with THREADS >= 1")
    return DeviceSetup(name, int(threads) if equals else 1)
