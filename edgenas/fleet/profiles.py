"""Which board profile a device has: the one it was enrolled with, or the one its facts match.

Leaves the profiles themselves to `device_profiles`.
"""

from device_profiles.loader import ProfileError, load_profiles, match_profile
from edgenas.fleet.roster import DeviceView

UNKNOWN = "unknown"
UNENROLLED = "generic"


def profile_of(view: DeviceView) -> str:
    """Name of the device's profile, `unknown` where none matches or several do."""
    if view.facts is None:
        return UNKNOWN
    if view.facts.profile not in (None, UNENROLLED):
        return str(view.facts.profile)
    try:
        return match_profile(load_profiles(), view.facts.fingerprint).name
    except ProfileError:
        return UNKNOWN
