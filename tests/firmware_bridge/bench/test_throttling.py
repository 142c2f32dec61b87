"""Throttling and a weak supply are seen on a made-up board, and lead to their verdicts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from firmware_bridge.bench.sensors import GET_THROTTLED, Sensors, flags_now
from firmware_bridge.bench.supervise import measure
from firmware_bridge.wire.messages import Measurement
from tests.firmware_bridge.bench import tiny_model
from tests.firmware_bridge.bench.fake_pi import FakePi
from tests.firmware_bridge.bench.plans import brisk, program


@pytest.fixture
def pi(tmp_path: Path) -> FakePi:
    return FakePi(tmp_path)


BEFORE_ROUND = """
from pathlib import Path
from firmware_bridge.bench import sampling, worker
settled_round = sampling.Sampler._settled_round

def disturbed_round(self, number, leg_samples):
    if number == {number}:
        for path, text in {changes!r}:
            Path(path).write_text(text)
    return settled_round(self, number, leg_samples)

sampling.Sampler._settled_round = disturbed_round
worker.main()
"""


@pytest.fixture
def measured(pi: FakePi, tmp_path: Path) -> Callable[..., Measurement]:
    """Measures five rounds; before the given round, these files of ``/sys`` change."""
    model = tmp_path / "model.tflite"
    model.write_bytes(tiny_model.convolution(16, 8, 8, 3))

    def measured(changes: dict[str, str] | None = None, number: int = 3) -> Measurement:
        paths = [(str(pi.sys / name), text) for name, text in (changes or {}).items()]
        prefix = program(tmp_path, BEFORE_ROUND.format(number=number, changes=paths))
        plan = brisk(model, min_rounds=5, min_samples=100, max_samples=100)
        outcome = measure(plan, proc_root=pi.proc, sys_root=pi.sys, argv_prefix=prefix)
        assert isinstance(outcome, Measurement), outcome
        return outcome

    return measured


def test_a_board_that_reports_nothing_wrong_is_not_flagged(
    measured: Callable[..., Measurement],
) -> None:
    outcome = measured()
    assert outcome.verdict in ("ok", "noisy")
    leg = outcome.legs[-1]
    assert (leg.freq_khz, leg.temp_c, leg.throttle_bits) == (1_800_000, 48.212, 0)


def test_under_voltage_that_was_live_is_undervolt(
    pi: FakePi, measured: Callable[..., Measurement]
) -> None:
    pi.flags(0x1)
    outcome = measured()
    assert outcome.verdict == "undervolt"
    assert "power supply" in (outcome.detail or "")
    assert outcome.legs


def test_throttling_that_stays_through_all_repetitions_is_throttled(
    pi: FakePi, measured: Callable[..., Measurement]
) -> None:
    pi.flags(0x4)
    assert measured().verdict == "throttled"


def test_flags_that_were_sticky_before_do_not_count(
    pi: FakePi, measured: Callable[..., Measurement]
) -> None:
    pi.flags(0x50000)
    assert measured().verdict in ("ok", "noisy")


@pytest.mark.parametrize(("bits", "verdict"), [(0x10000, "undervolt"), (0x40000, "throttled")])
def test_a_flag_that_became_sticky_meanwhile_counts_though_nobody_saw_it_live(
    bits: int, verdict: str, measured: Callable[..., Measurement]
) -> None:
    assert measured({GET_THROTTLED: f"{bits:x}"}).verdict == verdict


def test_a_clock_that_falls_for_good_is_throttled(measured: Callable[..., Measurement]) -> None:
    names = [f"devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in (0, 1)]
    outcome = measured(dict.fromkeys(names, "1500000"))
    assert outcome.verdict == "throttled"
    assert "83.3% of the best round's CPU frequency" in (outcome.detail or "")
    assert {leg.round for leg in outcome.legs if leg.freq_khz == 1_500_000} >= {3, 4}


def test_a_cooling_device_that_holds_the_cpu_back_is_a_capped_frequency(pi: FakePi) -> None:
    pi.write("class/thermal/cooling_device0/type", "pwm-fan")
    pi.write("class/thermal/cooling_device0/cur_state", "3")
    pi.write("class/thermal/cooling_device1/type", "thermal-cpufreq-0")
    pi.write("class/thermal/cooling_device1/cur_state", "0")
    sensors = Sensors(pi.sys)
    assert sensors.read().throttle_bits == 0
    pi.write("class/thermal/cooling_device1/cur_state", "2")
    assert sensors.read().throttle_bits == 0x2


def test_supply_alarms_are_heard_from_chips_that_watch_the_supply(pi: FakePi) -> None:
    pi.write("class/hwmon/hwmon0/name", "rpi_volt")
    pi.write("class/hwmon/hwmon0/in0_lcrit_alarm", "1")
    pi.write("class/hwmon/hwmon1/name", "nct6775")
    pi.write("class/hwmon/hwmon1/in1_lcrit_alarm", "1")
    pi.write("class/hwmon/hwmon2/name", "ina3221")
    pi.write("class/hwmon/hwmon2/curr1_crit_alarm", "1")
    assert Sensors(pi.sys, supply=True).read().throttle_bits == 0x3
    assert Sensors(pi.sys).read().throttle_bits == 0
    pi.write("class/hwmon/hwmon0/in0_lcrit_alarm", "0")
    assert Sensors(pi.sys, supply=True).read().throttle_bits == 0x2


def test_over_current_events_count_from_when_one_began_to_look(pi: FakePi) -> None:
    pi.write("class/hwmon/hwmon0/oc1_event_cnt", "7")
    sensors = Sensors(pi.sys, supply=True)
    assert sensors.read().throttle_bits == 0
    pi.write("class/hwmon/hwmon0/oc1_event_cnt", "8")
    assert sensors.read().throttle_bits == 0x4


def test_the_firmwares_own_tool_is_asked_where_sysfs_is_silent(
    pi: FakePi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pi.sys / GET_THROTTLED).unlink()
    tool = tmp_path / "bin/vcgencmd"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x50005\n')
    tool.chmod(0o755)
    assert flags_now(Sensors(pi.sys)) is None
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    assert flags_now(Sensors(pi.sys)) == 0x50005


def test_a_board_without_any_source_says_so(tmp_path: Path) -> None:
    assert flags_now(Sensors(tmp_path / "nowhere", supply=True)) is None
