"""A device that runs ONNX, from its facts to the model in its slot: the real daemon, a real broker.

Its candidates are .onnx files because its facts name onnxruntime, and what it computes is what the
integer twin computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from edgenas.broker import BrokerThread
from edgenas.campaign.boards import device_setup
from edgenas.campaign.measuring import DeviceSetup, measure_spec
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.shipping import ship
from edgenas.campaign.workbench import Workbench, workbench
from edgenas.export.parity import twin_codes
from edgenas.fleet.host import FleetHost
from edgenas.search.budget import Budget
from firmware_bridge.runtimes.choice import RUNTIME_VARIABLE
from firmware_bridge.wire.measured import Measurement
from tests.workflows.sites import WAIT_S, Commands, Site, until

DEVICE = "dev-a"


@pytest.fixture
def onnx_site(run: RunDir, edgenas: Commands, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Daemons whose operator chose onnxruntime."""
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv(RUNTIME_VARIABLE, "onnxruntime")
    with BrokerThread() as broker, ExitStack() as cleanup:
        yield Site(run, broker.url, edgenas.lock, cleanup)


def runtime_of(host: FleetHost) -> object:
    """The runtime that the device's facts name; None before it has proved one."""
    (view,) = host.wait_for_devices([DEVICE], WAIT_S)
    return None if view.facts is None else view.facts.fingerprint["runtime"]


def measured(host: FleetHost, bench: Workbench, setup: DeviceSetup) -> tuple[Measurement, bool]:
    """The smallest network on that device, against the answers of its twin; and whether the file
    was .onnx.
    """
    arch = bench.checkpoint.space.smallest()
    candidate = bench.scorer.candidate(arch, setup.file_format)
    inputs = candidate.probe.inputs
    answers = twin_codes(bench.scorer.exporter.subnet(arch), inputs)
    probed = replace(candidate, probe=replace(candidate.probe, outputs=answers))
    host.submit(DEVICE, measure_spec(probed, setup, "quick", host.shelf))
    outcome = host.next_outcome(WAIT_S)
    assert outcome is not None
    assert outcome.measurement is not None, outcome.failure
    return outcome.measurement, candidate.exported.file_format == "onnx"


@pytest.mark.slow
def test_an_onnx_device_is_measured_and_served_in_its_own_format(
    run: RunDir, onnx_site: Site
) -> None:
    host = onnx_site.host()
    until(
        lambda: runtime_of(host) is not None
    )  # a new device proves its runtime at its first start
    assert str(runtime_of(host)).startswith("onnxruntime ")
    (view,) = host.wait_for_devices([DEVICE], WAIT_S)
    setup = device_setup(view, {})
    assert setup.file_format == "onnx"
    with workbench(run) as bench:
        found, is_onnx = measured(host, bench, setup)
        assert is_onnx
        assert found.verdict in ("ok", "noisy"), found.detail
        assert found.golden_max_lsb == 0  # what the twin computes, code by code
        assert (found.runtime or "").endswith(" cpu")
        assert found.legs
        assert found.memory["peak_delta_bytes"]

        foreign, is_onnx = measured(host, bench, replace(setup, file_format="tflite"))
        assert not is_onnx
        assert foreign.verdict == "unsupported_op"
        assert "EDGENAS_RUNTIME" in (foreign.detail or "")

        candidate = bench.scorer.candidate(bench.checkpoint.space.smallest(), "onnx")
    budget = Budget(10_000.0, 1 << 30, "roomy")
    classes = tuple("0123456789")
    shipped = ship(host, run, candidate, setup, budget, classes, attempts=1, wait_s=WAIT_S)
    assert shipped.succeeded, shipped
    assert onnx_site.model_digest(DEVICE) == candidate.exported.sha256
