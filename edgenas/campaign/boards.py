"""How a device is measured, from what it is: its board profile turned into a setup.

What the user asked for (threads) wins over the profile. Leaves finding the profile to
`edgenas.fleet.profiles`, and what is sent to `edgenas.campaign.measuring`.
"""

from __future__ import annotations

import hashlib
import json

from device_profiles.loader import ProfileUnfitError
from device_profiles.profile import clusters_of
from edgenas.campaign.errors import CampaignError
from edgenas.campaign.measuring import DeviceSetup
from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.profiles import Profiles, find_profile, profile_of
from firmware_bridge.runtimes.choice import FileFormat, runs_only


def device_setup(view: DeviceView, profiles: Profiles, threads: int | None = None) -> DeviceSetup:
    """How to measure on a device.

    Args:
        view: The device, which has sent its facts if it is to have a profile.
        profiles: The profiles there are.
        threads: Interpreter threads, None for as many as its profile says.

    Raises:
        ProfileProblemError: Several profiles match its facts equally well.
        CampaignError: The profile pins to processors that the board does not have, or not for so
            many threads.
    """
    profile = find_profile(view, profiles)
    if profile is None:
        name = profile_of(view, profiles)
        return DeviceSetup(
            view.device_id, threads or 1, profile=name, file_format=file_format_for(view),
            fingerprint=fingerprint_of(view),
        )  # fmt: skip
    wanted = threads or profile.threads
    clusters = () if view.facts is None else clusters_of(view.facts.fingerprint)
    try:
        cpus = profile.pinned(wanted, clusters)
    except ProfileUnfitError as error:
        raise CampaignError(f"device {view.device_id}: {error}") from error
    return DeviceSetup(
        device_id=view.device_id,
        threads=wanted,
        cpus=cpus,
        memory_cap_bytes=profile.memory_cap_bytes,
        profile=profile.name,
        cap_ms=profile.cap_ms,
        thermal=profile.thermal,
        ram_budget_bytes=profile.ram_budget_bytes,
        file_format=file_format_for(view),
        fingerprint=fingerprint_of(view),
    )


def fingerprint_of(view: DeviceView) -> str:
    """Digest of everything that the board says it is; empty if it has not said anything."""
    if view.facts is None or not view.facts.fingerprint:
        return ""
    told = json.dumps(dict(view.facts.fingerprint), sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def file_format_for(view: DeviceView) -> FileFormat:
    """What the runtime reads that the device's facts name; TensorFlow Lite if they name none."""
    named = None if view.facts is None else view.facts.fingerprint.get("runtime")
    return (runs_only(named) if isinstance(named, str) else None) or "tflite"
