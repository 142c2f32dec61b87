"""Single stories over the simulated fleet: what operators see, what devices end up with."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from edgenas.rollout.asking import ask, begin, find
from edgenas.rollout.errors import RolloutError, VerbError
from edgenas.rollout.events import Event, Held, Moved, Offered, Paused
from edgenas.rollout.plan import CANARY_GATE, LATER_GATE, Gate, Pace, Plan
from edgenas.rollout.state import RolloutState
from edgenas.rollout.summary import is_over, records, summary, told
from edgenas.rollout.verbs import abort, pause, resume, retry, rollback
from tests.edgenas.rollout.runs import Run, check_waves
from tests.edgenas.rollout.sim import PATH, STEP_MS, Fate, SimDevice, plan_of

FIRST, SECOND = "1" * 32, "2" * 32
MINUTE_MS = 60_000
DAY_MS = 86_400_000
QUICK = replace(LATER_GATE, soak_s=60.0)


def run_of(*fates: Fate, plan: Plan | None = None, pace: Pace | None = None) -> Run:
    """Devices dev-0, dev-1, ...; the first one is the canary."""
    names = [f"dev-{i}" for i in range(len(fates))]
    run = Run([SimDevice(name, "old", (fate,)) for name, fate in zip(names, fates, strict=True)])
    canary = replace(CANARY_GATE, soak_s=60.0)
    waves = [("canaries", names[:1], canary), ("rest", names[1:], QUICK)]
    run.first = plan or plan_of({"a": names}, [w for w in waves if w[1]], pace=pace)
    run.begin_first()
    return run


def do(run: Run, verb: Callable[[RolloutState], Sequence[Event]]) -> RolloutState:
    """Ask, and let it take effect."""
    state = ask(run.store, FIRST, verb, run.clock.wall_ms())
    run.step()
    return state


def events(run: Run, kind: type[Event], rollout_id: str = FIRST) -> list[Event]:
    return [r.event for r in run.store.events(rollout_id) if isinstance(r.event, kind)]


def until(run: Run, *wanted: str) -> None:
    """Let time pass until some device is in each of these states."""
    while not set(wanted) <= set(states(run)):
        assert run.clock.ms < DAY_MS
        run.go(STEP_MS // 2)


def running(run: Run) -> list[str | None]:
    return [device.active for device in run.desk.devices.values()]


def states(run: Run, rollout_id: str = FIRST) -> list[str]:
    return [course.forward.state for course in run.state(rollout_id).courses.values()]


def test_a_good_release_reaches_everybody_in_waves() -> None:
    run = run_of(*[Fate()] * 5)
    run.go(MINUTE_MS)
    assert running(run) == ["a-2", "old", "old", "old", "old"]
    run.settle()
    state = run.state(FIRST)
    assert (state.status, running(run)) == ("COMPLETED", ["a-2"] * 5)
    assert is_over(state)
    check_waves(run, FIRST)


@pytest.mark.parametrize(
    ("fate", "gate"),
    [
        ("slow", "perf_gate"),
        ("noisy", "perf_unknown"),
        ("breach", "integrity"),
        ("reject", "error_gate"),
        ("fail", "error_gate"),
        ("rolled_back", "error_gate"),
        ("stuck", "integrity"),
        ("gone", "error_gate"),
        ("deaf", "success_not_met"),
    ],
)
def test_one_bad_canary_keeps_the_release_from_everybody_else(fate: str, gate: str) -> None:
    run = run_of(Fate(fate), *[Fate()] * 4)
    run.settle()
    state = run.state(FIRST)
    assert state.status == "PAUSED"
    assert f"{gate}@canaries" in state.reasons
    assert running(run)[1:] == ["old"] * 4
    assert [e.device for e in events(run, Offered) if isinstance(e, Offered)] == ["dev-0"]


def test_a_closed_gate_is_passed_only_by_name_and_with_its_counts() -> None:
    run = run_of(Fate("slow"), Fate("slow"), *[Fate()] * 3)
    run.settle()
    now_ms = run.clock.wall_ms()
    with pytest.raises(VerbError, match="perf_gate in wave canaries"):
        resume(run.state(FIRST), "op", now_ms)
    with pytest.raises(VerbError, match="perf_gate in wave canaries"):
        resume(run.state(FIRST), "op", now_ms, ["error_gate"])
    with pytest.raises(VerbError, match="expected gates of"):
        resume(run.state(FIRST), "op", now_ms, ["perfgate"])
    do(run, lambda state: resume(state, "op", now_ms, ["perf_gate"], "it is meant to be so"))
    run.settle()
    state = run.state(FIRST)
    assert list(state.reasons) == ["perf_gate@rest"]  # what was accepted was the canary's count
    assert state.waves["canaries"].phase == "PASSED"
    check_waves(run, FIRST)


def test_a_passed_wave_is_still_watched() -> None:
    """A canary that came back late with a wrong answer stops the waves after it."""
    run = run_of(*[Fate()] * 6)
    run.go(3 * MINUTE_MS)
    state = run.state(FIRST)
    assert state.waves["canaries"].phase == "PASSED"
    late = Moved(
        device="dev-0", way="forward", attempt=1, state="ROLLED_BACK", code="probe_mismatch"
    )
    run.ask(state, [late])
    run.step()
    assert "integrity@canaries" in run.state(FIRST).reasons


def test_pause_holds_before_the_switch_and_offers_nothing() -> None:
    run = run_of(*[Fate()] * 6)
    until(run, "SUCCEEDED", "ACCEPTED")
    do(run, lambda state: pause(state, "op", "the shop is full"))
    offered = len(events(run, Offered))
    run.go(60 * MINUTE_MS)
    assert set(states(run)[1:]) == {"STAGED"}
    assert running(run)[1:] == ["old"] * 5
    assert len(events(run, Offered)) == offered
    assert run.state(FIRST).reasons == {"operator": "the shop is full"}
    do(run, lambda state: resume(state, "op", run.clock.wall_ms()))
    run.settle()
    assert running(run) == ["a-2"] * 6
    held = [(e.device, e.on) for e in events(run, Held) if isinstance(e, Held)]
    assert len(held) == 10


def test_abort_stops_what_has_not_switched_and_leaves_the_rest() -> None:
    run = run_of(*[Fate()] * 6, pace=Pace(max_in_flight=2))
    until(run, "SUCCEEDED", "ACCEPTED")
    assert set(states(run)) == {"SUCCEEDED", "ACCEPTED", "QUEUED"}
    state = do(run, lambda state: abort(state, "op"))
    assert state.status == "ABORTED"
    run.settle()
    assert running(run) == ["a-2"] + ["old"] * 5
    assert set(states(run)) == {"SUCCEEDED", "CANCELLED"}
    assert is_over(run.state(FIRST))


@pytest.mark.parametrize("at", PATH[:-1])
def test_rollback_from_every_step_brings_back_what_ran_before(at: str) -> None:
    run = run_of(*[Fate()] * 3)
    until(run, "SUCCEEDED", at)
    do(run, lambda state: rollback(state, "op", "at night"))
    run.settle()
    state = run.state(FIRST)
    assert (state.status, running(run)) == ("ROLLED_BACK", ["old"] * 3)
    for course in state.courses.values():
        assert course.back is None or course.is_back


def test_a_completed_rollout_can_be_taken_back_but_not_what_was_there_before() -> None:
    run = run_of(Fate(), Fate(), Fate())
    run.desk.devices["dev-1"].active = "a-2"  # somebody had shipped it by hand
    run.settle()
    assert run.state(FIRST).courses["dev-1"].forward.already_installed
    do(run, lambda state: rollback(state, "op"))
    run.settle()
    assert running(run) == ["old", "a-2", "old"]


def test_a_device_that_was_unknown_at_the_rollback_goes_back_when_it_tells() -> None:
    away = Fate("away", PATH.index("PROBATION"), 2 * DAY_MS)
    run = run_of(Fate(), away)
    run.go(60 * MINUTE_MS)
    assert states(run) == ["SUCCEEDED", "TIMED_OUT"]
    do(run, lambda state: rollback(state, "op"))
    run.settle()
    assert (run.state(FIRST).status, running(run)) == ("ROLLED_BACK", ["old", "old"])


@pytest.mark.parametrize("verb", [abort, rollback])
def test_a_device_that_vanished_while_it_was_held_keeps_nothing_open(
    verb: Callable[[RolloutState, str], list[Event]],
) -> None:
    run = run_of(Fate(), Fate())
    until(run, "SUCCEEDED", "VERIFYING")
    do(run, lambda state: pause(state, "op"))
    run.go(5 * MINUTE_MS)
    assert states(run) == ["SUCCEEDED", "STAGED"]
    run.desk.devices["dev-1"].fate = Fate("gone", PATH.index("STAGED"))
    do(run, lambda state: verb(state, "op"))
    run.settle()
    assert is_over(run.state(FIRST))
    assert (states(run)[1], running(run)[1]) == ("EXPIRED", "old")


def test_a_device_in_doubt_goes_back_though_its_retry_was_taken_back() -> None:
    """It could not roll back, was granted another try, and that one was withdrawn."""
    run = run_of(Fate("stuck"), Fate())
    run.settle()
    now_ms = run.clock.wall_ms()
    gates = ["integrity", "error_gate", "success_not_met", "perf_unknown"]
    do(run, lambda state: resume(state, "op", now_ms, gates, "seen"))
    do(run, lambda state: retry(state, "op"))
    do(run, lambda state: rollback(state, "op"))
    run.settle()
    assert run.state(FIRST).status == "ROLLED_BACK"
    assert running(run) == ["old", "old"]


def test_what_a_device_calls_worth_another_try_is_tried_before_it_counts() -> None:
    run = run_of(Fate(), Fate())
    run.desk.devices["dev-0"].fates = (Fate("flaky"), Fate())
    run.settle()
    assert run.state(FIRST).status == "COMPLETED"
    offered = [e.device for e in events(run, Offered) if isinstance(e, Offered)]
    assert offered == ["dev-0", "dev-0", "dev-1"]


def test_an_operator_grants_one_more_try() -> None:
    run = run_of(Fate(), Fate())
    run.desk.devices["dev-0"].fates = (Fate("flaky"), Fate("flaky"), Fate())
    run.settle()
    assert run.state(FIRST).status == "PAUSED"
    do(run, lambda state: retry(state, "op"))
    do(run, lambda state: resume(state, "op", run.clock.wall_ms()))
    run.settle()
    assert run.state(FIRST).status == "COMPLETED"
    with pytest.raises(VerbError, match="COMPLETED"):
        retry(run.state(FIRST), "op")


def test_a_device_that_runs_something_unplanned_is_left_alone() -> None:
    run = run_of(Fate(), Fate(), Fate())
    run.desk.devices["dev-2"].active = "shipped by hand"
    run.settle()
    state = run.state(FIRST)
    assert state.courses["dev-2"].forward.state == "REMOVED"
    assert state.courses["dev-2"].forward.code == "other_incumbent"
    assert (state.status, running(run)[2]) == ("COMPLETED", "shipped by hand")


def test_devices_that_are_off_line_neither_block_nor_are_forgotten() -> None:
    deaf = Fate("deaf", away_ms=DAY_MS)
    run = run_of(Fate(), deaf, *[Fate()] * 19, pace=Pace(max_in_flight=1))
    run.go(12 * 60 * MINUTE_MS)
    assert run.state(FIRST).status == "COMPLETED"
    assert running(run)[1] == "old"
    run.settle()  # its wish is still there
    assert running(run) == ["a-2"] * 21
    assert states(run) == ["SUCCEEDED"] * 21


def test_a_newer_rollout_takes_the_devices_and_the_older_one_ends() -> None:
    run = run_of(*[Fate()] * 4)
    run.go(2 * MINUTE_MS + 20_000)
    names = list(run.desk.devices)
    incumbents = {name: device.active for name, device in run.desk.devices.items()}
    newer = plan_of(
        {"a": names},
        [("w", names, QUICK)],
        rollout_id=SECOND,
        version=4,
        incumbents=incumbents,
    )
    run.begin(newer)
    run.settle()
    assert running(run) == ["a-4"] * 4
    older = run.state(FIRST)
    assert older.status == "ABORTED"
    assert {course.superseded_by for course in older.courses.values()} == {SECOND}
    do(run, lambda state: rollback(state, "op"))  # it owns nothing any more
    run.settle()
    assert running(run) == ["a-4"] * 4


def test_an_older_plan_is_not_started_after_a_newer_one() -> None:
    run = run_of(Fate())
    plan = plan_of({"a": ["dev-0"]}, [("w", ["dev-0"], QUICK)], rollout_id=SECOND, version=1)
    run.store.add(plan)
    with pytest.raises(VerbError, match="plan again"):
        begin(run.store, SECOND, "op", run.clock.wall_ms())
    assert find(run.store, None) == SECOND
    assert find(run.store, "11") == FIRST
    with pytest.raises(VerbError, match="known: 11111111, 22222222"):
        find(run.store, "3")


def test_each_group_gets_its_own_release_in_one_rollout() -> None:
    names = {"a": ["dev-0", "dev-1"], "b": ["dev-2", "dev-3"]}
    plan = plan_of(names, [("w", ["dev-0", "dev-2"], QUICK), ("x", ["dev-1", "dev-3"], QUICK)])
    run = run_of(*[Fate()] * 4, plan=plan)
    run.settle()
    assert running(run) == ["a-2", "a-2", "b-2", "b-2"]
    body = summary(run.state(FIRST), run.clock.wall_ms())
    assert [(group["name"], group["devices"]) for group in body["groups"]] == [("a", 2), ("b", 2)]
    trail = records(run.store.events(FIRST))
    assert [entry["position"] for entry in trail] == list(range(1, len(trail) + 1))
    assert "wave w: passed" in [told(r.event) for r in run.store.events(FIRST)]
    assert events(run, Paused) == []


def test_another_process_that_is_quicker_is_listened_to() -> None:
    """The driver decides on what it knew; what an operator asked meanwhile comes first."""
    run = run_of(Fate(), Fate())
    run.go(3 * STEP_MS)
    driver = run.drivers[FIRST]
    run.ask(run.state(FIRST), pause(run.state(FIRST), "op"))
    assert not driver._commit([Offered(device="dev-1", way="forward")])
    assert driver.state.status == "PAUSED"
    assert driver.state.courses["dev-1"].forward.state == "QUEUED"


def test_a_rollout_that_is_not_there() -> None:
    with pytest.raises(RolloutError, match="planned here"):
        run_of(Fate()).state("9" * 32)


def test_an_even_gate_needs_all() -> None:
    """A wave of two with one device off line for good does not pass with 90 %."""
    run = run_of(Fate(), Fate(), Fate("deaf"), pace=Pace())
    run.settle()
    state = run.state(FIRST)
    assert list(state.reasons) == ["success_not_met@rest"]
    gate = Gate(success_pct=50, soak_s=0.0)
    assert gate.success_pct < LATER_GATE.success_pct
