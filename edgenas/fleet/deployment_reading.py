"""Reads what the journal keeps of wishes and deployments back into messages and outcomes.

Pure. Leaves writing it, and every decision, to `deploy_desk`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from edgenas.fleet.deployment_log import DeploymentRow, OutcomeRow, StepRow
from edgenas.fleet.deployments import DeploymentOutcome, Progress, step
from edgenas.fleet.errors import FleetError
from edgenas.fleet.releases import read_unverified
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.messages import DeployOutcome, DeployReport, Wish
from firmware_bridge.wire.release import ReleaseManifest
from firmware_bridge.wire.values import CONTROL_CAP_BYTES, RESULT_CAP_BYTES, BlobRef

_log = logging.getLogger(__name__)

Place = tuple[str, str]  # device id, slot


@dataclass(slots=True)
class OpenDeployment:
    """A deployment without an outcome.

    Attributes:
        row: What was offered where.
        progress: How far it is.
        seen: The newest (attempt, rev) of the device.
        steps: Rows that the journal has of it.
    """

    row: DeploymentRow
    progress: Progress
    seen: tuple[int, int] = (0, 0)
    steps: int = 0

    @property
    def place(self) -> Place:
        """Where."""
        return self.row.device_id, self.row.slot


def resumed(
    row: DeploymentRow, steps: Sequence[StepRow], offered_s: float, now_s: float
) -> OpenDeployment:
    """A deployment of an earlier process; its step and outer timers start afresh."""
    found = OpenDeployment(row, Progress(offered_s), steps=len(steps))
    for known in steps:
        found.progress = step(found.progress, known.state, now_s)
        found.seen = max(found.seen, (known.attempt, known.rev))
    return found


def read_wish(body: bytes) -> Wish:
    """A wish as it was published.

    Raises:
        FleetError: It is something else.
    """
    message = decode(body, CONTROL_CAP_BYTES).message
    if not isinstance(message, Wish):
        raise FleetError(f"expected a wish in the journal, got {message.kind}")
    return message


def read_report(body: bytes) -> DeployReport:
    """What a device reported.

    Raises:
        FleetError: It is something else.
    """
    message = decode(body, RESULT_CAP_BYTES).message
    if not isinstance(message, DeployReport):
        raise FleetError(f"expected a deployment report in the journal, got {message.kind}")
    return message


def read_outcome(row: DeploymentRow, outcomes: Sequence[OutcomeRow]) -> DeploymentOutcome:
    """How a deployment ended by the newest of its outcomes, of which there is one at least.

    A report that was kept when less was refused, and cannot be read any more, counts as none.
    """
    last = outcomes[-1]
    return DeploymentOutcome(
        device_id=row.device_id,
        deployment_id=row.deployment_id,
        slot=row.slot,
        outcome=cast(DeployOutcome, last.outcome),
        report=None if last.body is None else _still_readable(row, last.body),
        late=len(outcomes) > 1,
        host_wall_ms=last.host_wall_ms,
    )


def _still_readable(row: DeploymentRow, body: bytes) -> DeployReport | None:
    try:
        return read_report(body)
    except WireError as error:
        _log.warning("deployment %s: its report is not shown: %s", row.deployment_id, error)
        return None


def blobs_of_wish(wish: Wish) -> list[BlobRef]:
    """The blobs that a device may ask for because of a wish."""
    files = () if wish.release is None else read_unverified(wish.release).files
    return [entry.blob() for entry in files]


def bundle_of(manifest: ReleaseManifest) -> str | None:
    """The bundle that a release brings, None for one that empties the slot."""
    return manifest.bundle_id() if manifest.files else None
