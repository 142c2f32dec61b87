"""Shipping a pick: a signed release with everything that the device needs to judge it itself.

The device checks signature, digests and its own output on golden inputs, measures the new model
against the signed limits, switches atomically and keeps the old model; anything wrong leaves it on
what it had. Which network is shipped is `edgenas.search.pick`'s decision.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from device_profiles.profile import STANDARD_CAP_MS
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.scoring import Candidate
from edgenas.campaign.shipments import ONLINE_S, SLOT, WAIT_S, Shipment, said
from edgenas.fleet.deployments import DeploymentOutcome
from edgenas.fleet.errors import ReleaseError
from edgenas.fleet.host import FleetHost
from edgenas.fleet.keys import ensure_keys, load_signing_key
from edgenas.fleet.profiles import released_as
from edgenas.fleet.releases import (
    Incumbent,
    ReleaseSpec,
    SignedRelease,
    build_release,
    sign_with_ways_back,
)
from edgenas.search.budget import Budget
from firmware_bridge.wire.release import Limits, Role, Target, Trial
from firmware_bridge.wire.values import BlobRef

ATTEMPTS = 5
MIN_TOLERANCE_LSB = 1
TRIAL_CAP_MS = 20_000
PERF_LIMIT = "perf_limit"


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
    (view,) = host.wait_for_devices([setup.device_id], ONLINE_S)
    refs = release_files(host, candidate, classes)
    incumbent = host.incumbent(setup.device_id, SLOT)
    shipment: Shipment | None = None
    for attempt in range(1, attempts + 1):
        counter = host.next_release_counter(SLOT)
        spec = ReleaseSpec(
            fleet=host.fleet,
            target=Target(released_as(view), setup.device_id),
            files=refs,
            slot=SLOT,
            limits=limits_of(budget),
            probe_tolerance_lsb=max(tolerance_lsb, MIN_TOLERANCE_LSB),
            trial=trial_of(setup),
        )
        now = datetime.now(UTC)
        manifest = build_release(spec, counter=counter, now=now)
        signed = sign_with_ways_back(manifest, incumbent, key, now=now)
        deployment = _offer(host, setup.device_id, signed)
        outcome = host.wait_deployment(deployment, wait_s)
        bundle = manifest.bundle_id()
        shipment = _shipment(candidate, setup, bundle, counter, outcome, attempt)
        if shipment.succeeded or not _worth_repeating(outcome):
            break
    assert shipment is not None
    return shipment if incumbent.known else _without_way_back(shipment, incumbent)


def runs_something_else(host: FleetHost, device_id: str, model: str) -> bool:
    """Whether a device is known to run another model, whoever brought it there since.

    A release of the same model with another file beside it, such as a merged head, is none.

    Args:
        host: the fleet.
        device_id: the device.
        model: digest of the model's bytes.
    """
    try:
        incumbent = host.incumbent(device_id, SLOT)
    except ReleaseError:  # it has not said anything yet
        return False
    files = () if incumbent.manifest is None else incumbent.manifest.files
    return all(file.role != "model" or file.sha256 != model for file in files)


def release_files(
    host: FleetHost, candidate: Candidate, classes: Sequence[str]
) -> dict[Role, BlobRef]:
    """Everything that a release of `candidate` holds, put on the host's shelf."""
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


def _offer(host: FleetHost, device_id: str, signed: SignedRelease) -> str:
    """Offer a release; where the files that a way back needs are gone, without that."""
    try:
        return host.offer(device_id, SLOT, signed.forward, ways_back=signed.ways_back)
    except ReleaseError:
        return host.offer(device_id, SLOT, signed.forward)


def _without_way_back(shipment: Shipment, incumbent: Incumbent) -> Shipment:
    told = f"no way back: bundle {str(incumbent.bundle)[:12]} was not shipped from this run folder"
    return replace(shipment, notes="; ".join(note for note in (shipment.notes, told) if note))


def limits_of(budget: Budget) -> Limits:
    """What a release signs of a budget."""
    p95 = budget.latency_p95_ms
    return Limits(
        p95_max_us=None if p95 is None else p95 * 1000.0, peak_max_bytes=budget.peak_memory_bytes
    )


def trial_of(setup: DeviceSetup) -> Trial:
    """How a device measures a release before it switches."""
    cap_ms = TRIAL_CAP_MS * setup.cap_ms // STANDARD_CAP_MS
    return Trial(setup.threads, setup.cpus, cap_ms, setup.memory_cap_bytes)


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
    told = "no report from the device in time" if report is None else said(report)
    return Shipment(
        setup.device_id,
        candidate.exported.sha256,
        bundle,
        counter,
        "TIMED_OUT" if outcome is None else outcome.outcome,
        "" if succeeded else told,
        None if report is None else report.active,
        None if report is None else report.previous,
        attempt,
        told if succeeded else "",
    )


def _worth_repeating(outcome: DeploymentOutcome | None) -> bool:
    report = None if outcome is None else outcome.report
    return report is not None and (report.retryable or report.code == PERF_LIMIT)
