"""Releases that must not run, shipped to a real daemon: it says why and keeps what it has."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.scoring import Candidate
from edgenas.campaign.shipments import Shipment
from edgenas.campaign.shipping import ship
from edgenas.campaign.workbench import workbench
from edgenas.fleet.host import FleetHost
from edgenas.search.budget import Budget
from tests.workflows.sites import WAIT_S, Site

SETUP = DeviceSetup("dev-a")
ROOMY = Budget(10_000.0, 1 << 30, "roomy")
CLASSES = tuple("0123456789")


def delivered(
    host: FleetHost, run: RunDir, candidate: Candidate, budget: Budget = ROOMY
) -> Shipment:
    return ship(host, run, candidate, SETUP, budget, CLASSES, attempts=1, wait_s=WAIT_S)


def with_bytes(candidate: Candidate, model: bytes, path: Path) -> Candidate:
    """A candidate whose file holds other bytes."""
    path.write_bytes(model)
    digest = sha256(model).hexdigest()
    exported = replace(candidate.exported, path=path, sha256=digest, size_bytes=len(model))
    return replace(candidate, exported=exported)


def test_the_device_stays_on_the_model_it_has(run: RunDir, site: Site, tmp_path: Path) -> None:
    host = site.host()
    with workbench(run) as bench:
        space = bench.checkpoint.space
        good, other = (bench.scorer.candidate(arch) for arch in (space.smallest(), space.largest()))
    assert delivered(host, run, good).succeeded
    assert site.model_digest("dev-a") == good.exported.sha256

    whole = other.exported.path.read_bytes()
    cut = with_bytes(other, whole[: len(whole) // 2], tmp_path / "cut.tflite")
    another = replace(other, probe=replace(other.probe, outputs=other.probe.outputs[::-1] // -2))
    stranger = RunDir(tmp_path / "stranger")
    refused = {
        "truncated": delivered(host, run, cut),
        "other answers": delivered(host, run, another),
        "too large": delivered(host, run, other, Budget(None, 1, "given: 1B")),
        "a stranger's": delivered(host, stranger, other),
        "altered on the way": altered(host, run, with_bytes(other, whole + b"\0", tmp_path / "o")),
    }
    if (slow := too_slow(host, run, other, good)) is not None:
        refused["too slow"] = slow
    assert site.model_digest("dev-a") == good.exported.sha256
    reasons = {
        "truncated": "self_test",
        "other answers": "self_test",
        "too slow": "p95",
        "too large": "peak",
        "a stranger's": "signature",
        "altered on the way": "corrupt",
    }
    for what, shipment in refused.items():
        assert not shipment.succeeded, what
        assert shipment.outcome in ("REJECTED", "FAILED_NO_STATE_CHANGE"), (what, shipment)
        assert reasons[what] in shipment.detail.lower(), (what, shipment)
    assert delivered(host, run, other).succeeded
    assert site.model_digest("dev-a") == other.exported.sha256


def too_slow(
    host: FleetHost, run: RunDir, candidate: Candidate, good: Candidate
) -> Shipment | None:
    """Ship what is slower than any limit; the refusal, or None if the trial was too noisy.

    A noisy trial says nothing of latency and leaves that to the host: the device takes the model,
    says so, and one delivery of the good one restores it.
    """
    shipment = delivered(host, run, candidate, Budget(1e-6, None, "given: 1ns"))
    if not shipment.succeeded:
        return shipment
    assert "its trial was noisy" in shipment.notes, shipment
    restored = delivered(host, run, good)
    assert restored.succeeded, restored
    return None


def altered(host: FleetHost, run: RunDir, candidate: Candidate) -> Shipment:
    """Ship a file that changes on the host's shelf once it has been signed for."""
    ref = host.shelf.add(candidate.exported.path)
    kept = host.shelf.path_of(ref.sha256)
    kept.chmod(0o600)
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 0xFF
    kept.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host.shelf, "add", lambda path: ref)
        return delivered(host, run, candidate)
