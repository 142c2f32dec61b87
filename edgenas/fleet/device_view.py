"""One device as callers see it, and how boards that use one id are told apart in words.

Leaves keeping track of devices to `roster`; needs no journal.
"""

from dataclasses import dataclass

from edgenas.fleet.presence import Face, Phase
from firmware_bridge.wire.messages import Facts, State

WHAT_TO_DO = (
    "stop all but one; give each of the others an --id and an empty --state-dir of its own; "
    "then run `edgenas devices --broker URL --run RUN --settle ID`"
)


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device at one moment.

    Attributes:
        device_id: Its id.
        phase: How sure the host is that it is there.
        quarantined: Two boards use this identity; it gets no work.
        install_id: Its installation, None before any word.
        state: Its newest state, None before any word of this host's lifetime.
        facts: What it says it is, None before it ever said so.
        twins: The boards that use its id, if there are several.
    """

    device_id: str
    phase: Phase
    quarantined: bool
    install_id: str | None
    state: State | None
    facts: Facts | None
    twins: tuple[Face, ...] = ()

    @property
    def online(self) -> bool:
        """Whether work can be sent to it now."""
        return self.phase is Phase.ONLINE and not self.quarantined


def told_apart(face: Face) -> str:
    """One board of several that use one id, in words."""
    hardware = face.hardware or "hardware not named"
    return f"{hardware}, installation {face.install_id[:8]}, boot {face.boot_id[:8]}"
