"""The deployments of a host: releases offered, held, withdrawn and taken back, and how they ended.

Leaves wishes, timers and reports to `deploy_desk`, what a device can go back to to `ways_back`, and
the waves of a rollout to a planner.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edgenas.fleet.deployments import DeploymentOutcome
from edgenas.fleet.host_part import HostPart
from edgenas.fleet.releases import Incumbent, check_offer, read_unverified
from firmware_bridge.wire.values import check_device_id, check_id, check_name, new_id


class HostDeployments(HostPart):
    """What a `FleetHost` does about releases."""

    def next_release_counter(self, slot: str = "main") -> int:
        """Reserve the counter of the next forward release for a slot.

        It is above what was reserved here before, and above what devices report, as far as that can
        be believed: a journal that is new or was restored must not fall behind them.
        """
        with self._changed:
            states = [view.state for view in self._desks.roster.views() if view.state]
            reported = [state.slots[slot].counter for state in states if slot in state.slots]
            highest, at_ms = max(reported, default=0), self._clock.wall_ms()
            log = self._journal.deployments
            with self._journal.transaction():
                counter = log.next_forward_counter(check_name(slot, "slot"), highest, at_ms)
                self._journal.audit.add("release.numbered", slot, at_ms, {"counter": counter})
            return counter

    def offer(
        self,
        device_id: str,
        slot: str,
        envelope: Mapping[str, object],
        files: Iterable[Path] = (),
        *,
        hold_reason: str | None = None,
        ways_back: Sequence[Mapping[str, object]] = (),
        deployment_id: str | None = None,
    ) -> str:
        """Wish that a slot of a device holds a release; returns when the wish is durable.

        Args:
            device_id: Which device; if it is offline, it finds the wish when it comes back.
            slot: Which slot.
            envelope: The signed release.
            files: Files of the release that are not on the shelf yet.
            hold_reason: If given, the device stops before activating until `release_hold`.
            ways_back: Signed ways back, see `sign_with_ways_back`; kept for `go_back`.
            deployment_id: An id chosen before; offering under a known one changes nothing.

        Returns:
            The id of the deployment.

        Raises:
            ReleaseError: No release, one for another fleet or slot, files are missing, or a way
                back does not belong to it.
            ShelfError: A file cannot be put on the shelf.
        """
        for path in files:
            self.shelf.add(path)
        manifest = read_unverified(envelope)
        for offered in (manifest, *map(read_unverified, ways_back)):
            check_offer(offered, self.fleet, slot, self.shelf)
        deployment_id = new_id() if deployment_id is None else check_id(deployment_id)
        place = (check_device_id(device_id), slot)
        with self._changed:
            self._engine.check_alive()
            with self._desks.post.held(), self._journal.transaction():
                if self._desks.deployments.knows(deployment_id):  # or another process was quicker
                    return deployment_id
                self._desks.ways_back.keep(place, manifest, ways_back)
                self._desks.ways_back.remember([envelope, *ways_back])
                self._desks.deployments.offer(
                    place, deployment_id, envelope, hold_reason=hold_reason
                )
            self._changed.notify_all()
        self._engine.wake()
        return deployment_id

    def incumbent(self, device_id: str, slot: str) -> Incumbent:
        """What a slot of a device runs now, to sign a way back to it.

        Raises:
            ReleaseError: The device has not said so yet.
        """
        with self._changed:
            return self._desks.ways_back.incumbent((check_device_id(device_id), slot))

    def active_bundle(self, device_id: str, slot: str) -> str | None:
        """The bundle that a slot of a device runs by its last word, None for an empty slot.

        Raises:
            ReleaseError: The device has not said so yet.
        """
        with self._changed:
            return self._desks.deployments.active((check_device_id(device_id), slot))

    def go_back(self, device_id: str, slot: str) -> str:
        """Wish that a slot goes back to what it ran before; no key is needed.

        Returns:
            The id of the deployment.

        Raises:
            ReleaseError: The device has not said what it runs, or nobody signed a way back from it.
        """
        place = (check_device_id(device_id), slot)
        with self._changed:
            envelope = self._desks.ways_back.envelope(place)
        return self.offer(device_id, slot, envelope)

    def release_hold(self, deployment_id: str) -> None:
        """Let a deployment that was offered with a hold go on.

        Raises:
            FleetError: Another wish is in force for its slot.
        """
        with self._changed:
            self._engine.check_alive()
            self._desks.deployments.release_hold(deployment_id)

    def withdraw(self, device_id: str, slot: str, deployment_id: str | None = None) -> None:
        """Wish nothing for a slot: what is not yet activating stops, and the model there stays.

        Args:
            device_id: Which device.
            slot: Which slot.
            deployment_id: If given, only if this is what is wished for.
        """
        with self._changed:
            self._engine.check_alive()
            self._desks.deployments.withdraw((check_device_id(device_id), slot), deployment_id)
            self._changed.notify_all()

    def set_hold(self, deployment_id: str, reason: str | None) -> None:
        """Have an open deployment stop before it activates, or with None go on; may be repeated."""
        with self._changed:
            self._engine.check_alive()
            self._desks.deployments.set_hold(deployment_id, reason)

    def wished(self, device_id: str, slot: str) -> str | None:
        """The deployment that is wished for in a slot of a device, None if nothing is."""
        with self._changed:
            return self._desks.deployments.wished((device_id, slot))

    def knows_deployment(self, deployment_id: str) -> bool:
        """Whether a deployment of that id was ever offered here."""
        with self._changed:
            return self._desks.deployments.knows(deployment_id)

    def deployment_outcome(self, deployment_id: str) -> DeploymentOutcome | None:
        """How a deployment ended as far as is known; None while it is under way or unknown."""
        with self._changed:
            return self._desks.deployments.outcome(deployment_id)

    def wait_deployment_news(self, timeout_s: float) -> frozenset[str]:
        """Wait until something is heard of any deployment; the ids, none if nothing was in time.

        For one consumer: what was handed out is not handed out again.

        Raises:
            FleetStoppedError: The host cannot go on; the cause is in the text.
        """
        desk = self._desks.deployments
        return self._engine.wait_for(lambda: desk.take_news() or None, timeout_s) or frozenset()

    def wait_deployment(self, deployment_id: str, timeout_s: float) -> DeploymentOutcome | None:
        """Wait for a deployment to end; None if it did not in time.

        Asked again later it may answer otherwise: a device can amend TIMED_OUT.

        Raises:
            FleetError: It was not offered here.
            FleetStoppedError: The host cannot go on; the cause is in the text.
        """
        desk = self._desks.deployments
        desk.place_of(deployment_id)
        return self._engine.wait_for(lambda: desk.outcome(deployment_id), timeout_s)

    def deployment_phase(self, deployment_id: str) -> str | None:
        """How far a deployment is, None if it has ended or was never offered."""
        with self._changed:
            return self._desks.deployments.phase(deployment_id)
