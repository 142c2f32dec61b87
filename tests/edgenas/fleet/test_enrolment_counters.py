"""Which counters a board is told at enrolment: its own past, or where its profile stands.

That the real daemon then refuses what is older is in test_enrolled_daemon.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from edgenas.fleet.deployment_log import WishRow
from edgenas.fleet.enrolment_counters import Wished, counters_for
from edgenas.fleet.releases import ReleaseSpec, build_release
from firmware_bridge.enroll_online import join
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.counters import COUNTERS_CAP, SlotCounter
from firmware_bridge.wire.messages import Wish
from firmware_bridge.wire.release import PAYLOAD_TYPE, ReleaseManifest, Role, Target
from firmware_bridge.wire.signing import SigningKey
from firmware_bridge.wire.values import BlobRef
from tests.edgenas.fleet.office import Office, refusal, silent


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


def test_a_board_is_told_how_far_releases_have_gone(office: Office) -> None:
    """The same board with a new card is told its own past, another one where its kind stands."""
    first = join(office.invite(), office.board("pi4-1", "serial-1"), silent)
    assert first.counters == ()
    key = SigningKey.generate()
    envelopes = [key.sign(release_manifest(counter).to_bytes(), PAYLOAD_TYPE) for counter in (2, 8)]
    for rev, envelope in enumerate([*envelopes, None], start=1):
        deployment = None if envelope is None else f"{rev:032x}"
        wish = Wish(rev=rev, deployment=deployment, release=envelope, hold=False)
        office.journal.deployments.add_wish(WishRow("pi4-1", "main", rev, encode(wish)), rev)
    wish = Wish(rev=1, deployment="f" * 32, release=envelopes[1], hold=False)
    office.journal.deployments.add_wish(WishRow("pi4-7", "main", 1, encode(wish)), 1)
    copy = office.board("pi4-1", "serial-1", key="another card")
    token = office.invite(uses=2)
    assert "with another key" in refusal(token, copy)
    office.desk.settle("pi4-1", accept=True, note="new card")
    digest = hashlib.sha256(release_manifest(8).to_bytes()).hexdigest()
    own = SlotCounter(slot="main", counter=8, manifest_sha256=digest)
    assert join(token, copy, silent).counters == (own,)
    other = join(token, office.board("pi4-2", "serial-2"), silent)
    assert other.counters == (SlotCounter(slot="main", counter=7),)


def release_manifest(counter: int) -> ReleaseManifest:
    files: dict[Role, BlobRef] = {"model": BlobRef("ab" * 32, 1000, 65_536)}
    spec = ReleaseSpec(fleet="lab", target=Target("raspberry-pi-4"), files=files)
    return build_release(spec, counter=counter, now=datetime(2026, 1, 31, tzinfo=UTC))
