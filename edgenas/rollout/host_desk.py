"""The desk of a rollout's driver on a real fleet host.

Leaves wishes, timers and reports to `edgenas.fleet`; only maps between the two.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from itertools import chain

from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.errors import ReleaseError
from edgenas.fleet.host import FleetHost
from edgenas.fleet.profiles import Profiles, released_as
from edgenas.fleet.releases import read_unverified
from edgenas.fleet.selectors import NO_LABELS, Labels
from edgenas.rollout.driver import Order, Word
from edgenas.rollout.plan import Plan
from edgenas.rollout.verbs import Candidate
from firmware_bridge.wire.messages import Facts, State

OTHER_INCUMBENT = "other_incumbent"
_LABELS_S = 1.0


class HostDesk:
    """Deployments on the devices of one host.

    Args:
        host: The host.
        profiles: Board profiles that facts of newcomers are matched against; None takes the
            built-in ones.
    """

    def __init__(self, host: FleetHost, profiles: Profiles | None = None) -> None:
        self._host = host
        self._profiles = profiles
        self._labels, self._labels_until_s = NO_LABELS, -math.inf
        self._lacking: dict[str, dict[str, int]] = {}

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

    def lacks(self, plan: Plan) -> Collection[str]:
        """Digests of the blobs that a plan ships, there or back, and that are not on the shelf.

        Raises:
            ReleaseError: It holds what is no release.
        """
        wanted = self._lacking.get(plan.rollout_id)
        if wanted is None:
            backs = chain.from_iterable(plan.ways_back.values())
            shipped = chain((group.release for group in plan.groups), backs)
            files = chain.from_iterable(read_unverified(each).files for each in shipped)
            wanted = {entry.sha256: entry.size_bytes for entry in files}
        shelf = self._host.shelf
        left = {name: size for name, size in wanted.items() if shelf.size_of(name) != size}
        self._lacking[plan.rollout_id] = left
        return left

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
            self._host.withdraw(device_id, slot, deployment_id)

    def look(self, deployment_id: str) -> Word | None:
        phase = self._host.deployment_phase(deployment_id)
        if phase is not None:
            return Word(phase)
        outcome = self._host.deployment_outcome(deployment_id)
        return None if outcome is None else Word(outcome.outcome, outcome.report)

    def candidates(self, slot: str) -> Sequence[Candidate]:
        labels = self._read_labels()
        return [
            _candidate(
                view, view.facts, view.state, slot, labels.of(view.device_id), self._profiles
            )
            for view in self._host.devices()
            if view.online and view.facts is not None and view.state is not None
        ]

    def _read_labels(self) -> Labels:
        """The fleet's labels, a second old at most: a busy rollout asks many times a second."""
        now_s = time.monotonic()
        if now_s >= self._labels_until_s:
            self._labels, self._labels_until_s = self._host.labels(), now_s + _LABELS_S
        return self._labels


def _candidate(
    view: DeviceView,
    facts: Facts,
    state: State,
    slot: str,
    tags: frozenset[str],
    profiles: Profiles | None,
) -> Candidate:
    known = state.slots.get(slot)
    return Candidate(
        device_id=view.device_id,
        profile=released_as(view),
        active=None if known is None else known.active,
        keyids=facts.keyids if facts.can_verify else (),
        runtime=runtime_of(view),
        view=view,
        tags=tags,
        profiles=profiles,
    )


def runtime_of(view: DeviceView) -> str:
    """Name of a device's runtime, without its version; empty if it has not said so."""
    named = None if view.facts is None else view.facts.fingerprint.get("runtime")
    return named.partition(" ")[0] if isinstance(named, str) else ""
