"""Whatever devices, operators and crashes do: what must hold of every rollout, and that it ends."""

import contextlib
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgenas.rollout.errors import VerbError
from edgenas.rollout.events import Event, Started, Superseded
from edgenas.rollout.plan import (
    CANARY_GATE,
    JOINERS,
    LATER_GATE,
    Gate,
    Member,
    Pace,
    Plan,
    Wave,
)
from edgenas.rollout.state import RolloutState
from edgenas.rollout.verbs import Candidate, abort, pause, resume, retry, rollback
from tests.edgenas.rollout.runs import Run, check_waves
from tests.edgenas.rollout.sim import FATES, PATH, Fate, SimDevice, plan_of

FIRST, SECOND = "1" * 32, "2" * 32
GATES = ("integrity", "error_gate", "perf_gate", "perf_unknown", "success_not_met")
MINUTE_MS = 60_000

Ask = Callable[[RolloutState, int], list[Event]]
VERBS: dict[str, Ask] = {
    "pause": lambda state, now_ms: pause(state, "op"),
    "resume": lambda state, now_ms: resume(state, "op", now_ms),
    "accept": lambda state, now_ms: resume(state, "op", now_ms, GATES, "seen"),
    "abort": lambda state, now_ms: abort(state, "op"),
    "rollback": lambda state, now_ms: rollback(state, "op"),
    "retry": lambda state, now_ms: retry(state, "op"),
}

fates = st.builds(
    Fate,
    kind=st.sampled_from(FATES),
    at=st.integers(0, len(PATH) - 2),
    away_ms=st.sampled_from([MINUTE_MS, 20 * MINUTE_MS, 3 * 1440 * MINUTE_MS]),
)
boards = st.lists(st.lists(fates, min_size=1, max_size=2), min_size=1, max_size=7)
asks = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 90)),
        st.tuples(st.just("crash"), st.integers(1, 12)),
        st.tuples(st.sampled_from(sorted(VERBS)), st.just(0)),
        st.tuples(st.just("newer"), st.just(0)),
    ),
    max_size=9,
)
gates = st.sampled_from(
    [
        CANARY_GATE,
        LATER_GATE,
        Gate(error_pct=None, perf_pct=None, success_pct=50, soak_s=60.0),
        Gate(error_abs=2, perf_abs=2, success_pct=100),
    ]
)
paces = st.sampled_from([Pace(), Pace(max_in_flight=1), Pace(max_per_minute=2, attempts=3)])


def devices_of(fates_of: Sequence[Sequence[Fate]]) -> list[SimDevice]:
    boards = []
    for number, own in enumerate(fates_of):
        group = "ab"[number % 2]
        already = own[0].kind == "already"
        boards.append(SimDevice(f"dev-{number}", f"{group}-2" if already else "old", own))
    return boards


def plan_for(boards: Sequence[SimDevice], gate: Sequence[Gate], pace: Pace, version: int) -> Plan:
    """Two groups, three waves; the newer plan finds whatever runs by then."""
    names = [board.device_id for board in boards]
    groups = {"a": names[::2], "b": names[1::2]}
    cuts = [names[:1], names[1:3], names[3:]]
    waves = [(f"w{i}", cut, gate[i % len(gate)]) for i, cut in enumerate(cuts) if cut]
    incumbents = {board.device_id: board.active for board in boards} if version > 2 else None
    return plan_of(
        groups,
        waves,
        rollout_id=FIRST if version == 2 else SECOND,
        version=version,
        incumbents=incumbents,
        pace=pace,
    )


def ask(run: Run, rollout_id: str, verb: str) -> None:
    """Ask; what the state does not allow is refused with words."""
    state = run.state(rollout_id)
    with contextlib.suppress(VerbError):
        run.ask(state, VERBS[verb](state, run.drivers[rollout_id].now().ms))
    run.step()


def play(run: Run, script: Sequence[tuple[str, int]], newer: Callable[[], Plan]) -> None:
    """Do what a script says."""
    run.begin_first()
    for what, how_much in script:
        if what == "wait":
            run.go(how_much * MINUTE_MS)
        elif what == "crash":
            run.desk.crash_in = how_much
        elif what == "newer" and SECOND not in run.drivers:
            run.begin(newer())
        elif what in VERBS:
            ask(run, list(run.drivers)[-1], what)
    run.desk.crash_in = None


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(fates_of=boards, gate=st.lists(gates, min_size=1, max_size=3), pace=paces, script=asks)
def test_no_wave_goes_on_behind_a_failed_gate_no_device_has_two_and_all_ends(
    fates_of: list[list[Fate]], gate: list[Gate], pace: Pace, script: list[tuple[str, int]]
) -> None:
    boards = devices_of(fates_of)
    run = Run(boards)
    run.first = plan_for(boards, gate, pace, 2)
    play(run, script, lambda: plan_for(boards, gate, pace, 4))
    run.settle()
    for rollout_id in run.drivers:
        state = run.state(rollout_id)
        assert state.status in ("COMPLETED", "ABORTED", "ROLLED_BACK", "PAUSED"), state.status
        assert state.status != "PAUSED" or state.reasons
        check_waves(run, rollout_id)
    check_what_runs(run, boards)


def check_what_runs(run: Run, boards: Sequence[SimDevice]) -> None:
    """Every device runs what it ran before or what was meant for its own group."""
    for board in boards:
        group = "ab"[int(board.device_id[-1]) % 2]
        assert board.active in ("old", f"{group}-2", f"{group}-4")


def candidate_of(board: SimDevice) -> Candidate:
    group = "ab"[int(board.device_id[-1]) % 2]
    return Candidate(device_id=board.device_id, profile=group, active=board.active, keyids=("key",))


def continuous(plan: Plan, members: AbstractSet[str], until_ms: int) -> Plan:
    """The plan with some of its devices, and open for all others that have one of its groups."""
    waves = [replace(w, devices=tuple(d for d in w.devices if d in members)) for w in plan.waves]
    return replace(
        plan,
        groups=tuple(replace(group, joins=True) for group in plan.groups),
        members=tuple(member for member in plan.members if member.device_id in members),
        waves=(*(wave for wave in waves if wave.devices), Wave(name=JOINERS, devices=())),
        empty_way_back=dict.fromkeys("ab", "back"),
        joins_until_ms=until_ms,
    )


appearing = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 90)),
        st.tuples(st.just("crash"), st.integers(1, 12)),
        st.tuples(st.just("appear"), st.integers(0, 6)),
        st.tuples(st.just("newer"), st.just(0)),
        st.tuples(st.sampled_from(["pause", "accept", "abort", "rollback"]), st.integers(0, 1)),
    ),
    max_size=12,
)


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(
    fates_of=boards,
    parts=st.tuples(*[st.sets(st.integers(0, 6), max_size=4)] * 2),
    open_for=st.tuples(*[st.sampled_from([0, 30, 7 * 1440])] * 2),
    script=appearing,
)
def test_a_device_that_appears_is_in_one_rollout_and_no_older_one_takes_it_from_a_newer(
    fates_of: list[list[Fate]],
    parts: tuple[set[int], set[int]],
    open_for: tuple[int, int],
    script: list[tuple[str, int]],
) -> None:
    """Two continuous rollouts over empty boards, of which each plan knows a part."""
    boards = devices_of(fates_of)
    for board in boards:
        board.active = None
    run = Run(boards)
    plans = []
    for version, part, minutes in zip((2, 4), parts, open_for, strict=True):
        plan = plan_for(boards, [LATER_GATE], Pace(), version)
        until_ms = run.clock.wall_ms() + minutes * MINUTE_MS
        plans.append(continuous(plan, {f"dev-{number}" for number in part}, until_ms))
    run.begin(replace(plans[0], members=refreshed(plans[0], run)))
    there = set[int]()
    for what, how_much in script:
        if what == "newer" and SECOND not in run.drivers:
            run.begin(replace(plans[1], members=refreshed(plans[1], run)))
        elif what == "appear":
            there.add(how_much)
        elif what == "crash":
            run.desk.crash_in = how_much
        elif what in VERBS and how_much < len(run.drivers):
            ask(run, list(run.drivers)[how_much], what)
        run.desk.joining = [candidate_of(boards[n]) for n in sorted(there) if n < len(boards)]
        run.go(how_much * MINUTE_MS if what == "wait" else 0)
    run.desk.crash_in = None
    run.settle()
    for board in boards:
        older, newer = (run.state(i) if i in run.drivers else None for i in (FIRST, SECOND))
        if newer is not None and newer.owns(board.device_id):
            assert older is None or not older.owns(board.device_id)
        group = "ab"[int(board.device_id[-1]) % 2]
        assert board.active in (None, f"{group}-2", f"{group}-4")


def two_continuous(older: Sequence[int], newer: Sequence[int]) -> Run:
    """Two rollouts that take newcomers in, both over three boards that all have appeared."""
    run = Run(devices_of([[Fate()], [Fate()], [Fate("gone", 2)], [Fate()], [Fate()]]))
    boards = list(run.desk.devices.values())
    until_ms = run.clock.wall_ms() + 7 * 1440 * MINUTE_MS
    for version, part in ((2, older), (4, newer)):
        plan = plan_for(boards, [LATER_GATE], Pace(), version)
        run.begin(continuous(plan, {f"dev-{number}" for number in part}, until_ms))
    run.desk.joining = [candidate_of(board) for board in boards]
    return run


def test_an_older_rollout_leaves_a_newer_one_the_device_of_a_later_wave() -> None:
    run = two_continuous(older=[0, 1], newer=[3, 4, 2])
    run.step()
    assert run.state(SECOND).owns("dev-2")
    assert run.state(SECOND).courses["dev-2"].wave != JOINERS
    assert "dev-2" not in run.state(FIRST).courses


def test_a_newer_rollout_takes_an_older_ones_device_when_it_appears() -> None:
    run = two_continuous(older=[0, 1, 2], newer=[3, 4])
    run.step()
    older, newer = run.state(FIRST), run.state(SECOND)
    assert all(newer.owns(f"dev-{number}") for number in range(5))
    assert {course.superseded_by for course in older.courses.values()} == {SECOND}
    superseded = [r.event for r in run.store.events(FIRST) if isinstance(r.event, Superseded)]
    assert [event.joining for event in superseded] == [True]


def refreshed(plan: Plan, run: Run) -> tuple[Member, ...]:
    """The members with what they run now."""
    return tuple(
        replace(member, incumbent=run.desk.devices[member.device_id].active)
        for member in plan.members
    )


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(
    fates_of=boards,
    pace=paces,
    script=asks.map(lambda all_: [one for one in all_ if one[0] != "newer"]),
)
def test_after_a_rollback_everything_that_can_be_reached_runs_what_it_ran_before(
    fates_of: list[list[Fate]], pace: Pace, script: list[tuple[str, int]]
) -> None:
    boards = devices_of(fates_of)
    before = {board.device_id: board.active for board in boards}
    run = Run(boards)
    run.first = plan_for(boards, [LATER_GATE], pace, 2)
    play(run, script, lambda: run.first)
    ask(run, FIRST, "rollback")
    run.settle()
    state = run.state(FIRST)
    assert state.status == "ROLLED_BACK"
    for board in boards:
        course = state.courses[board.device_id]
        told = course.back is not None and not course.is_back  # it is listed as not back
        assert board.active == before[board.device_id] or told, (board, course)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(fates_of=boards, crashes=st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_a_driver_killed_at_any_moment_leaves_no_trace(
    fates_of: list[list[Fate]], crashes: list[int]
) -> None:
    """With and without crashes every device ends the same, by the same deployments."""
    ends = []
    for kills in ([], crashes):
        boards = devices_of(fates_of)
        run = Run(boards)
        run.first = plan_for(boards, [LATER_GATE], Pace(), 2)
        run.begin_first()
        for kill in kills:
            run.desk.crash_in = kill
            run.go(30_000)
        run.desk.crash_in = None
        run.settle()
        state = run.state(FIRST)
        ends.append(
            (
                state.status,
                {name: course.forward.state for name, course in state.courses.items()},
                sorted(run.desk.jobs),
                [board.active for board in boards],
            )
        )
    assert ends[0] == ends[1]


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_verb_asked_twice_is_asked_once(verb: str) -> None:
    boards = devices_of([[Fate()], [Fate("gone", 2)], [Fate("flaky")]])
    run = Run(boards)
    run.first = plan_for(boards, [LATER_GATE], Pace(attempts=1), 2)
    run.begin_first()
    run.go(60 * MINUTE_MS)
    assert run.state(FIRST).status == "PAUSED"  # the flaky one is a third of its wave
    once = [ask_and_list(run, verb) for _ in range(2)]
    if verb == "resume":
        assert once == [[], []]  # it is not as easy as that
    else:
        assert len(once[0]) == 1
        assert once[1] == once[0]


def ask_and_list(run: Run, verb: str) -> list[Event]:
    """Ask; everything that anybody has asked so far, the start left out."""
    ask(run, FIRST, verb)
    events = [record.event for record in run.store.events(FIRST)]
    return [e for e in events if getattr(e, "by", "") and not isinstance(e, Started)]
