"""What became of shipping, kept in the run folder, and taking it back.

Imports nothing heavy, so that going back is quick when it has to be. Leaves shipping itself to
`shipping`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.rundir import RunDir, read_json, write_json
from edgenas.fleet.host import FleetHost
from firmware_bridge.wire.messages import DeployReport

SLOT = "main"
FLAGGED = ("noisy", "throttled", "undervolt")  # with these a device lets a trial pass
WAIT_S = 2_400.0  # a device watches a new model for ten minutes; the host gives it 30 in all
ONLINE_S = 30.0
WENT_BACK = "WENT_BACK"


@dataclass(frozen=True)
class Shipment:
    """What became of shipping one pick to one device.

    Attributes:
        device_id: the device.
        sha256: digest of the model that was shipped.
        bundle: bundle id of the release.
        counter: release counter; its text is the version.
        outcome: as in the fleet specification, SUCCEEDED or why not; WENT_BACK if it was taken
            back since.
        detail: the device's words on a failure; empty if it succeeded.
        active: bundle that the device says it runs afterwards.
        previous: bundle that it keeps to fall back to.
        attempts: deployments it took.
        notes: what the device remarks on a success, such as an expiry that it could not check.
    """

    device_id: str
    sha256: str
    bundle: str
    counter: int
    outcome: str
    detail: str
    active: str | None
    previous: str | None
    attempts: int
    notes: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the device confirms that it runs the release."""
        return self.outcome == "SUCCEEDED" and self.active == self.bundle


def save_shipments(run: RunDir, shipments: Sequence[Shipment]) -> None:
    """Keep what became of shipping, for the report."""
    write_json(run.shipments, [asdict(shipment) for shipment in shipments])


def read_shipments(run: RunDir) -> dict[str, Shipment]:
    """What became of shipping, by device; empty if nothing was shipped yet.

    Raises:
        RunFolderError: the file is damaged.
    """
    if not run.shipments.exists():
        return {}
    body = read_json(run.shipments, "edgenas ship")
    try:
        return {item["device_id"]: Shipment(**item) for item in body}
    except (KeyError, TypeError) as error:
        raise RunFolderError(
            f"{run.shipments}: expected what `edgenas ship` writes, got {error!r}; delete the file "
            f"and ship again: a device that runs its pick says so at once"
        ) from error


def shipped_to(known: Mapping[str, Shipment], devices: Sequence[str] | None) -> list[Shipment]:
    """The shipments to these devices, or all of them.

    Raises:
        RunFolderError: nothing was shipped to one of them.
    """
    wanted = list(known) if devices is None else list(devices)
    missing = [device for device in wanted if device not in known]
    if missing or not wanted:
        raise RunFolderError(
            f"expected shipments of this run folder to {', '.join(missing) or 'some device'}, got "
            f"those to {', '.join(known) or 'none'}; ship first, or name another --device"
        )
    return [known[device] for device in wanted]


def take_back(host: FleetHost, shipment: Shipment, wait_s: float = WAIT_S) -> Shipment:
    """Have a device go back to what it ran before a shipment, and wait for its report.

    The way back was signed together with the release; no key is needed.

    Args:
        host: the fleet.
        shipment: what the device was sent last.
        wait_s: longest wait for the report.

    Returns:
        The shipment as it is now: WENT_BACK, or as it was with the reason as its detail.

    Raises:
        ReleaseError: nobody signed a way back from what the device runs.
        DevicesMissingError: the device is not there.
    """
    host.wait_for_devices([shipment.device_id], ONLINE_S)
    outcome = host.wait_deployment(host.go_back(shipment.device_id, SLOT), wait_s)
    report = None if outcome is None else outcome.report
    if outcome is None or report is None or not outcome.succeeded:
        why = "no report from the device in time" if report is None else said(report)
        return replace(shipment, detail=f"not taken back: {why}")
    runs = "an empty slot" if report.active is None else f"bundle {report.active[:12]}"
    return replace(
        shipment,
        outcome=WENT_BACK,
        detail=f"back on {runs}",
        active=report.active,
        previous=report.previous,
        notes=said(report),
    )


def said(report: DeployReport) -> str:
    """A report's code and notes in one line."""
    notes = [f"{note.code}: {note.text}" for note in report.errors]
    if report.trial is not None and report.trial.verdict in FLAGGED:
        notes.append(f"its trial was {report.trial.verdict}, so the limits were not judged there")
    return "; ".join([report.code, *notes] if report.code else notes)
