"""The desk of a rollout's driver on a real fleet host.

Leaves wishes, timers and reports to `edgenas.fleet`; only maps between the two.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.errors import ReleaseError
from edgenas.fleet.host import FleetHost
from edgenas.fleet.profiles import released_as
from edgenas.rollout.driver import Order, Word
from edgenas.rollout.verbs import Candidate
from firmware_bridge.wire.messages import Facts, State

OTHER_INCUMBENT = "other_incumbent"


class HostDesk:
    """Deployments on the devices of one host."""

    def __init__(self, host: FleetHost) -> None:
        self._host = host

    def offer(self, order: Order) -> str | None:
        """Offer it; a device that runs neither what was expected nor the bundle is left alone."""
        if self._host.knows_deployment(order.deployment_id):
            return None
        if order.ways_back and not self._expected(order):
            return OTHER_INCUMBENT
        self._host.offer(
            order.device_id,
            order.slot,
            order.release,
            hold_reason="held by the rollout" if order.held else None,
            ways_back=order.ways_back,
            deployment_id=order.deployment_id,
        )
        return None

    def _expected(self, order: Order) -> bool:
        """Whether the way back fits; a silent device is believed to be as planned."""
        try:
            active = self._host.active_bundle(order.device_id, order.slot)
        except ReleaseError:
            return True
        return active in (order.incumbent, order.bundle)

    def hold(self, deployment_id: str, reason: str | None) -> None:
        self._host.set_hold(deployment_id, reason)

    def withdraw(self, device_id: str, slot: str, deployment_id: str) -> None:
        if self._host.wished(device_id, slot) == deployment_id:
            self._host.withdraw(device_id, slot)

    def look(self, deployment_id: str) -> Word | None:
        phase = self._host.deployment_phase(deployment_id)
        if phase is not None:
            return Word(phase)
        outcome = self._host.deployment_outcome(deployment_id)
        return None if outcome is None else Word(outcome.outcome, outcome.report)

    def candidates(self, slot: str) -> Sequence[Candidate]:
        return [
            _candidate(view, view.facts, view.state, slot)
            for view in self._host.devices()
            if view.online and view.facts is not None and view.state is not None
        ]


def _candidate(view: DeviceView, facts: Facts, state: State, slot: str) -> Candidate:
    known = state.slots.get(slot)
    return Candidate(
        device_id=view.device_id,
        profile=released_as(view),
        active=None if known is None else known.active,
        keyids=facts.keyids if facts.can_verify else (),
        runtime=runtime_of(view),
    )


def runtime_of(view: DeviceView) -> str:
    """Name of a device's runtime, without its version; empty if it has not said so."""
    named = None if view.facts is None else view.facts.fingerprint.get("runtime")
    return named.partition(" ")[0] if isinstance(named, str) else ""
