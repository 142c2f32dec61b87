"""Stories in which time does something: windows, dates, fresh offers, devices that come later."""

from dataclasses import replace

from edgenas.rollout.events import Ended, Offered
from edgenas.rollout.plan import JOINERS, LATER_GATE, Pace
from edgenas.rollout.verbs import Candidate
from edgenas.rollout.windows import parse_window
from tests.edgenas.rollout.runs import Run
from tests.edgenas.rollout.sim import START_MS, Fate, SimDevice, plan_of
from tests.edgenas.rollout.test_driving import (
    DAY_MS,
    FIRST,
    MINUTE_MS,
    QUICK,
    events,
    run_of,
    running,
    states,
)


def test_a_rollout_does_not_end_ahead_of_a_device_that_is_about_to_answer() -> None:
    """Nine of ten are enough for the wave, but the tenth was offered it a moment ago."""
    gate = replace(LATER_GATE, soak_s=0.0)
    names = [f"dev-{number}" for number in range(10)]
    fates = [Fate("deaf", away_ms=2 * MINUTE_MS), *[Fate()] * 9]
    run = Run([SimDevice(name, "old", (fate,)) for name, fate in zip(names, fates, strict=True)])
    patient = Pace(settle_s=300.0)
    run.first = plan_of({"a": names}, [("all", names, gate)], pace=patient)
    run.begin_first()
    run.settle()
    state = run.state(FIRST)
    assert (state.status, running(run)) == ("COMPLETED", ["a-2"] * 10)
    (ended,) = [event for event in events(run, Ended) if isinstance(event, Ended)]
    assert ended.counts["succeeded"] == 10


def test_maintenance_windows_hold_and_let_go() -> None:
    begins = (START_MS // MINUTE_MS + 120) % 1440
    text = f"{begins // 60:02}:{begins % 60:02}-{(begins // 60 + 1) % 24:02}:{begins % 60:02}"
    run = run_of(*[Fate()] * 3, pace=Pace(windows=(parse_window(text),)))
    run.go(119 * MINUTE_MS)
    assert events(run, Offered) == []
    run.go(2 * DAY_MS)
    assert (run.state(FIRST).status, running(run)) == ("COMPLETED", ["a-2"] * 3)
    minutes = {(e.at_ms // MINUTE_MS) % 1440 for e in run.store.events(FIRST)
               if isinstance(e.event, Offered)}  # fmt: skip
    assert all((minute - begins) % 1440 < 60 for minute in minutes)


def test_what_is_under_way_at_the_end_of_a_window_is_held() -> None:
    begins = (START_MS // MINUTE_MS) % 1440
    ends = begins + 1
    text = f"{begins // 60:02}:{begins % 60:02}-{ends // 60:02}:{ends % 60:02}"
    slow_start = Fate("deaf", away_ms=MINUTE_MS)
    run = run_of(slow_start, pace=Pace(windows=(parse_window(text),)))
    run.go(60 * MINUTE_MS)
    assert states(run) == ["STAGED"]
    run.go(2 * DAY_MS)
    assert running(run) == ["a-2"]


def test_a_continuous_rollout_takes_devices_in_until_its_end() -> None:
    run = Run([SimDevice(f"dev-{i}", "old") for i in range(4)])
    run.first = plan_of(
        {"a": ["dev-0"]},
        [("canaries", ["dev-0"], QUICK), (JOINERS, [], replace(QUICK, soak_s=0.0))],
        joins_until_ms=START_MS + DAY_MS,
    )
    run.begin_first()
    run.go(10 * MINUTE_MS)
    assert run.state(FIRST).status == "RUNNING"
    fit = Candidate(device_id="dev-1", profile="a", active="old", keyids=("key",))
    run.desk.joining = [
        fit,
        replace(fit, device_id="dev-2", profile="b"),
        replace(fit, device_id="dev-3", keyids=("another",)),
        replace(fit, device_id="dev-0"),
    ]
    run.step()
    run.settle()
    state = run.state(FIRST)
    assert (state.status, running(run)) == ("COMPLETED", ["a-2", "a-2", "old", "old"])
    assert sorted(state.courses) == ["dev-0", "dev-1"]


def test_a_new_device_whose_model_has_no_way_back_does_not_join() -> None:
    run = Run([SimDevice(f"dev-{i}", "old") for i in range(3)])
    run.first = plan_of(
        {"a": []}, [(JOINERS, [], replace(QUICK, soak_s=0.0))], joins_until_ms=START_MS + DAY_MS
    )
    run.begin_first()
    fit = Candidate(device_id="dev-0", profile="a", active=None, keyids=("key",))
    run.desk.devices["dev-0"].active = None
    run.desk.joining = [fit, replace(fit, device_id="dev-1", active="unknown")]
    run.go(MINUTE_MS)
    assert sorted(run.state(FIRST).courses) == ["dev-0"]


def test_the_date_may_jump_as_it_likes() -> None:
    """A host whose clock is set an hour ahead, and another driver with one that is behind."""
    run = run_of(Fate(), Fate())
    run.go(80_000)
    soaking = run.state(FIRST).waves["canaries"].soak_since_ms
    assert run.state(FIRST).waves["canaries"].phase == "SOAKING"
    run.clock.wall_offset_ms += 3_600_000
    run.go(1_000)
    assert run.state(FIRST).waves["canaries"].phase == "SOAKING"
    run.clock.wall_offset_ms -= 7_200_000
    run.drivers[FIRST] = run._driver(FIRST)
    run.go(1_000)
    state = run.state(FIRST)
    assert state.waves["canaries"].soak_since_ms == soaking
    run.settle()
    assert run.state(FIRST).status == "COMPLETED"
    stamps = [record.at_ms for record in run.store.events(FIRST)]
    assert stamps == sorted(stamps)
