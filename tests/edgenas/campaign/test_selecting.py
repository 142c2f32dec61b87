"""Which devices a selector means."""

import pytest

from edgenas.campaign.errors import CampaignError
from edgenas.campaign.selecting import select
from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.presence import Phase
from firmware_bridge.wire.messages import Facts


def view(name: str, profile: str | None, runtime: str) -> DeviceView:
    facts = Facts(
        profile=profile,
        fingerprint={"runtime": runtime},
        ram_bytes=1 << 30,
        disk_free_bytes=1 << 30,
        measure=True,
        can_verify=True,
    )
    return DeviceView(name, Phase.ONLINE, False, "1", None, facts)


VIEWS = [
    view("pi4-a", "rpi4", "LiteRT 2.1 XNNPACK"),
    view("pi4-b", "rpi4", "tflite-runtime 2.14"),
    view("pi5", "rpi5", "LiteRT 2.1 XNNPACK"),
    DeviceView("silent", Phase.ONLINE, False, "1", None, None),
]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("all", ["pi4-a", "pi4-b", "pi5", "silent"]),
        ("pi5, pi4-a", ["pi4-a", "pi5"]),
        ("pi4-*", ["pi4-a", "pi4-b"]),
        ("profile=rpi4", ["pi4-a", "pi4-b"]),
        ("profile=rpi*,silent", ["pi4-a", "pi4-b", "pi5", "silent"]),
        ("runtime=litert", ["pi4-a", "pi5"]),
    ],
)
def test_who_is_meant(text: str, names: list[str]) -> None:
    assert [one.device_id for one in select(text, VIEWS)] == names


@pytest.mark.parametrize("text", ["", "pi9", "profile=", "profile=jetson", "colour=red", "pi5,,"])
def test_what_means_nobody_is_refused(text: str) -> None:
    with pytest.raises(CampaignError, match="--devices"):
        select(text, VIEWS)


def test_the_profile_may_be_told_by_somebody_else() -> None:
    (found,) = select("profile=mine", VIEWS, lambda one: "mine" if one.device_id == "pi5" else "")
    assert found.device_id == "pi5"
