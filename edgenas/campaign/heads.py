"""Merged heads of a run: the classes it was trained on as sums, and shipping a head to a device.

A head is shipped as a release of the very files that the device runs, with one file more: it is
signed, tried, watched and taken back like any other, and nothing else on the device knows of heads.
Leaves collecting to `edgenas.fleet.heads`, merging to `firmware_bridge.wire.heads`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgenas.campaign.rundir import RunDir
from edgenas.campaign.shipments import ONLINE_S, SLOT, WAIT_S, said
from edgenas.campaign.training import open_run
from edgenas.data import Split
from edgenas.export.features import run_features
from edgenas.fleet.errors import HeadError
from edgenas.fleet.head_claims import trained_learner
from edgenas.fleet.host import FleetHost
from edgenas.fleet.keys import ensure_keys, load_signing_key
from edgenas.fleet.profiles import released_as
from edgenas.fleet.releases import ReleaseSpec, build_release, sign_with_ways_back
from edgenas.model.images import to_codes
from edgenas.space.arch import Arch
from firmware_bridge.wire.heads import ClassSums, Contribution, MergedHead
from firmware_bridge.wire.release import ReleaseManifest, Role, Target
from firmware_bridge.wire.values import BlobRef

ATTEMPTS = 5
PERF_LIMIT = "perf_limit"
BASE_ROUND = 1


@dataclass(frozen=True)
class HeadShipment:
    """What became of a head at a device: an outcome of a deployment, and the device's words."""

    device_id: str
    outcome: str
    detail: str

    @property
    def succeeded(self) -> bool:
        """Whether the device confirms that it runs it."""
        return self.outcome == "SUCCEEDED"


def sums_of(
    features: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], classes: tuple[str, ...]
) -> dict[str, ClassSums]:
    """Sums by class of features [n, d] with labels [n]; classes without an example are left out."""
    return {
        name: ClassSums(
            int((labels == index).sum()), tuple(features[labels == index].sum(0).tolist())
        )
        for index, name in enumerate(classes)
        if (labels == index).any()
    }


def base_contribution(
    model: bytes, arch: Arch, split: Split, classes: tuple[str, ...]
) -> Contribution:
    """The classes that a network was trained on, as a head knows them.

    Args:
        model: The exported file.
        arch: Its architecture.
        split: Images and labels to take the means of.
        classes: Names by label.
    """
    features = run_features(model, to_codes(split.images, arch.resolution))
    digest = sha256(model).hexdigest()
    return Contribution(
        model=digest,
        learner=trained_learner(digest),
        round=BASE_ROUND,
        dimension=features.shape[1],
        classes=sums_of(features, split.labels, classes),
        runtime="training images, on the host",
    )


def trained_classes(run: RunDir, model: str) -> Contribution:
    """The same for an exported model of a run folder, from its training images.

    Raises:
        HeadError: the run holds no such export.
        RunFolderError, CheckpointError, DataError: the run cannot be opened.
    """
    path, arch = _export_of(run, model)
    _, data = open_run(run)
    return base_contribution(path.read_bytes(), arch, data.train, data.classes)


def _export_of(run: RunDir, model: str) -> tuple[Path, Arch]:
    for card in sorted(run.exports.glob("*/*/export.json")):
        body = json.loads(card.read_text(encoding="utf-8"))
        if body["sha256"] == model:
            return card.with_name("model.tflite"), Arch.from_dict(body["arch"])
    raise HeadError(
        f"{run.exports}: expected an export with digest {model[:12]}, got none; merge without the "
        "trained classes, or name the run folder that the model came from"
    )


def ship_head(
    host: FleetHost, run: RunDir, device_id: str, merged: MergedHead, wait_s: float = WAIT_S
) -> HeadShipment:
    """Ship a merged head to a device that runs its model, and wait for the report.

    A trial that misses a signed limit is tried again, as in shipping a model: another load may
    have disturbed it.

    Raises:
        HeadError: the device runs another model.
        FleetError: the release cannot be built or offered.
    """
    key = load_signing_key(ensure_keys(run.keys).signing)
    (view,) = host.wait_for_devices([device_id], ONLINE_S)
    target = Target(released_as(view), device_id)
    running = _running(host, device_id)
    if _model_ref(running, device_id) != merged.model:
        raise HeadError(
            f"{device_id}: expected it to run model {merged.model[:12]}, got "
            f"{_model_ref(running, device_id)[:12]}; merge the heads of that model"
        )
    head = host.shelf.add_bytes(merged.to_bytes())
    outcome = HeadShipment(device_id, "TIMED_OUT", "no report from the device in time")
    for _ in range(ATTEMPTS):
        now = datetime.now(UTC)
        spec = _spec(running, target, head)
        release = build_release(spec, counter=host.next_release_counter(SLOT), now=now)
        signed = sign_with_ways_back(release, host.incumbent(device_id, SLOT), key, now=now)
        offered = host.offer(device_id, SLOT, signed.forward, ways_back=signed.ways_back)
        ended = host.wait_deployment(offered, wait_s)
        if ended is None or ended.report is None:
            break
        outcome = HeadShipment(device_id, ended.outcome, said(ended.report))
        if outcome.succeeded or not (ended.report.retryable or ended.report.code == PERF_LIMIT):
            break
    return outcome


def _running(host: FleetHost, device_id: str) -> ReleaseManifest:
    manifest = host.incumbent(device_id, SLOT).manifest
    if manifest is None:
        raise HeadError(
            f"{device_id}: expected it to run a model that was shipped from this run folder, got "
            "none; `edgenas ship` one first"
        )
    return manifest


def _model_ref(manifest: ReleaseManifest, device_id: str) -> str:
    model = manifest.file("model")
    if model is None:
        raise HeadError(f"{device_id}: expected a model in its slot, got an empty one; ship one")
    return model.sha256


def _spec(running: ReleaseManifest, target: Target, head: BlobRef) -> ReleaseSpec:
    """What runs, with another head: the same files, demands and limits."""
    files: dict[Role, BlobRef] = {entry.role: entry.blob() for entry in running.files}
    return ReleaseSpec(
        fleet=running.fleet,
        target=target,
        files={**files, "head": head},
        slot=running.slot,
        requires=running.requires,
        limits=running.limits,
        trial=running.trial,
        probe_tolerance_lsb=running.probe_tolerance_lsb,
    )
