"""Stories in which time does something: windows, dates, fresh offers, devices that come later."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.presence import Phase
from edgenas.rollout.decide import Now, decide
from edgenas.rollout.events import Ended, Moved, Offered, RollbackAsked, Started, WaveOpened
from edgenas.rollout.membership import Who
from edgenas.rollout.plan import JOINERS, LATER_GATE, Pace
from edgenas.rollout.state import replay
from edgenas.rollout.verbs import Candidate
from edgenas.rollout.windows import parse_window
from firmware_bridge.wire.messages import Facts
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


def seen(device_id: str, tags: str = "", *, profile: str = "a", active: str = "old") -> Candidate:
    """A device that is heard of for the first time, as the host sees it."""
    facts = Facts(
        profile="a", fingerprint={"board": "Pi 4"}, ram_bytes=1 << 30, disk_free_bytes=1 << 30,
        measure=True, can_verify=True, keyids=("key",),
    )  # fmt: skip
    view = DeviceView(device_id, Phase.ONLINE, False, "1" * 32, None, facts)
    return Candidate(
        device_id=device_id,
        profile=profile,
        active=active,
        keyids=("key",),
        view=view,
        tags=frozenset(tags.split()),
    )


def continuous_run(devices: int, **groups: Who) -> Run:
    """A rollout of one device a group, of profile `a` all of them, that others may join."""
    run = Run([SimDevice(f"dev-{i}", "old") for i in range(devices)])
    members = {name: [f"dev-{i}"] for i, name in enumerate(groups)}
    first = [device for (device,) in members.values()]
    plan = plan_of(
        members,
        [("canaries", first, QUICK), (JOINERS, [], replace(QUICK, soak_s=0.0))],
        joins_until_ms=START_MS + DAY_MS,
    )
    ruled = tuple(replace(g, profile="a", who=groups[g.name]) for g in plan.groups)
    run.first = replace(plan, groups=ruled, saved_groups={"kiosks": "tag:kiosk"})
    run.begin_first()
    run.go(10 * MINUTE_MS)
    return run


def test_a_newcomer_joins_the_group_whose_selector_picks_it() -> None:
    run = continuous_run(
        8,
        rest=Who(profile="a"),
        kiosks=Who(devices=("group:kiosks",)),
        named=Who(devices=("dev-6", "dev-2")),
    )
    run.desk.joining = [
        seen("dev-3"),
        seen("dev-4", "kiosk berlin"),
        seen("dev-5", "kiosk", profile="b"),  # its release would be for another profile
        seen("dev-6", "kiosk"),
        seen("dev-7", active="something else"),
    ]
    run.step()
    run.settle()
    courses = run.state(FIRST).courses
    joined = {name: course.member.group for name, course in courses.items()}
    assert joined == {
        "dev-0": "rest",
        "dev-1": "kiosks",
        "dev-2": "named",
        "dev-3": "rest",
        "dev-4": "kiosks",
        "dev-6": "named",
    }
    assert running(run)[3:7] == ["rest-2", "kiosks-2", "old", "named-2"]


def test_a_newcomer_that_nobody_means_does_not_join_until_it_is_tagged() -> None:
    run = continuous_run(3, kiosks=Who(devices=("tag:kiosk",)), named=Who(devices=("dev-1",)))
    run.desk.joining = [seen("dev-2")]
    run.go(MINUTE_MS)
    assert sorted(run.state(FIRST).courses) == ["dev-0", "dev-1"]
    run.desk.joining = [seen("dev-2", "kiosk")]
    run.step()
    run.settle()
    assert run.state(FIRST).courses["dev-2"].member.group == "kiosks"


def test_a_newcomer_that_two_groups_mean_alike_joins_none() -> None:
    run = continuous_run(3, kiosks=Who(devices=("tag:kiosk",)), berlin=Who(devices=("tag:berlin",)))
    run.desk.joining = [seen("dev-2", "kiosk berlin")]
    run.go(MINUTE_MS)
    assert sorted(run.state(FIRST).courses) == ["dev-0", "dev-1"]


def test_a_snapshot_takes_nobody_in() -> None:
    run = Run([SimDevice(f"dev-{i}", "old") for i in range(2)])
    plan = plan_of({"a": ["dev-0"]}, [("canaries", ["dev-0"], QUICK)])
    run.first = replace(plan, groups=(replace(plan.groups[0], who=Who(devices=("tag:kiosk",))),))
    run.begin_first()
    run.desk.joining = [seen("dev-1", "kiosk")]
    run.go(10 * MINUTE_MS)
    assert running(run) == ["a-2", "old"]


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


def test_a_rollback_ends_though_a_late_word_makes_a_way_back_needless() -> None:
    """The device had never switched: nobody waits for another try of its way back."""
    plan = plan_of({"a": ["dev-0"]}, [("100%", ["dev-0"], QUICK)])
    word = partial(Moved, device="dev-0", attempt=1)
    state = replay(
        plan,
        [
            (event, START_MS)
            for event in (
                Started(by="op"),
                WaveOpened(wave="100%"),
                Offered(device="dev-0", way="forward"),
                word(way="forward", state="TIMED_OUT"),
                RollbackAsked(by="op"),
                Offered(device="dev-0", way="back"),
                word(way="back", state="FAILED_NO_STATE_CHANGE", retryable=True),
                word(way="forward", state="ROLLED_BACK"),
            )
        ],
    )
    (ended,) = decide(state, Now(START_MS + DAY_MS, datetime.fromtimestamp(0, UTC)))
    assert isinstance(ended, Ended)
    assert ended.status == "ROLLED_BACK"
