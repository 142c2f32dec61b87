"""Shipping a pick: a signed release with everything that the device needs to judge it itself.

The device checks signature, digests and its own output on golden inputs, measures the new model
against the signed limits, switches atomically and keeps the old model; anything wrong leaves it on
what it had. Which network is shipped is `edgenas.search.pick`'s decision.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.rundir import RunDir, read_json, write_json
from edgenas.campaign.scoring import Candidate
from edgenas.fleet.deployments import DeploymentOutcome
from edgenas.fleet.host import FleetHost
from edgenas.fleet.keys import ensure_keys, load_signing_key
from edgenas.fleet.releases import ReleaseSpec, build_release, sign_release
from edgenas.search.budget import Budget
from firmware_bridge.wire.messages import DeployReport
from firmware_bridge.wire.release import Limits, Role, Target, Trial
from firmware_bridge.wire.values import BlobRef

SLOT = "main"
ATTEMPTS = 5
MIN_TOLERANCE_LSB = 1
FLAGGED = ("noisy", "throttled", "undervolt")  # with these a device lets a trial pass
WAIT_S = 600.0
PERF_LIMIT = "perf_limit"


@dataclass(frozen=True)
class Shipment:
    """What became of shipping one pick to one device.

    Attributes:
        device_id: the device.
        sha256: digest of the model that was shipped.
        bundle: bundle id of the release.
        counter: release counter; its text is the version.
        outcome: as in the fleet specification, SUCCEEDED or why not.
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


def ship(
    host: FleetHost,
    run: RunDir,
    candidate: Candidate,
    setup: DeviceSetup,
    budget: Budget,
    classes: Sequence[str],
    *,
    tolerance_lsb: int = 0,
    attempts: int = ATTEMPTS,
    wait_s: float = WAIT_S,
) -> Shipment:
    """Ship `candidate` to a device and wait for its report.

    A trial that misses a limit is tried again as a new deployment, because the limit is one on
    the 95th percentile and another load may have disturbed a single trial; so is what the device
    itself calls worth another try.

    Args:
        host: the fleet.
        run: holds the signing keys.
        candidate: what is shipped.
        setup: the device.
        budget: becomes the release's signed limits.
        classes: names of the classes, shipped as labels.
        tolerance_lsb: largest difference from the host's output codes that is in order there.
        attempts: deployments at most.
        wait_s: longest wait for one deployment.

    Raises:
        FleetError: the release cannot be built or offered.
    """
    key = load_signing_key(ensure_keys(run.keys).signing)
    refs = _files(host, candidate, classes)
    shipment: Shipment | None = None
    for attempt in range(1, attempts + 1):
        counter = host.next_release_counter(SLOT)
        spec = ReleaseSpec(
            fleet=host.fleet,
            target=Target(_profile(host, setup.device_id), setup.device_id),
            files=refs,
            slot=SLOT,
            limits=_limits(budget),
            probe_tolerance_lsb=max(tolerance_lsb, MIN_TOLERANCE_LSB),
            trial=Trial(setup.threads, setup.cpus, 20_000, setup.memory_cap_bytes),
        )
        manifest = build_release(spec, counter=counter, now=datetime.now(UTC))
        deployment = host.offer(setup.device_id, SLOT, sign_release(manifest, key))
        outcome = host.wait_deployment(deployment, wait_s)
        bundle = manifest.bundle_id()
        shipment = _shipment(candidate, setup, bundle, counter, outcome, attempt)
        if shipment.succeeded or not _worth_repeating(outcome):
            break
    assert shipment is not None
    return shipment


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


def _files(host: FleetHost, candidate: Candidate, classes: Sequence[str]) -> dict[Role, BlobRef]:
    shelf, probe = host.shelf, candidate.probe
    return {
        "model": shelf.add(candidate.exported.path),
        "labels": shelf.add_bytes(("\n".join(classes) + "\n").encode()),
        "preproc": shelf.add_bytes(_preprocessing(candidate)),
        "probe_input": shelf.add_bytes(probe.inputs[0].tobytes()),
        "probe_output": shelf.add_bytes(probe.outputs[0].tobytes()),
    }


def _preprocessing(candidate: Candidate) -> bytes:
    """What an application does to an image before the model: the same as in training."""
    _, height, width, channels = candidate.probe.inputs.shape
    recipe = {
        "format": "edgenas-preprocessing/1",
        "height": height,
        "width": width,
        "channels": channels,
        "resize": "bilinear, antialiased, rounded to whole pixels",
        "input_code": "pixel - 128",
    }
    return json.dumps(recipe, sort_keys=True).encode()


def _profile(host: FleetHost, device_id: str) -> str:
    (view,) = host.wait_for_devices([device_id], 30.0)
    assert view.facts is not None
    return view.facts.profile or "generic"


def _limits(budget: Budget) -> Limits:
    p95 = budget.latency_p95_ms
    return Limits(
        p95_max_us=None if p95 is None else p95 * 1000.0, peak_max_bytes=budget.peak_memory_bytes
    )


def _shipment(
    candidate: Candidate,
    setup: DeviceSetup,
    bundle: str,
    counter: int,
    outcome: DeploymentOutcome | None,
    attempt: int,
) -> Shipment:
    report = None if outcome is None else outcome.report
    succeeded = outcome is not None and outcome.succeeded
    said = "no report from the device in time" if report is None else _said(report)
    return Shipment(
        setup.device_id,
        candidate.exported.sha256,
        bundle,
        counter,
        "TIMED_OUT" if outcome is None else outcome.outcome,
        "" if succeeded else said,
        None if report is None else report.active,
        None if report is None else report.previous,
        attempt,
        said if succeeded else "",
    )


def _worth_repeating(outcome: DeploymentOutcome | None) -> bool:
    report = None if outcome is None else outcome.report
    return report is not None and (report.retryable or report.code == PERF_LIMIT)


def _said(report: DeployReport) -> str:
    notes = [f"{note.code}: {note.text}" for note in report.errors]
    if report.trial is not None and report.trial.verdict in FLAGGED:
        notes.append(f"its trial was {report.trial.verdict}, so the limits were not judged there")
    return "; ".join([report.code, *notes] if report.code else notes)
