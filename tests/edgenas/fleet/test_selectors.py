"""What a selector picks, what it refuses, and how labels are kept."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.presence import Phase
from edgenas.fleet.selectors import Labels, SelectorError, check_selector, check_tag, select
from firmware_bridge.wire.errors import BridgeError
from firmware_bridge.wire.messages import Facts
from tests.databases import place

GIB = 2**30


def view(device_id: str, facts: Mapping[str, object] | None, ram_bytes: int = GIB) -> DeviceView:
    told = None
    if facts is not None:
        told = Facts(
            profile=str(facts.get("profile", "generic")),
            fingerprint=facts,
            ram_bytes=ram_bytes,
            disk_free_bytes=8 * GIB,
            measure=bool(facts.get("measure", True)),
            can_verify=True,
        )
    return DeviceView(device_id, Phase.UNKNOWN, False, None, None, told)


PI4 = {"profile": "raspberry-pi-4", "os": "debian 12", "runtime": "ai-edge-litert 2.1.2 (xnnpack)"}
PI5 = {"profile": "raspberry-pi-5", "os": "debian 13", "runtime": "onnxruntime 1.26.0"}
NANO = {"profile": "jetson-nano", "os": "Ubuntu 22.04", "runtime": None, "measure": False}
FLEET = (
    view("pi4-hall", PI4, 4 * GIB),
    view("pi4-roof", PI4, GIB),
    view("pi5-lab", PI5, 8 * GIB),
    view("nano-1", NANO, 2 * GIB),
    view("silent", None),
)
LABELS = Labels(
    tags={"pi4-hall": frozenset({"lab", "north"}), "pi5-lab": frozenset({"lab"})},
    groups={"kiosks": "profile=raspberry-pi-* tag:lab", "big": "group:kiosks memory>4GiB"},
)


def picked(text: str, labels: Labels = LABELS) -> list[str]:
    return [found.device_id for found in select(text, FLEET, labels)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", ["pi4-hall", "pi4-roof", "pi5-lab", "nano-1", "silent"]),
        ("pi4-*", ["pi4-hall", "pi4-roof"]),
        ("nano-1", ["nano-1"]),
        ("id=nano-1,silent", ["nano-1", "silent"]),
        ("tag:lab", ["pi4-hall", "pi5-lab"]),
        ("tag:lab tag:n*", ["pi4-hall"]),
        ("!tag:lab", ["pi4-roof", "nano-1", "silent"]),
        ("profile=raspberry-pi-4", ["pi4-hall", "pi4-roof"]),
        ("profile=raspberry-pi-4,jetson-*", ["pi4-hall", "pi4-roof", "nano-1"]),
        ("profile!=raspberry-pi-4", ["pi5-lab", "nano-1", "silent"]),
        ("runtime=ai-edge-litert", ["pi4-hall", "pi4-roof"]),
        ("runtime=AI-EDGE-*", ["pi4-hall", "pi4-roof"]),
        ("os=ubuntu", ["nano-1"]),
        ("'os=debian 12'", ["pi4-hall", "pi4-roof"]),
        ("memory>=4GiB", ["pi4-hall", "pi5-lab"]),
        ("memory<2gib", ["pi4-roof"]),
        ("memory=2GiB", ["nano-1"]),
        ("memory>1.5GB memory<=4GiB", ["pi4-hall", "nano-1"]),
        ("!memory>=2GiB", ["pi4-roof", "silent"]),
        ("measures=no", ["nano-1"]),
        ("group:kiosks", ["pi4-hall", "pi5-lab"]),
        ("group:big", ["pi5-lab"]),
        ("!!tag:lab", ["pi4-hall", "pi5-lab"]),
        ("!" * 1501 + "tag:lab", ["pi4-roof", "nano-1", "silent"]),
        ("* !group:kiosks", ["pi4-roof", "nano-1", "silent"]),
    ],
)
def test_what_is_picked(text: str, expected: list[str]) -> None:
    assert picked(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "picks every device"),
        ("   ", "picks every device"),
        ("colour=red", "one of the facts arch, board"),
        ("memory>=lots", "a size such as"),
        ("memory>=1parsec", "a size such as"),
        ("os>debian", "expected = or != for os"),
        ("profile=", "a value after ="),
        ("tag:", "a name after tag:"),
        ("group:none", "one of the groups (big, kiosks)"),
        ("'unfinished", "quotes that end"),
        ("A/B", "expected a term"),
        ("x " * 65, "at most 64 terms"),
        ("x" * 2001, "at most 2000"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(SelectorError) as refused:
        check_selector(text, LABELS)
    assert said in str(refused.value)


def test_groups_cannot_contain_themselves() -> None:
    round_trip = Labels(groups={"a": "group:b", "b": "*  group:a"})
    with pytest.raises(SelectorError, match="a -> b -> a"):
        check_selector("group:a", round_trip)


@given(st.text(max_size=60))
def test_any_text_picks_something_or_is_refused_in_words(text: str) -> None:
    refused = ""
    try:
        found = picked(text)
    except SelectorError as error:
        refused, found = str(error), []
    assert "expected" in refused or set(found) <= {each.device_id for each in FLEET}


@given(st.sampled_from(["tag:lab", "profile=raspberry-pi-4", "memory>=2GiB", "os!=debian", "pi*"]))
def test_a_term_and_its_opposite_share_the_fleet(term: str) -> None:
    both = [*picked(term), *picked(f"!{term}")]
    assert sorted(both) == sorted(each.device_id for each in FLEET)
    assert picked(f"{term} !{term}") == []


def test_labels_outlive_the_process_and_every_change_is_audited(tmp_path: Path) -> None:
    where = place(tmp_path / "fleet.sqlite")
    with closing(FleetJournal(where, "anna@desk")) as journal:
        labels = journal.labels
        assert labels.tag(["pi4-1", "pi4-2"], ["lab", "north"], 1, present=True) == [
            *("pi4-1", "pi4-2"),
        ]
        assert labels.tag(["pi4-1"], ["lab"], 2, present=True) == []
        assert labels.tag(["pi4-1", "pi4-9"], ["lab"], 3, present=False) == ["pi4-1"]
        assert labels.set_group("kiosks", "tag:lab", 4)
        assert not labels.set_group("kiosks", "tag:lab", 5)
        assert labels.set_group("gone", "*", 6)
        assert labels.set_group("gone", None, 7)
    with closing(FleetJournal(where)) as journal:
        found = journal.labels.read()
        assert found.tags == {"pi4-1": {"north"}, "pi4-2": {"lab", "north"}}
        assert found.groups == {"kiosks": "tag:lab"}
        audited = [(e.who, e.action, e.subject) for e in journal.audit.entries()]
    assert [entry[1:] for entry in audited] == [
        *(("device.tagged", "pi4-1"), ("device.tagged", "pi4-2"), ("device.untagged", "pi4-1")),
        *(("group.saved", "kiosks"), ("group.saved", "gone"), ("group.removed", "gone")),
    ]
    assert {entry[0] for entry in audited} == {"anna@desk"}


def test_a_tag_is_a_plain_name() -> None:
    assert check_tag("floor-2") == "floor-2"
    for text in ("", "A", "a b", "x" * 41, "tag:x"):
        with pytest.raises(BridgeError):
            check_tag(text)
