"""The small parts of measuring: sensors, file check, plan, environment, and the built-in model."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.bench.container import flaw_of
from firmware_bridge.bench.plan import (
    GoldenFile,
    MeasurePlan,
    PlanInvalidError,
    plan_at_level,
    plan_for_job,
)
from firmware_bridge.bench.process import clean_environment
from firmware_bridge.bench.sensors import GET_THROTTLED, Reading, Sensors, parse_throttled
from firmware_bridge.bench.stub import STUB_INPUT, STUB_MODEL
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.messages import Golden, MeasureJob, Quiet
from firmware_bridge.wire.values import BlobRef
from tests.firmware_bridge.bench import tiny_model
from tests.firmware_bridge.bench.plans import brisk


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_sensors_read_frequency_temperature_and_flags(tmp_path: Path) -> None:
    for number, khz in enumerate((600_000, 1_800_000, 1_200_000)):
        cpu = tmp_path / f"devices/system/cpu/cpu{number}/cpufreq"
        write(cpu / "scaling_cur_freq", f"{khz}\n")
    write(tmp_path / "class/thermal/thermal_zone0/temp", "48212\n")
    write(tmp_path / "class/thermal/thermal_zone1/temp", "51000\n")
    write(tmp_path / GET_THROTTLED, "50005\n")
    assert Sensors(tmp_path).read() == Reading(1_800_000, 51.0, 0x50005)
    assert Sensors(tmp_path, (0, 2)).read().freq_khz == 1_200_000


def test_missing_or_senseless_sensors_are_none(tmp_path: Path) -> None:
    assert Sensors(tmp_path).read() == Reading(None, None, None)
    write(tmp_path / "class/thermal/thermal_zone0/temp", "unknown\n")
    write(tmp_path / GET_THROTTLED, "not hexadecimal\n")
    assert Sensors(tmp_path).read() == Reading(None, None, None)


@pytest.mark.parametrize(
    ("text", "bits"),
    [("50005", 0x50005), ("throttled=0x4\n", 4), ("0x0", 0), ("", None), ("throttled=", None)],
)
def test_throttle_flags_are_read_from_either_source(text: str, bits: int | None) -> None:
    assert parse_throttled(text) == bits


def test_the_built_in_model_is_small_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "stub.tflite"
    path.write_bytes(STUB_MODEL)
    assert len(STUB_MODEL) < 1024
    assert flaw_of(path) is None
    assert len(STUB_INPUT) == 4


@pytest.mark.parametrize(
    "content",
    [STUB_MODEL, tiny_model.convolution(8, 1, 1, 1)],
    ids=["stub", "convolution"],
)
def test_every_truncation_of_a_model_is_noticed(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert flaw_of(path) is not None, length


@given(noise=st.binary(max_size=300), place=st.integers(8, 500))
def test_damaged_models_never_break_the_check(
    noise: bytes, place: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "model.tflite"
    path.write_bytes((STUB_MODEL[:place] + noise + STUB_MODEL[place + len(noise) :])[:600])
    flaw = flaw_of(path)
    assert flaw is None or "expected" in flaw or "cut short" in flaw


def test_a_directory_is_no_model(tmp_path: Path) -> None:
    assert "expected a readable model" in (flaw_of(tmp_path) or "")


def test_a_plan_survives_its_way_to_the_child() -> None:
    golden = GoldenFile(Path("golden.bin"), 2, bytes(range(6)))
    plan = brisk(Path("m"), golden=golden, cpus=(1, 2), reference_path=Path("r"), leg=7)
    assert MeasurePlan.from_fields(json.loads(json.dumps(plan.to_fields()))) == plan
    plan = brisk(Path("m"))
    assert MeasurePlan.from_fields(json.loads(json.dumps(plan.to_fields()))) == plan


def test_a_plan_refuses_nonsense() -> None:
    for changes in ({"threads": 0}, {"min_samples": 0}, {"max_samples": 1}, {"cap_ms": 0}):
        with pytest.raises(PlanInvalidError, match="expected"):
            brisk(Path("m"), **changes)
    with pytest.raises(PlanInvalidError, match="golden"):
        GoldenFile(Path("g"), 2, bytes(3))


def test_a_job_becomes_a_plan_with_all_its_settings() -> None:
    blob = BlobRef("ab" * 32, 100)
    job = MeasureJob(
        model=blob,
        label="x",
        threads=2,
        cpus=(2, 3),
        leg=12,
        min_samples=30,
        max_samples=40,
        min_time_ms=50,
        cap_ms=60,
        warmup_ms=70,
        min_rounds=8,
        memory_cap_bytes=90,
        quiet=Quiet(busy_pct=5.0),
        ttl_ms=1000,
        golden=Golden(blob, 1, "00ff"),
    )
    plan = plan_for_job(job, Path("m"), Path("r"), Path("g"))
    assert plan.golden == GoldenFile(Path("g"), 1, b"\x00\xff")
    assert plan.reference_path == Path("r")
    for name in ("threads", "cpus", "leg", "min_samples", "max_samples", "min_time_ms", "cap_ms"):
        assert getattr(plan, name) == getattr(job, name)
    for name in ("warmup_ms", "min_rounds", "memory_cap_bytes", "quiet"):
        assert getattr(plan, name) == getattr(job, name)
    with pytest.raises(PlanInvalidError, match="fetch it first"):
        plan_for_job(job, Path("m"))


def test_a_level_becomes_a_plan() -> None:
    plan = plan_at_level(LEVELS["quick"], Path("m"), threads=3)
    assert (plan.threads, plan.max_samples, plan.quiet.window_ms) == (3, 200, 0)


def test_the_environment_of_a_child_is_a_list_of_what_it_needs() -> None:
    cleaned = clean_environment({"PATH": "/bin", "AWS_SECRET": "x", "PYTHONPATH": "/extra"})
    assert "AWS_SECRET" not in cleaned
    assert cleaned["PATH"] == "/bin"
    assert cleaned["PYTHONPATH"].endswith(":/extra")
