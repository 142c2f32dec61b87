"""Timing a stage's file for real: by the bench of this machine, and by a daemon over a broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgenas.broker import BrokerThread
from edgenas.campaign.block_meter import FleetMeter, LocalMeter
from edgenas.campaign.boards import device_setup
from edgenas.campaign.errors import CampaignError, MeasuringError
from edgenas.campaign.fleet_session import fleet_host
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.workbench import Workbench
from edgenas.export.blocks import stage_bytes
from edgenas.fleet.local import LocalDeviceSpec, LocalFleet
from edgenas.fleet.profiles import known_profiles

WAIT_S = 60.0  # a safety net
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def stage(bench: Workbench, tmp_path: Path) -> Path:
    """A stage's file."""
    arch = bench.checkpoint.space.smallest()
    path = tmp_path / "stage.tflite"
    path.write_bytes(stage_bytes(bench.scorer.exporter.subnet(arch), "s1."))
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"no model at all" * 100)
    return path


@pytest.fixture(autouse=True)
def _own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGENAS_MEASURE_LOCK", str(tmp_path / "measure.lock"))


def test_this_machine_times_a_stage(stage: Path, broken: Path) -> None:
    meter = LocalMeter()
    assert 0 < meter.latency_ms(stage) < 1000
    assert "quick, 1 threads" in meter.device
    with pytest.raises(MeasuringError, match="expected figures of a stage"):
        meter.latency_ms(broken)
    with pytest.raises(CampaignError, match="level"):
        LocalMeter("slow")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A broker with one daemon on it."""
    with BrokerThread() as broker:
        spec = LocalDeviceSpec(
            device_id="dev-a", broker_url=broker.url, fleet="lab", state_dir=tmp_path / "dev-a",
            log_path=tmp_path / "dev-a.log", lock_path=tmp_path / "measure.lock",
        )  # fmt: skip
        with LocalFleet([spec]):
            yield broker.url


def test_a_device_times_a_stage_and_is_asked_once(
    url: str, stage: Path, broken: Path, tmp_path: Path
) -> None:
    with fleet_host(RunDir(tmp_path / "out"), url, "lab") as host:
        (view,) = host.wait_for_devices(["dev-a"], WAIT_S)
        meter = FleetMeter(host, device_setup(view, known_profiles()))
        first = meter.latency_ms(stage)
        assert 0 < first < 1000
        assert meter.latency_ms(stage) == first  # the same job, found in the journal
        with pytest.raises(MeasuringError, match="expected figures of a stage"):
            meter.latency_ms(broken)
        with pytest.raises(MeasuringError, match=r"reads \.tflite files"):
            FleetMeter(host, DeviceSetup("dev-a", file_format="onnx"))
