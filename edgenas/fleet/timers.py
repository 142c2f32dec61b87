"""How long the host waits for what, as one checked value.

Leaves the waiting itself to the desks, which compare these numbers with an injected clock.
"""

from dataclasses import dataclass, fields

from edgenas.fleet.errors import FleetError


@dataclass(frozen=True, slots=True)
class HostTimers:
    """Deadlines of the host, in seconds.

    Attributes:
        death_grace_s: After a Will, wait this long for a newer birth before the device is offline.
        presumed_s: How long a retained "online" is believed without a live word.
        lost_after_s: A job of a device that is offline for this long ends as DEVICE_LOST.
        job_slack_s: Silence beyond a job's own lifetime and measuring time that is tolerated.
        offer_ttl_s: A deployment never accepted for this long is EXPIRED.
        step_s: An accepted deployment silent for this long is TIMED_OUT.
        outer_s: An accepted deployment that takes this long in all is TIMED_OUT.
    """

    death_grace_s: float = 5.0
    presumed_s: float = 60.0
    lost_after_s: float = 60.0
    job_slack_s: float = 60.0
    offer_ttl_s: float = 7 * 86_400.0
    step_s: float = 300.0
    outer_s: float = 1_800.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 0:
                raise FleetError(f"expected {field.name} to be at least 0 s, got {value}")
