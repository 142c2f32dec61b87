"""Who gets whose pick in a rollout, and who is left out for which reason."""

from dataclasses import replace
from typing import Any

import pytest

from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import Picked
from edgenas.campaign.rolling import (
    by_release,
    choose,
    default_rules,
    known_peaks,
    parcel_names,
)
from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.presence import Phase
from edgenas.fleet.profiles import known_profiles
from edgenas.fleet.selectors import Labels
from edgenas.rollout.errors import PlanError
from edgenas.rollout.events import Moved, Offered
from edgenas.rollout.evidence import Evidence
from edgenas.rollout.membership import Who
from edgenas.rollout.plan import LATER_GATE, Selection
from edgenas.rollout.plan_file import GroupRule, parse_recipe
from edgenas.rollout.selecting import Known, groups_picked, waves_picked
from edgenas.rollout.store import MemoryStore
from edgenas.rollout.waves import lay_waves
from firmware_bridge.wire.messages import Facts
from tests.edgenas.rollout.sim import plan_of

KEY = "k" * 64
PROFILES = known_profiles()


def facts(profile: str, **changes: Any) -> Facts:
    known = Facts(
        profile=profile,
        fingerprint={"runtime": "ai_edge_litert 2.1.2 xnnpack"},
        ram_bytes=1 << 30,
        disk_free_bytes=1 << 30,
        measure=True,
        can_verify=True,
        keyids=(KEY,),
    )
    return replace(known, **changes)


def view(device_id: str, profile: str = "raspberry-pi-4", **changes: Any) -> DeviceView:
    known = facts(profile, **changes)
    return DeviceView(device_id, Phase.ONLINE, False, "1" * 32, None, known)


def fleet(*views: DeviceView, **tags: list[str]) -> Known:
    """These devices, with tags by their ids; a hyphen is written as an underscore."""
    tagged = {name.replace("_", "-"): frozenset(of_it) for name, of_it in tags.items()}
    return Known(views, Labels(tagged, {"kiosks": "tag:kiosk"}), PROFILES)


def picked(*devices: str) -> dict[str, Picked]:
    return {device: Picked(device, None, "", "", ()) for device in devices}


def setups(**profiles: str) -> dict[str, DeviceSetup]:
    return {name: DeviceSetup(name, profile=profile) for name, profile in profiles.items()}


def test_a_profile_gets_the_pick_of_its_searched_device() -> None:
    known = setups(lab1="pi4", lab2="nuc", lab3="nuc", lab4="unknown")
    rules = default_rules(picked(*known), known)
    assert rules == (
        GroupRule(name="pi4", pick="lab1", profile="pi4"),
        GroupRule(name="lab2", pick="lab2", devices=("lab2",)),
        GroupRule(name="lab3", pick="lab3", devices=("lab3",)),
        GroupRule(name="lab4", pick="lab4", devices=("lab4",)),  # unknown boards are not alike
    )


def test_every_device_has_a_group_or_a_reason() -> None:
    rules = [
        GroupRule(name="pi", pick="lab", profile="raspberry-pi-4"),
        GroupRule(name="shop", pick="lab", devices=("shop-1", "ghost")),
    ]
    views = [
        view("lab"),
        view("shop-1"),
        view("old-key", keyids=("another",)),
        view("no-crypto", can_verify=False),
        view("jetson", "jetson-orin-nano"),
        view("onnx-only", fingerprint={"runtime": "onnxruntime 1.20"}),
        replace(view("silent"), facts=None),
        replace(view("cloned"), quarantined=True),
    ]
    formats = {"pi": "tflite", "shop": "tflite"}
    chosen, left = choose(fleet(*views), rules, KEY, formats)
    assert {choice.view.device_id: choice.rule.name for choice in chosen} == {
        "lab": "pi",
        "shop-1": "shop",
    }
    why = {each.device_id: each.why for each in left}
    assert sorted(why) == [
        *("cloned", "ghost", "jetson", "no-crypto", "old-key", "onnx-only", "silent")
    ]
    assert "no pick for profile jetson" in why["jetson"]
    assert "key" in why["old-key"]
    assert "onnx" in why["onnx-only"]
    assert why["ghost"] == "never seen"


def test_a_device_in_two_groups_is_in_none() -> None:
    rules = [GroupRule(name=name, pick="lab", devices=("lab",)) for name in ("a", "b")]
    chosen, left = choose(fleet(view("lab")), rules, KEY, {"a": "tflite", "b": "tflite"})
    assert not chosen
    assert left[0].why == "in several groups: a, b"


def test_who_is_named_goes_before_who_is_selected_and_both_before_a_profile() -> None:
    rules = [
        GroupRule(name="rest", pick="lab", profile="raspberry-pi-4"),
        GroupRule(name="kiosks", pick="lab", devices=("group:kiosks",)),
        GroupRule(name="one", pick="lab", devices=("pi-3",)),
    ]
    kiosk = ["kiosk"]
    known = fleet(*(view(f"pi-{i}") for i in range(4)), pi_2=kiosk, pi_3=kiosk)
    chosen, left = choose(known, rules, KEY, {rule.name: "tflite" for rule in rules})
    found = {choice.view.device_id: choice.rule.name for choice in chosen}
    assert found == {"pi-0": "rest", "pi-1": "rest", "pi-2": "kiosks", "pi-3": "one"}
    assert not left
    also = GroupRule(name="big", pick="lab", devices=("memory>=1GiB tag:kiosk",))
    chosen, left = choose(
        known, [*rules, also], KEY, dict.fromkeys(("rest", "kiosks", "one"), "tflite")
    )
    assert [(each.device_id, each.why) for each in left] == [
        ("pi-2", "in several groups: kiosks, big")
    ]


def test_what_selectors_pick_is_looked_up_once_and_noted() -> None:
    known = fleet(view("pi-1"), view("pi-2"), view("nuc-1", "generic"), pi_1=["lab"], nuc_1=["lab"])
    who = {"all": Who(devices=("pi-*", "nuc-1")), "pi": Who(profile="raspberry-pi-4")}
    assert groups_picked(who, known) == (
        Selection(owner="group all", selector="pi-*", devices=("pi-1", "pi-2")),
    )
    asked = parse_recipe(
        {"wave": [{"canaries": ["tag:lab", "pi-2", "pi-*"]}, {"devices": "nuc-*"}, {"percent": 9}]}
    ).waves
    rules, noted = waves_picked(asked, known, {"pi-1", "nuc-1"})
    assert [rule.canaries for rule in rules] == [("pi-1", "nuc-1", "pi-2"), ("nuc-1",), None]
    assert [rule.name for rule in rules] == ["canaries", "nuc-*", "9%"]
    assert [(each.owner, each.devices) for each in noted] == [
        ("wave canaries", ("pi-1", "nuc-1")),
        ("wave canaries", ("pi-1", "pi-2")),
        ("wave nuc-*", ("nuc-1",)),
    ]


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        (
            "tag:ghost",
            r"group all: expected devices that 'tag:ghost' picks, got none of the 1 that",
        ),
        ("group:ghost", "group all: group:ghost: expected one of the groups"),
        ("colour=red", "group all: colour=red: expected one of the facts"),
    ],
)
def test_a_selector_that_picks_nobody_is_an_error(selector: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        groups_picked({"all": Who(devices=("pi-1", selector))}, fleet(view("pi-1")))


def test_a_wave_of_none_who_take_part_is_an_error() -> None:
    (rule,) = parse_recipe({"wave": [{"devices": "pi-*"}]}).waves
    with pytest.raises(PlanError, match=r"wave pi-\*: expected devices that take part.*picks pi-1"):
        waves_picked([rule], fleet(view("pi-1")), {"other"})


def test_a_group_of_several_profiles_has_a_release_for_each() -> None:
    rules = [GroupRule(name="shop", pick="lab", devices=("one", "two"))]
    views = [view("one"), view("two", "generic")]
    chosen, _ = choose(fleet(*views), rules, KEY, {"shop": "tflite"})
    assert sorted(parcel_names(chosen).values()) == ["shop/generic", "shop/raspberry-pi-4"]
    assert list(parcel_names(chosen[:1]).values()) == ["shop"]


def test_a_wave_of_a_group_takes_all_its_profiles() -> None:
    rules = [
        GroupRule(name="shop", pick="lab", devices=("one", "two")),
        GroupRule(name="desk", pick="lab", devices=("three",)),
    ]
    views = [view("one"), view("two", "generic"), view("three")]
    chosen, _ = choose(fleet(*views), rules, KEY, {"shop": "tflite", "desk": "tflite"})
    names = parcel_names(chosen)
    group_of = {each.view.device_id: names[each.rule.name, each.profile] for each in chosen}
    waves = by_release(
        parse_recipe({"wave": [{"groups": ["shop"]}, {"percent": 100}]}).waves, names
    )
    laid = lay_waves(group_of, waves, salt="x")
    assert [(wave.name, set(wave.devices)) for wave in laid] == [
        ("shop", {"one", "two"}),
        ("100%", {"three"}),
    ]


def test_a_wave_of_a_group_that_does_not_take_part_is_an_error() -> None:
    waves = by_release(
        parse_recipe({"wave": [{"groups": ["shoop"]}]}).waves, {("shop", "x"): "shop"}
    )
    with pytest.raises(PlanError, match="expected a group that takes part, got shoop; known: shop"):
        lay_waves({"one": "shop"}, waves, salt="x")


@pytest.mark.parametrize(("known", "found"), [(True, {("dev-0", "a-2"): 7}), (False, {})])
def test_what_a_model_took_on_a_device_is_remembered(
    known: bool, found: dict[tuple[str, str], int]
) -> None:
    store = MemoryStore()
    plan = plan_of({"a": ["dev-0", "dev-1"]}, [("w", ["dev-0", "dev-1"], LATER_GATE)])
    store.add(plan)
    evidence = Evidence(verdict="ok", known=known, peak_bytes=7)
    moved = Moved(device="dev-0", way="forward", attempt=1, state="SUCCEEDED", evidence=evidence)
    store.append(plan.rollout_id, 0, [Offered(device="dev-0", way="forward"), moved], 1)
    assert known_peaks(store) == found
