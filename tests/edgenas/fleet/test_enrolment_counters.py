"""Which counters a board is told at enrolment: its own past, or where its profile stands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgenas.fleet.enrolment_counters import Wished, counters_for
from firmware_bridge.wire.counters import COUNTERS_CAP, SlotCounter


def wished(counter: int, slot: str = "main", profile: str = "pi4") -> Wished:
    return Wished(slot, profile, counter, f"{counter:064x}")


def exactly(counter: int, slot: str = "main") -> SlotCounter:
    return SlotCounter(slot=slot, counter=counter, manifest_sha256=f"{counter:064x}")


def test_a_fleet_without_releases_tells_nothing() -> None:
    assert counters_for([], [], "pi4") == ()
    assert counters_for([], [wished(8, profile="jetson")], "pi4") == ()


def test_a_known_board_is_told_the_newest_that_it_was_ever_wished() -> None:
    own = [wished(2), wished(5), wished(4), wished(2, "ears")]
    assert counters_for(own, [wished(4)], "pi4") == (exactly(2, "ears"), exactly(5))


def test_a_new_board_may_still_get_the_oldest_that_its_kind_is_wished() -> None:
    in_force = [wished(8), wished(12), wished(2, profile="jetson"), wished(6, "ears")]
    assert counters_for([], in_force, "pi4") == (
        SlotCounter(slot="ears", counter=5),
        SlotCounter(slot="main", counter=7),
    )


def test_a_board_that_was_away_is_told_where_its_kind_stands() -> None:
    assert counters_for([wished(2)], [wished(8)], "pi4") == (SlotCounter(slot="main", counter=7),)


SOME = st.lists(
    st.builds(
        wished,
        st.integers(1, 30),
        st.sampled_from("abcde"),
        st.sampled_from(["pi4", "jetson"]),
    ),
    max_size=12,
)


@given(own=SOME, in_force=SOME)
def test_what_may_rightly_come_is_never_barred(own: list[Wished], in_force: list[Wished]) -> None:
    """Whatever is above all of its own past passes if somebody of its profile is wished it now."""
    told = counters_for(own, in_force, "pi4")
    assert len(told) <= COUNTERS_CAP
    for each in told:
        past = [w.counter for w in own if w.slot == each.slot]
        rightly = [w for w in in_force if (w.slot, w.profile) == (each.slot, "pi4")]
        for release in (w for w in rightly if w.counter > max(past, default=0)):
            assert release.counter > each.counter
        assert each.counter >= max(past, default=0)  # nothing older than what it had
