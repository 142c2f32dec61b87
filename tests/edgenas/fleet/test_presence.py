"""The rules of presence: sessions order births and deaths, silence counts, twins are noticed."""

import pytest

from edgenas.fleet.errors import FleetError
from edgenas.fleet.presence import Change, Face, Phase, Presence, due_s, hear, wait
from edgenas.fleet.timers import HostTimers
from firmware_bridge.wire.messages import State
from tests.edgenas.fleet.conftest import WAIT_S, Lab, eventually

TIMERS = HostTimers(death_grace_s=5, presumed_s=60)


def state(
    sess: int, *, online: bool = True, install: str = "i1", reason: str | None = None
) -> State:
    return State(online=online, sess=sess, install_id=install, reason=reason)


def born(sess: int = 10, boot: str = "b1") -> Presence:
    presence, change = hear(Presence(), state(sess), boot, live=True, now_s=100.0)
    assert change is Change.BIRTH
    return presence


def test_a_will_counts_only_after_a_grace_without_a_newer_birth() -> None:
    dying, change = hear(born(), state(10, online=False), None, live=True, now_s=200.0)
    assert (dying.phase, change, due_s(dying, TIMERS)) == (Phase.DYING, Change.DYING, 205.0)
    assert wait(dying, TIMERS, 204.9)[1] is Change.NONE
    assert wait(dying, TIMERS, 205.0)[0].phase is Phase.OFFLINE
    back, change = hear(dying, state(11), "b1", live=True, now_s=203.0)
    assert (back.phase, change) == (Phase.ONLINE, Change.BIRTH)


def test_the_death_of_an_older_session_is_ignored() -> None:
    assert hear(born(11), state(10, online=False), None, live=True, now_s=1.0) == (
        born(11),
        Change.NONE,
    )


def test_an_older_birth_is_ignored() -> None:
    assert hear(born(11), state(10), "b1", live=True, now_s=1.0)[1] is Change.NONE


def test_a_clean_shutdown_needs_no_grace() -> None:
    goodbye = state(10, online=False, reason="shutdown")
    gone, change = hear(born(), goodbye, "b1", live=True, now_s=1.0)
    assert (gone.phase, change) == (Phase.OFFLINE, Change.GONE)


def test_what_the_broker_kept_is_presumed_until_a_live_word() -> None:
    presumed, change = hear(Presence(), state(10), "b1", live=False, now_s=1.0)
    assert (presumed.phase, change) == (Phase.PRESUMED, Change.PRESUMED)
    assert hear(presumed, state(10), "b1", live=True, now_s=2.0)[1] is Change.BIRTH
    assert wait(presumed, TIMERS, 61.0) == (
        hear(presumed, state(10, online=False), None, live=False, now_s=61.0)[0],
        Change.GONE,
    )


def test_a_new_installation_orders_its_sessions_afresh() -> None:
    fresh, change = hear(born(5_000_001), state(1, install="i2"), "b2", live=True, now_s=1.0)
    assert (fresh.install_id, fresh.sess, change) == ("i2", 1, Change.BIRTH)
    stale = state(5_000_001, online=False, install="i1")
    assert hear(fresh, stale, None, live=True, now_s=2.0) == (fresh, Change.NONE)


def test_a_boot_that_was_followed_by_another_does_not_come_back() -> None:
    second, _ = hear(born(10, "b1"), state(11), "b2", live=True, now_s=1.0)
    clone, change = hear(second, state(12), "b1", live=True, now_s=2.0)
    assert (clone.quarantined, change) == (True, Change.QUARANTINED)
    assert hear(second, state(12), "b2", live=True, now_s=2.0)[1] is Change.BIRTH
    healed, change = hear(clone, state(1, install="i2"), "b3", live=True, now_s=3.0)
    assert (healed.quarantined, change) == (False, Change.BIRTH)


def test_timers_must_not_be_negative() -> None:
    with pytest.raises(FleetError, match="step_s"):
        HostTimers(step_s=-1)


def test_two_boards_with_one_identity_get_no_work(lab: Lab) -> None:
    twin, host = lab.twin(), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    first_boot = twin.boot_id
    twin.cut_power()
    twin.boot_id = "a" * 32
    twin.start()
    host.wait_for_devices(["dev-1"], WAIT_S)
    eventually(lambda: len(lab.journal.devices.sightings("dev-1")) == 2)
    twin.cut_power()
    twin.boot_id = first_boot
    twin.start()
    eventually(lambda: host.devices()[0].quarantined)
    host.submit("dev-1", lab.spec())
    assert twin.received_jobs == []
    restarted = lab.restart_host()
    assert restarted.devices()[0].quarantined


def test_unsound_messages_are_dropped_and_counted(lab: Lab) -> None:
    twin, host = lab.twin(), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    assert twin._link is not None
    topics = twin._topics
    twin._link.publish(topics.state("dev-1"), b"{")
    twin._link.publish(topics.facts("dev-1"), b'{"v":1,"kind":"resync","body":{}}')
    twin._link.publish(topics.result("dev-1", "e" * 32), b" " * 70_000)
    eventually(lambda: host.dropped.get("dev-1") == 3)
    assert host.devices()[0].online
    host.submit("dev-1", lab.spec())
    assert host.next_outcome(WAIT_S) is not None


def test_a_host_that_reconnects_asks_everybody_again(lab: Lab) -> None:
    lab.twin()
    host = lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    lab.broker.stop()
    lab.broker.start()
    host.submit("dev-1", lab.spec())
    assert host.next_outcome(WAIT_S) is not None
    host.wait_for_devices(["dev-1"], WAIT_S)


def hardware(sess: int, install: str, name: str) -> State:
    return State(online=True, sess=sess, install_id=install, hardware=name)


def test_a_copied_card_is_noticed_whatever_its_session_number() -> None:
    first, _ = hear(Presence(), hardware(9_000_001, "i1", "mac a"), "b1", live=True, now_s=1.0)
    copy, change = hear(first, hardware(3_000_001, "i1", "mac b"), "b2", live=True, now_s=2.0)
    assert change is Change.BIRTH  # a board that was put back to an older state looks the same
    both, change = hear(copy, hardware(9_000_002, "i1", "mac a"), "b1", live=True, now_s=3.0)
    assert change is Change.QUARANTINED
    assert both.twins == (Face("i1", "b2", "mac b"), Face("i1", "b1", "mac a"))
    again, change = hear(both, hardware(3_000_002, "i1", "mac b"), "b2", live=True, now_s=4.0)
    assert (set(again.twins), change) == (set(both.twins), Change.NONE)


def test_two_installations_under_one_id_are_noticed() -> None:
    first = born(10, "b1")
    other, change = hear(first, state(1, install="i2"), "b2", live=True, now_s=1.0)
    assert change is Change.BIRTH
    both, change = hear(other, state(11, install="i1"), "b1", live=True, now_s=2.0)
    assert change is Change.QUARANTINED
    assert {face.install_id for face in both.twins} == {"i1", "i2"}


def test_a_word_that_the_broker_kept_proves_no_second_board() -> None:
    second, _ = hear(born(10, "b1"), state(11), "b2", live=True, now_s=1.0)
    kept, change = hear(second, state(12), "b1", live=False, now_s=2.0)
    assert (kept.quarantined, change is Change.QUARANTINED) == (False, False)


def test_a_person_ends_the_quarantine(lab: Lab) -> None:
    twin, host = lab.twin(), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    boots = [twin.boot_id, "a" * 32, twin.boot_id]
    for boot in boots[1:]:
        twin.cut_power()
        twin.boot_id = boot
        twin.start()
        eventually(lambda: twin.boot_id in {s.boot_id for s in lab.journal.devices.sightings()})
    eventually(lambda: host.devices()[0].quarantined)
    assert {face.boot_id for face in host.devices()[0].twins} == set(boots)
    host = lab.restart_host()
    assert {face.boot_id for face in host.devices()[0].twins} == set(boots)
    host.settle("dev-1")
    host.wait_for_devices(["dev-1"], WAIT_S)
    assert lab.restart_host().devices()[0].twins == ()
