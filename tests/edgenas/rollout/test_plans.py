"""Laying waves, maintenance windows, plan files, and plans that hold together."""

import json
from collections import Counter
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenas.rollout.errors import PlanError
from edgenas.rollout.events import checked_plan_text, plan_text, read_plan
from edgenas.rollout.membership import Who
from edgenas.rollout.plan import CANARY_GATE, JOINERS, LATER_GATE, Gate, Pace, Selection
from edgenas.rollout.plan_file import GroupRule, Recipe, parse_recipe, read_recipe
from edgenas.rollout.waves import DEFAULT_RULES, WaveRule, lay_waves, mixed_order
from edgenas.rollout.windows import Window, is_open, parse_window
from tests.edgenas.rollout.sim import plan_of

SALT = "1" * 32


def fleet(**sizes: int) -> dict[str, str]:
    return {f"{group}-{i}": group for group, size in sizes.items() for i in range(size)}


def test_canaries_then_five_twenty_five_and_all_percent() -> None:
    waves = lay_waves(fleet(pi=60, nuc=40), salt=SALT)
    assert [(wave.name, len(wave.devices)) for wave in waves] == [
        ("canaries", 2),
        ("5%", 3),
        ("25%", 20),
        ("100%", 75),
    ]
    assert {device.partition("-")[0] for device in waves[0].devices} == {"pi", "nuc"}
    assert [wave.gate for wave in waves] == [CANARY_GATE] + [LATER_GATE] * 3


def test_every_wave_holds_a_share_of_every_group() -> None:
    waves = lay_waves(fleet(pi=900, nuc=100), salt=SALT)
    for wave in waves[1:]:
        share = Counter(device.partition("-")[0] for device in wave.devices)
        assert share["nuc"] == pytest.approx(len(wave.devices) / 10, abs=1.01)


@given(
    sizes=st.dictionaries(st.sampled_from("abcde"), st.integers(1, 40), max_size=4),
    percents=st.lists(st.integers(1, 100), max_size=5),
    salt=st.text("0123456789abcdef", min_size=1),
)
def test_every_device_is_in_one_wave_and_no_wave_is_empty(
    sizes: dict[str, int], percents: list[int], salt: str
) -> None:
    devices = fleet(**sizes)
    rules = [WaveRule(canaries=()), *(WaveRule(percent=percent) for percent in percents)]
    waves = lay_waves(devices, rules, salt=salt)
    laid = [device for wave in waves for device in wave.devices]
    assert sorted(laid) == sorted(devices)
    assert all(wave.devices for wave in waves)
    assert len({wave.name for wave in waves}) == len(waves)
    assert sorted(mixed_order(devices, salt)) == sorted(devices)


def test_canaries_are_online_and_not_always_the_same() -> None:
    devices = fleet(pi=50)
    firsts = {lay_waves(devices, salt=str(i))[0].devices for i in range(20)}
    assert len(firsts) > 5
    (wave, *_) = lay_waves(devices, salt=SALT, online=["pi-7"])
    assert wave.devices == ("pi-7",)
    named = lay_waves(devices, (WaveRule(canaries=("pi-3", "pi-4")),), salt=SALT)
    assert set(named[0].devices) == {"pi-3", "pi-4"}
    assert len(named[1].devices) == 48


def test_whole_groups_one_after_the_other() -> None:
    rules = (WaveRule(groups=("lab",)), WaveRule(groups=("shop", "home")))
    waves = lay_waves(fleet(home=3, lab=2, shop=4), rules, salt=SALT)
    assert [(wave.name, len(wave.devices)) for wave in waves] == [("lab", 2), ("shop+home", 7)]
    with pytest.raises(PlanError, match="known: home, lab, shop"):
        lay_waves(fleet(home=3, lab=2, shop=4), (WaveRule(groups=("cellar",)),), salt=SALT)
    with pytest.raises(PlanError, match="takes part, got ghost"):
        lay_waves(fleet(home=1), (WaveRule(canaries=("ghost",)),), salt=SALT)


def test_a_continuous_rollout_ends_in_a_wave_for_those_who_join() -> None:
    waves = lay_waves(fleet(pi=2), salt=SALT, continuous=True)
    assert (waves[-1].name, waves[-1].devices) == (JOINERS, ())
    assert lay_waves({}, salt=SALT, continuous=True)[0].name == JOINERS


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_windows() -> None:
    night = parse_window("22:00-04:30", ["fri"], "UTC")
    assert night.contains(at("2026-11-20T22:00"))  # a Friday
    assert night.contains(at("2026-11-21T04:29"))
    assert not night.contains(at("2026-11-21T04:30"))
    assert not night.contains(at("2026-11-20T04:00"))  # began on a Thursday
    assert not night.contains(at("2026-11-21T23:00"))
    lunch = parse_window("12:00-13:00", zone="Europe/Berlin")
    assert lunch.contains(at("2026-07-01T10:30"))  # summer time
    assert lunch.contains(at("2026-12-01T11:30"))
    assert is_open([], at("2026-12-01T00:00"))
    assert is_open([night, lunch], at("2026-12-01T11:30"))
    assert not is_open([night, lunch], at("2026-12-01T12:30"))


@pytest.mark.parametrize(
    "text", ["", "22:00", "22-23", "25:00-26:00", "10:60-11:00", "10:00-10:00"]
)
def test_windows_that_are_none(text: str) -> None:
    with pytest.raises(PlanError, match="expected"):
        parse_window(text)
    with pytest.raises(PlanError, match="time zone"):
        Window(begins_min=0, ends_min=1, zone="Moon/Crater")
    with pytest.raises(PlanError, match="days"):
        Window(begins_min=0, ends_min=1, days=("someday",))


FILE = """
note = "the new one"
continuous_days = 30

[pace]
max_in_flight = 4
max_per_minute = "off"

[[window]]
time = "22:00-04:30"
days = ["sat", "sun"]
zone = "Europe/Berlin"

[[group]]
name = "kiosks"
pick = "pi4-lab"
profile = "pi4"
ratio_max = 1.2

[[wave]]
canaries = ["pi4-1"]
soak_s = 60

[[wave]]
percent = 100
error_abs = 5
perf_min = "all"
"""


def test_a_plan_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(FILE)
    recipe = read_recipe(path)
    assert recipe.groups == (
        GroupRule(name="kiosks", pick="pi4-lab", profile="pi4", ratio_max=1.2),
    )
    assert recipe.waves[0] == WaveRule(canaries=("pi4-1",), gate=replace(CANARY_GATE, soak_s=60))
    assert recipe.waves[1].gate == Gate(error_abs=5, perf_min=None)
    assert recipe.pace.max_per_minute is None
    assert recipe.pace.windows[0].zone == "Europe/Berlin"
    assert (recipe.continuous_days, recipe.note) == (30, "the new one")
    assert read_recipe(None) == Recipe(waves=DEFAULT_RULES, pace=Pace())


RULE = "[[group]]\nname = 'a'\npick = 'b'\nprofile = 'c'\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("waves = 3", "expected only note"),
        ("[[wave]]\npercent = 5\nsoak = 3", "got also soak"),
        ("[[wave]]\npercent = 0", "1 to 100"),
        ("[[wave]]\nsoak_s = 1", "one of canaries, devices, groups, percent"),
        ("[[group]]\nname = 'a'", "expected a pick"),
        ("[[group]]\nname = 'a'\npick = 'b'", "one of profile and devices"),
        ("[[group]]\nname = 'a'\npick = 'b'\ndevices = []", "group a: devices: expected an id"),
        ("[[group]]\nname = 'a'\npick = 'b'\ndevices = 3", "a selector such as"),
        ("[[group]]\nname = 'a'\npick = 'b'\nprofile = 'c'\n" * 2, "got a more often"),
        ("[[wave]]\ndevices = ['a', 1]", "a selector such as"),
        ("[[wave]]\ndevices = []", "an id or a selector, got none"),
        ("[[wave]]\ndevices = '*'\npercent = 3", "one of canaries, devices, groups, percent"),
        ("group = 3", "[[group]]"),
        ("[pace]\nmax_in_flight = 0", "at least 1"),
        ("[pace]\nmax_in_flight = 'many'", "pace.max_in_flight: expected a whole number"),
        ("[pace]\nmax_in_flight = 2.5", "pace.max_in_flight: expected a whole number"),
        ("[pace]\nmax_in_flight = 'off'", "max_in_flight: expected a whole number"),
        ("[pace]\npatience_s = inf", "pace.patience_s: expected a finite number, got inf"),
        ("[pace]\nattempts = [1]", "pace.attempts: expected a whole number"),
        ("pace = 3", "beginning with [pace]"),
        ("[[wave]]\npercent = 25.5", "wave.percent: expected a whole number"),
        ("[[wave]]\npercent = true", "wave.percent: expected a whole number"),
        ("[[wave]]\npercent = 5\nmin_finished = 2.5", "wave.min_finished: expected a whole"),
        ("[[wave]]\npercent = 5\nmin_finished = 'off'", "wave.min_finished: expected a whole"),
        ("[[wave]]\npercent = 5\nsoak_s = inf", "wave.soak_s: expected a finite number"),
        ("[[wave]]\npercent = 5\nsoak_s = '60'", "wave.soak_s: expected a finite number"),
        ("[[wave]]\ngroups = 'kiosks'", "wave.groups: expected a list"),
        (RULE + "ratio_max = '1.2'", "group.ratio_max: expected a finite number, got '1.2'"),
        (RULE + "ratio_max = nan", "group.ratio_max: expected a finite number"),
        ("[[window]]\ntime = '22:00-04:30'\ndays = 3", "window.days: expected a list"),
        ("[[window]]\ntime = '22:00-04:30'\ndays = 'sat'", "window.days: expected a list"),
        ("continuous_days = true", "expected a number of days"),
        ("continuous_days = '3'", "expected a number of days"),
        ("continuous_days = inf", "at most 36500"),
        ("[[window]]\ntime = 'noon'", "22:00-04:30"),
        ("continuous_days = 0", "more than 0"),
        ("note = ", "expected TOML such as `percent = 25`"),
    ],
)
def test_plan_files_that_are_wrong_say_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(PlanError) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


toml = st.one_of(
    *(st.integers(-2, 200), st.floats(), st.booleans(), st.just(10**30), st.just("off")),
    *(st.text(max_size=3), st.lists(st.integers(0, 3), max_size=2), st.just({"a": 1})),
)
places = st.sampled_from(
    [("pace", name.name) for name in fields(Pace) if name.name != "windows"]
    + [("wave", name) for name in ("percent", "canaries", "groups", "devices")]
    + [("gate", name.name) for name in fields(Gate)]
    + [("group", name.name) for name in fields(GroupRule)]
    + [("window", name) for name in ("time", "days", "zone")]
    + [("", "continuous_days"), ("", "note")]
)


@given(place=places, value=toml)
def test_a_plan_file_is_refused_or_its_plan_can_be_read_back(
    place: tuple[str, str], value: object
) -> None:
    where, name = place
    group: dict[str, object] = {"name": "a", "pick": "b", "profile": "c"}
    window: dict[str, object] = {"time": "22:00-04:30"}
    tables: dict[str, dict[str, object]] = {
        "": {name: value},
        "pace": {"pace": {name: value}},
        "wave": {"wave": [{name: value}]},
        "gate": {"wave": [{"percent": 5, name: value}]},
        "group": {"group": [{**group, name: value}]},
        "window": {"window": [{**window, name: value}]},
    }
    try:
        recipe = parse_recipe(tables[where])
    except PlanError:
        return
    plan = plan_of({"a": ["dev-0"]}, [("w", ["dev-0"], recipe.waves[0].gate or LATER_GATE)])
    bounds = [replace(each.bounds, ratio_max=rule.ratio_max) for each in plan.groups
              for rule in recipe.groups if rule.ratio_max is not None]  # fmt: skip
    groups = tuple(replace(plan.groups[0], bounds=bound) for bound in bounds) or plan.groups
    kept = replace(plan, pace=recipe.pace, note=recipe.note, groups=groups)
    assert read_plan(checked_plan_text(kept)) == kept


def test_a_selector_may_stand_wherever_devices_do() -> None:
    recipe = parse_recipe(
        {
            "group": [{"name": "kiosks", "pick": "lab", "devices": "group:kiosks memory>=1GiB"}],
            "wave": [
                {"canaries": "tag:lab"},
                {"devices": ["tag:berlin", "dev-1"], "soak_s": 60},
                {"devices": "tag:paris"},
            ],
        }
    )
    assert recipe.groups[0].who == Who(devices=("group:kiosks memory>=1GiB",))
    assert [(rule.name, rule.canaries) for rule in recipe.waves] == [
        ("canaries", ("tag:lab",)),
        ("tag:berlin+dev-1", ("tag:berlin", "dev-1")),
        ("tag:paris", ("tag:paris",)),
    ]
    assert recipe.waves[0].gate == CANARY_GATE
    assert recipe.waves[1].gate == replace(LATER_GATE, soak_s=60)


def test_a_plan_survives_its_json() -> None:
    plan = plan_of({"a": ["dev-0"], "b": ["dev-1"]}, [("w", ["dev-0", "dev-1"], CANARY_GATE)])
    assert read_plan(plan_text(plan)) == plan
    who = Who(devices=("tag:lab", "dev-0"))
    chosen = replace(
        plan,
        groups=(replace(plan.groups[0], who=who), replace(plan.groups[1], who=Who(profile="b"))),
        selections=(Selection(owner="group a", selector="tag:lab", devices=("dev-0",)),),
        saved_groups={"lab": "tag:lab"},
    )
    assert read_plan(plan_text(chosen)) == chosen
    older = json.loads(plan_text(plan))  # as it was written before plans knew selectors
    for name in ("selections", "saved_groups"):
        del older[name]
    assert all("who" not in group for group in older["groups"])
    assert read_plan(json.dumps(older)) == plan


def test_plans_that_do_not_hold_together() -> None:
    plan = plan_of({"a": ["dev-0"]}, [("w", ["dev-0"], LATER_GATE)])
    for wrong, says in (
        ({"waves": ()}, "in one wave"),
        ({"waves": plan.waves * 2}, "each wave once"),
        ({"members": plan.members * 2}, "each device once"),
        ({"groups": ()}, "signed way back"),
        ({"ways_back": {}}, "signed way back"),
        ({"joins_until_ms": 1}, JOINERS),
    ):
        with pytest.raises(PlanError, match=says):
            replace(plan, **wrong)
