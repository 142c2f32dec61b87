"""Public models of other projects are measured, whatever their types and signatures."""

from pathlib import Path

import pytest

from firmware_bridge.bench.supervise import measure
from firmware_bridge.wire.messages import Measurement
from firmware_bridge.wire.statistics import candidate_samples
from tests.firmware_bridge.bench.plans import MEASURED, brisk

pytestmark = pytest.mark.shared_data

INT8 = "mlperf_tiny_ic_resnet8_int8.tflite"
FLOAT = "mlperf_tiny_ic_resnet8_fp32.tflite"
UINT8 = "coral_mobilenet_v1_0.25_128_quant.tflite"
REFUSED_BY_LITERT = "tflm_person_detect_96_gray_int8.tflite"


@pytest.fixture
def peers(shared_data: Path) -> Path:
    folder = shared_data / "tflite_peers"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    return folder


@pytest.mark.parametrize("name", [INT8, FLOAT, UINT8])
def test_a_public_model_is_measured(name: str, peers: Path) -> None:
    outcome = measure(brisk(peers / name))
    assert isinstance(outcome, Measurement)
    assert outcome.verdict in MEASURED, outcome.detail
    assert len(candidate_samples(outcome.legs)) >= 20


def test_a_model_for_another_runtime_is_refused_with_the_runtimes_reason(peers: Path) -> None:
    outcome = measure(brisk(peers / REFUSED_BY_LITERT))
    assert isinstance(outcome, Measurement)
    if outcome.runtime is not None and not outcome.runtime.startswith("ai-edge-litert"):
        pytest.skip(f"{outcome.runtime} may take this model")
    assert outcome.verdict == "unsupported_op"
    assert "quantized_dimension" in (outcome.detail or "")
