"""Reading the options that name devices, their threads and their budgets."""

from __future__ import annotations

from collections.abc import Sequence

from edgenas.campaign.boards import device_setup
from edgenas.campaign.errors import CampaignError
from edgenas.campaign.measuring import DeviceSetup
from edgenas.fleet.host import FleetHost
from edgenas.fleet.profiles import Profiles, known_profiles
from edgenas.fleet.selectors import select
from edgenas.search.budget import Budget, parse_budget


def chosen_setups(
    words: Sequence[str], host: FleetHost, wait_s: float, profiles: Profiles | None = None
) -> list[DeviceSetup]:
    """The devices that were named, or all that are there, as their board profiles say.

    Raises:
        CampaignError: a word cannot be read, nobody is there, or a board lacks what its profile
            pins to.
        ProfileProblemError: a profile is wrong, or several match a device equally well.
        DevicesMissingError: a named device did not come online.
    """
    profiles = known_profiles() if profiles is None else profiles
    if words:
        wanted = [_device_and_threads(word) for word in words]
        names = [name for name, _ in wanted]
        _check_once(names)
        views = host.wait_for_devices(names, wait_s)
        return [
            device_setup(view, profiles, threads)
            for view, (_, threads) in zip(views, wanted, strict=True)
        ]
    views = [v for v in host.devices() if v.online and v.facts is not None and v.facts.measure]
    if not views:
        raise CampaignError(
            f"expected a device of fleet {host.fleet!r} that measures, found none online; start "
            f"`edgenas-device run` on a board, or name a device with --device to wait for it"
        )
    return [device_setup(view, profiles) for view in views]


def selected_setups(
    selector: str, words: Sequence[str], host: FleetHost, profiles: Profiles
) -> list[DeviceSetup]:
    """The devices of a fleet that a selector means, as their board profiles say.

    Raises:
        CampaignError: devices are named twice over, or none is meant.
        ProfileProblemError: a profile is wrong, or several match a device equally well.
        SelectorError: the selector cannot be read.
    """
    if words:
        raise CampaignError(
            f"expected --devices or --device, got --devices {selector} and --device "
            f"{' --device '.join(words)}; name all of them in one"
        )
    views = [v for v in host.devices() if v.online and v.facts is not None and v.facts.measure]
    chosen = select(selector, views, host.labels(), profiles)
    if not chosen:
        there = ", ".join(view.device_id for view in views) or "none"
        raise CampaignError(
            f"--devices: expected a selector of devices that are online and measure, got "
            f"{selector!r}, which none answers to; there are: {there}"
        )
    return [device_setup(view, profiles) for view in chosen]


def chosen_budgets(words: Sequence[str], devices: Sequence[str]) -> dict[str, Budget]:
    """Budgets by device; a device without one is left out.

    Limits for all devices and those of one are put together, each kind by itself: what a device has
    of its own goes before what all have, and leaves the other kind as it is.

    Raises:
        BudgetError: limits cannot be read.
        CampaignError: a device is named that does not take part, or two limits of one kind hold for
            the same devices.
    """
    scopes: dict[str, list[str]] = {}
    for word in words:
        name, _, limits = word.rpartition("=")
        if name and name not in devices:
            raise CampaignError(
                f"--budget {word}: expected one of the devices {', '.join(devices)}, got {name!r}"
            )
        scopes.setdefault(name, []).append(limits)
    found = {name: _together(limits, name) for name, limits in scopes.items()}
    common = found.pop("", None)
    if common is None:
        return found
    return {name: found[name].over(common) if name in found else common for name in devices}


def _together(words: Sequence[str], device: str) -> Budget:
    """The limits that several words give for the same devices; an empty id stands for all.

    Raises:
        BudgetError: a word cannot be read.
        CampaignError: two limits are of one kind.
    """
    given = [parse_budget(word) for word in words]
    times = sum(budget.latency_p95_ms is not None for budget in given)
    sizes = sum(budget.peak_memory_bytes is not None for budget in given)
    if max(times, sizes) > 1:
        raise CampaignError(
            f"limits for {device or 'all devices'}: expected at most one on latency and one on "
            f"peak memory, got {' and '.join(words)}; leave one out (--latency-ms and "
            f"--peak-rss-mb are for all devices)"
        )
    return parse_budget(",".join(words))


def _check_once(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CampaignError(
            f"--device: expected each device once, got {', '.join(twice)} more often; name it "
            f"once, with the threads that are wanted"
        )


def _device_and_threads(word: str) -> tuple[str, int | None]:
    name, equals, threads = word.partition("=")
    if equals and not (threads.isdecimal() and int(threads) > 0):
        raise CampaignError(f"--device {word}: expected ID=THREADS with THREADS >= 1")
    return name, int(threads) if equals else None
