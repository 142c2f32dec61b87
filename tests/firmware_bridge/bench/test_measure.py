"""A model is measured end to end: real children, real samples, real memory, known outputs."""

import os
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.bench.plan import GoldenFile
from firmware_bridge.bench.supervise import measure, probe_runtime, self_test
from firmware_bridge.machine_lock import MachineLock
from firmware_bridge.wire.codec import decode, encode
from firmware_bridge.wire.messages import JobFailed, Measurement
from firmware_bridge.wire.statistics import candidate_samples, ratio
from tests.firmware_bridge.bench import tiny_model
from tests.firmware_bridge.bench.plans import MEASURED, MIB, RUN_WORKER, brisk, program

WEIGHTS = np.array([[1, 0, 2, -1], [0, -3, 1, 0], [5, 5, 5, 5]], np.int8)
INPUTS = np.array([[1, 2, 3, 4], [-5, 60, 7, -8], [127, -128, 0, 1]], np.int8)


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_model.dense(WEIGHTS))
    return path


def golden_for(folder: Path, outputs: bytes, inputs: bytes = INPUTS.tobytes()) -> GoldenFile:
    path = folder / "golden.bin"
    path.write_bytes(inputs)
    return GoldenFile(path, len(INPUTS), outputs)


def measured(outcome: Measurement | JobFailed) -> Measurement:
    assert isinstance(outcome, Measurement), outcome
    return outcome


def test_a_model_alone_gives_samples_and_memory(model_path: Path, tmp_path: Path) -> None:
    lock = MachineLock(tmp_path / "lock")
    result = measured(measure(brisk(model_path), lock=lock))

    assert result.verdict in MEASURED, result.detail
    samples = candidate_samples(result.legs)
    assert 20 <= len(samples) <= 120
    assert min(samples) > 0
    assert {leg.model for leg in result.legs} == {"C"}
    assert result.load_cold_ns is not None
    assert result.load_warm_ns is not None
    assert result.first_invoke_ns is not None
    assert result.memory["model_file_bytes"] == model_path.stat().st_size
    assert isinstance(result.memory["baseline_bytes"], int)
    assert result.memory["method"] in ("clear_refs", "hwm")
    assert result.memory["arena_bytes"] is None
    assert result.energy_mj is None
    assert result.runtime is not None
    assert result.runtime.split()[-1] in ("xnnpack", "builtin", "unknown")
    assert decode(encode(result)).message == result


def test_a_reference_is_interleaved_in_rounds(model_path: Path, tmp_path: Path) -> None:
    reference = tmp_path / "reference.tflite"
    reference.write_bytes(tiny_model.dense(np.ones((64, 256), np.int8)))
    result = measured(measure(brisk(model_path, reference_path=reference)))

    orders = [
        "".join(leg.model for leg in result.legs if leg.round == number)
        for number in range(max(leg.round for leg in result.legs) + 1)
    ]
    assert len(orders) >= 2
    assert set(orders) == {"RCCR"}
    summary = ratio(result.legs)
    assert summary is not None
    assert summary.rounds == len(orders)


def test_memory_counts_what_the_model_needs_and_not_what_python_needs(tmp_path: Path) -> None:
    small, large = tmp_path / "small.tflite", tmp_path / "large.tflite"
    small.write_bytes(tiny_model.dense(WEIGHTS))
    large.write_bytes(tiny_model.convolution(256, 1, 256, 1))  # its output alone takes 16 MiB
    peaks = []
    for path in (small, large):
        result = measured(measure(brisk(path)))
        peak = result.memory["peak_delta_bytes"]
        assert isinstance(peak, int)
        peaks.append(peak)
    assert peaks[0] < 4 * MIB
    assert 16 * MIB <= peaks[1] < 64 * MIB


def test_right_golden_outputs_agree_to_the_code(model_path: Path, tmp_path: Path) -> None:
    golden = golden_for(tmp_path, tiny_model.dense_answer(WEIGHTS, INPUTS).tobytes())
    result = measured(measure(brisk(model_path, golden=golden)))
    assert result.golden_max_lsb == 0


def test_wrong_golden_outputs_are_told_by_their_distance(model_path: Path, tmp_path: Path) -> None:
    answer = tiny_model.dense_answer(WEIGHTS, INPUTS)
    answer[1, 0] -= 7
    golden = golden_for(tmp_path, answer.tobytes())
    result = measured(measure(brisk(model_path, golden=golden)))
    assert result.golden_max_lsb == 7


def test_a_golden_that_does_not_fit_is_said_and_not_passed(
    model_path: Path, tmp_path: Path
) -> None:
    golden = golden_for(tmp_path, bytes(9), inputs=bytes(5))
    result = measured(measure(brisk(model_path, golden=golden)))
    assert result.golden_max_lsb is None
    assert result.detail is not None
    assert "expected 12 bytes of 3 golden inputs, got 5" in result.detail
    assert candidate_samples(result.legs)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(tiny_model.dense(WEIGHTS.astype(np.float32), float32=True), id="float"),
        pytest.param(tiny_model.dense(WEIGHTS, batched=True), id="dynamic-batch"),
        pytest.param(tiny_model.two_dense(WEIGHTS, WEIGHTS.T.copy()), id="two-inputs-two-outputs"),
    ],
)
def test_any_signature_can_be_measured(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    result = measured(measure(brisk(path)))
    assert result.verdict in MEASURED, result.detail


def test_a_program_that_prints_cannot_spoil_the_answer(model_path: Path, tmp_path: Path) -> None:
    prefix = program(
        tmp_path, f'print("{{\\"result\\": {{}}}}\\n" * 20000, flush=True)\n{RUN_WORKER}\n'
    )
    result = measured(measure(brisk(model_path), argv_prefix=prefix))
    assert result.verdict in MEASURED, result.detail


def test_the_fingerprint_tells_runtimes_threads_and_cpus_apart(model_path: Path) -> None:
    first, again = (measured(measure(brisk(model_path))) for _ in range(2))
    two_threads = measured(measure(brisk(model_path, threads=2)))
    missing = brisk(model_path.with_name("missing"))
    unmeasured = measured(measure(missing, known_runtime=probe_runtime().label))
    assert unmeasured.fingerprint_sha256 == first.fingerprint_sha256
    assert first.fingerprint_sha256 == again.fingerprint_sha256
    assert first.fingerprint_sha256 != two_threads.fingerprint_sha256


def test_measuring_stays_on_the_cpus_of_the_plan(model_path: Path, tmp_path: Path) -> None:
    log = tmp_path / "cpus"
    prefix = program(
        tmp_path,
        f"""
        import os
        before = os._exit
        def leave(status):
            with open({str(log)!r}, "a") as stream:
                stream.write(f"{{sorted(os.sched_getaffinity(0))}}\\n")
            before(status)
        os._exit = leave
        {RUN_WORKER}
        """,
    )
    cpu = max(os.sched_getaffinity(0))
    outcome = measure(brisk(model_path, cpus=(cpu,)), argv_prefix=prefix)
    assert isinstance(outcome, Measurement)
    assert log.read_text() == f"[{cpu}]\n" * 2  # both children


def test_a_self_test_passes_within_its_tolerance_only(model_path: Path, tmp_path: Path) -> None:
    answer = tiny_model.dense_answer(WEIGHTS, INPUTS)
    assert self_test(model_path, golden_for(tmp_path, answer.tobytes())).ok
    answer[0, 0] += 2
    golden = golden_for(tmp_path, answer.tobytes())
    refused = self_test(model_path, golden, tolerance_lsb=1)
    assert (refused.ok, refused.max_lsb) == (False, 2)
    assert refused.detail is not None
    assert "within 1 LSB" in refused.detail
    assert self_test(model_path, golden, tolerance_lsb=2).ok
    assert self_test(model_path, None).ok


def test_a_self_test_of_a_float_model_counts_255ths_of_its_range(tmp_path: Path) -> None:
    weights = np.eye(4, dtype=np.float32)
    path = tmp_path / "float.tflite"
    path.write_bytes(tiny_model.dense(weights, float32=True))
    values = np.array([[0.0, 0.25, 0.5, 2.55]], np.float32)
    source = tmp_path / "input.bin"
    source.write_bytes(values.tobytes())
    assert self_test(path, GoldenFile(source, 1, values.tobytes()), tolerance_lsb=0).ok
    values[0, 1] += 0.0295
    off = self_test(path, GoldenFile(source, 1, values.tobytes()), tolerance_lsb=2)
    assert (off.ok, off.max_lsb) == (False, 3)


def test_the_probe_names_the_runtime() -> None:
    probe = probe_runtime()
    assert probe.flaw is None
    assert probe.label is not None
    assert probe.label.startswith(("ai-edge-litert ", "tflite-runtime "))
