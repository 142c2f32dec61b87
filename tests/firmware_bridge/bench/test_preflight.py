"""A board that is busy, hot or short of memory is not measured, and says which."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge.bench import preflight
from firmware_bridge.bench.load import CpuTimes, others_busy_pct, read_cpu_times
from firmware_bridge.bench.plan import MeasurePlan
from firmware_bridge.bench.preflight import (
    Surroundings,
    check_load,
    check_memory,
    check_temperature,
)
from firmware_bridge.bench.supervise import measure
from firmware_bridge.wire.messages import JobFailed, Measurement, Quiet
from tests.firmware_bridge.bench import tiny_model
from tests.firmware_bridge.bench.plans import MIB, brisk


class Machine:
    """Roots of a made-up board, and a clock that moves when somebody waits."""

    def __init__(self, root: Path) -> None:
        self.proc, self.sys = root / "proc", root / "sys"
        self.zone = self.sys / "class/thermal/thermal_zone0"
        for folder in (self.proc, self.zone):
            folder.mkdir(parents=True)
        self.now = 0.0
        self.on_wait: Callable[[float], None] = lambda now: None
        self.cancelled = False

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.on_wait(self.now)

    def around(self) -> Surroundings:
        return Surroundings(
            self.proc, self.sys, lambda: self.cancelled, lambda: self.now, self.pause
        )

    def temperature(self, celsius: float) -> None:
        (self.zone / "temp").write_text(f"{round(celsius * 1000)}\n")

    def cpu_ticks(self, *rows: tuple[int, int]) -> None:
        """Busy and idle ticks since boot of cpu0, cpu1, ..."""
        total = tuple(map(sum, zip(*rows, strict=True)))
        lines = [f"cpu  {total[0]} 0 0 {total[1]} 0 0 0 0 0 0"]
        lines += [f"cpu{n} {busy} 0 0 {idle} 0 0 0 0 0 0" for n, (busy, idle) in enumerate(rows)]
        (self.proc / "stat").write_text("\n".join(lines) + "\nintr 1\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def plan(**changes: object) -> MeasurePlan:
    return brisk(Path("model.tflite"), **{"quiet": Quiet(), **changes})


def test_twice_the_cap_must_be_available(machine: Machine) -> None:
    (machine.proc / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  524287 kB\n")
    unfit = check_memory(plan(memory_cap_bytes=256 * MIB), machine.around())
    assert unfit is not None
    assert unfit.obstacle == "NO_MEMORY"
    assert "expected 536870912 bytes" in unfit.detail
    (machine.proc / "meminfo").write_text("MemAvailable:  524288 kB\n")
    assert check_memory(plan(memory_cap_bytes=256 * MIB), machine.around()) is None


def test_a_hot_board_is_awaited_until_it_has_cooled_down(machine: Machine) -> None:
    machine.temperature(70)
    machine.on_wait = lambda now: machine.temperature(70 - now)
    assert check_temperature(plan(idle_temp_c=45.0), machine.around()) is None
    assert 15 <= machine.now <= 17


def test_a_board_that_stays_hot_is_throttled(machine: Machine) -> None:
    machine.temperature(70)
    unfit = check_temperature(plan(idle_temp_c=45.0), machine.around())
    assert unfit is not None
    assert unfit.obstacle == "throttled"
    assert "55.0" in unfit.detail
    assert 120 <= machine.now <= 122


def test_without_a_sensor_or_an_idle_temperature_nothing_is_awaited(machine: Machine) -> None:
    assert check_temperature(plan(idle_temp_c=45.0), machine.around()) is None
    machine.temperature(90)
    assert check_temperature(plan(), machine.around()) is None
    assert machine.now == 0


def test_a_board_warmer_than_its_profile_allows_is_not_measured(machine: Machine) -> None:
    machine.temperature(66)
    unfit = check_temperature(plan(quiet=Quiet(temp_max_c=65.0)), machine.around())
    assert unfit is not None
    assert unfit.obstacle == "throttled"
    assert check_temperature(plan(quiet=Quiet(temp_max_c=66.0)), machine.around()) is None
    both = plan(quiet=Quiet(temp_max_c=70.0), idle_temp_c=45.0)
    assert "at most 55.0" in getattr(check_temperature(both, machine.around()), "detail", "")


def test_a_board_without_a_sensor_pauses_as_long_as_it_is_told(machine: Machine) -> None:
    told: list[str] = []
    around = replace(machine.around(), tell=told.append)
    pausing = plan(quiet=Quiet(blind_pause_ms=60_000))
    assert check_temperature(pausing, around) is None
    assert 60 <= machine.now <= 61
    assert told == ["no temperature sensor: letting the board cool for 60 s"]
    machine.cancelled = True
    assert getattr(check_temperature(pausing, around), "obstacle", "") == "CANCELLED"


def test_a_board_that_swaps_is_not_measured(machine: Machine) -> None:
    machine.cpu_ticks((0, 1000))
    vmstat = machine.proc / "vmstat"

    def swap_in() -> None:
        vmstat.write_text("pswpin 52\n")

    vmstat.write_text("nr_free_pages 3\npswpin 40\npswpout 7\n")
    assert check_load(plan(), machine.around()) is None
    machine.on_wait = lambda now: swap_in()
    unfit = check_load(plan(), machine.around())
    assert unfit is not None
    assert unfit.obstacle == "NO_MEMORY"
    assert "got 12" in unfit.detail


def test_load_of_others_on_the_pinned_cpus_counts(machine: Machine) -> None:
    machine.cpu_ticks((1000, 1000), (1000, 1000))
    machine.on_wait = lambda now: machine.cpu_ticks(
        (1000, 1000 + round(100 * now)), (1000 + round(50 * now), 1000 + round(50 * now))
    )
    assert check_load(plan(cpus=(0,)), machine.around()) is None
    unfit = check_load(plan(cpus=(1,)), machine.around())
    assert unfit is not None
    assert unfit.obstacle == "busy"


@pytest.mark.parametrize(
    ("share", "obstacle", "watched_s"), [(0.02, None, 1.0), (0.08, None, 3.0), (0.2, "busy", 3.0)]
)
def test_an_idle_board_is_not_watched_to_the_end_and_a_doubtful_one_is(
    machine: Machine, share: float, obstacle: str | None, watched_s: float
) -> None:
    def work(now: float) -> None:
        machine.cpu_ticks((round(1000 * share * now), 1000 + round(1000 * (1 - share) * now)))

    work(0.0)
    machine.on_wait = work
    unfit = check_load(plan(), machine.around())
    assert (unfit.obstacle if unfit else None) == obstacle
    assert machine.now == pytest.approx(watched_s)


def test_load_that_comes_late_is_seen_on_a_doubtful_board(machine: Machine) -> None:
    machine.cpu_ticks((0, 1000))
    machine.on_wait = lambda now: machine.cpu_ticks(
        (round(30 * now if now < 2 else 300 * (now - 1)), 1000 + round(300 * now))
    )
    unfit = check_load(plan(), machine.around())
    assert unfit is not None
    assert unfit.obstacle == "busy"


def test_no_window_means_no_wait(machine: Machine) -> None:
    assert check_load(plan(quiet=Quiet(window_ms=0)), machine.around()) is None
    assert machine.now == 0


def test_cancelling_ends_every_wait(machine: Machine) -> None:
    machine.temperature(70)
    machine.on_wait = lambda now: setattr(machine, "cancelled", now > 2)
    for check in (check_temperature, check_load):
        machine.now, machine.cancelled = 0.0, False
        unfit = check(plan(idle_temp_c=45.0), machine.around())
        assert unfit is not None
        assert unfit.obstacle == "CANCELLED"
        assert machine.now < 4


def test_own_work_is_no_load_of_others() -> None:
    before, after = CpuTimes(10.0, 100.0, 3.0), CpuTimes(12.0, 110.0, 4.5)
    assert others_busy_pct(before, after) == 5.0
    assert others_busy_pct(before, before) is None
    assert others_busy_pct(None, after) is None


def test_cpus_that_are_not_listed_give_no_load(machine: Machine) -> None:
    machine.cpu_ticks((1, 1))
    assert read_cpu_times(machine.proc, (0,)) is not None
    assert read_cpu_times(machine.proc, (5,)) is None


def test_a_board_that_never_becomes_quiet_is_busy_and_has_no_samples(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_model.unknown_operator())
    monkeypatch.setattr(preflight, "RETRY_PAUSES_S", (0.01, 0.01))
    readings = iter(CpuTimes(float(n), float(n), 0.0) for n in range(100))
    monkeypatch.setattr(preflight, "read_cpu_times", lambda root, cpus: next(readings))
    outcome = measure(brisk(path, quiet=Quiet(window_ms=1)), proc_root=machine.proc)
    assert isinstance(outcome, Measurement)
    assert outcome.verdict == "busy"
    assert outcome.legs == ()
    assert next(readings).busy_s == 12.0  # three windows of four readings each


def test_a_board_without_memory_fails_the_job_for_now(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_model.unknown_operator())
    (machine.proc / "meminfo").write_text("MemAvailable:  1000 kB\n")
    outcome = measure(brisk(path), proc_root=machine.proc, sys_root=machine.sys)
    assert isinstance(outcome, JobFailed)
    assert (outcome.code, outcome.retryable) == ("NO_MEMORY", True)
