"""Going back: what is signed together with a release, kept, found and offered without a key."""

from collections.abc import Callable

import pytest

from edgenas.fleet.errors import ReleaseError
from edgenas.fleet.host import FleetHost
from edgenas.fleet.releases import Incumbent, read_unverified, sign_release, sign_with_ways_back
from firmware_bridge.wire.release import ReleaseManifest
from tests.edgenas.fleet.conftest import WAIT_S, Lab, eventually
from tests.edgenas.fleet.device_twin import DeviceTwin
from tests.edgenas.fleet.test_shipping import KEY, NOW, manifest_of, trusting_twin

Ship = Callable[[int], ReleaseManifest]


def shipped(lab: Lab, host: FleetHost, seed: int) -> ReleaseManifest:
    """Ship model number `seed` with its way back, as a campaign does."""
    forward = manifest_of(lab, host.next_release_counter(), seed)
    signed = sign_with_ways_back(forward, host.incumbent("dev-1", "main"), KEY, now=NOW)
    ended = host.wait_deployment(
        host.offer("dev-1", "main", signed.forward, ways_back=signed.ways_back), WAIT_S
    )
    assert ended is not None
    assert ended.succeeded
    return forward


def online(lab: Lab) -> tuple[DeviceTwin, FleetHost]:
    twin, host = trusting_twin(lab), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    return twin, host


def went_back(host: FleetHost) -> str | None:
    ended = host.wait_deployment(host.go_back("dev-1", "main"), WAIT_S)
    assert ended is not None
    assert ended.succeeded, ended
    assert ended.report is not None
    return ended.report.active


def test_what_ran_before_is_wished_for_again_with_what_was_signed_then(lab: Lab) -> None:
    twin, host = online(lab)
    first, second = (shipped(lab, host, seed) for seed in (1, 2))
    assert went_back(host) == first.bundle_id()
    release = twin.wishes[-1].release
    assert release is not None
    back = read_unverified(release)
    assert (back.mode, back.counter) == ("back", second.counter + 1)
    assert back.replaces_bundle == second.bundle_id()
    assert host.next_release_counter() == second.counter + 2


def test_a_host_that_starts_later_still_knows_the_way_back(lab: Lab) -> None:
    _, host = online(lab)
    first = shipped(lab, host, 1)
    shipped(lab, host, 2)
    host = lab.restart_host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    assert went_back(host) == first.bundle_id()


def test_a_refused_release_leaves_the_older_way_back_usable(lab: Lab) -> None:
    """The device has seen the counter of what it refused, and takes nothing older any more."""
    _, host = online(lab)
    first, second = (shipped(lab, host, seed) for seed in (1, 2))
    refused = manifest_of(lab, host.next_release_counter(), 3)
    signed = sign_with_ways_back(refused, host.incumbent("dev-1", "main"), KEY, now=NOW)
    backs = [read_unverified(envelope) for envelope in signed.ways_back]
    assert [back.counter for back in backs] == [refused.counter + 1, refused.counter + 3]
    assert [back.replaces_bundle for back in backs] == [refused.bundle_id(), second.bundle_id()]
    assert [back.bundle_id() for back in backs] == [second.bundle_id(), first.bundle_id()]


def test_the_same_release_again_renews_its_way_back(lab: Lab) -> None:
    _, host = online(lab)
    first, second = (shipped(lab, host, seed) for seed in (1, 2))
    again = shipped(lab, host, 2)
    assert again.bundle_id() == second.bundle_id()
    known = host.incumbent("dev-1", "main").way_back
    assert known is not None
    assert (known.counter, known.bundle_id()) == (again.counter + 3, first.bundle_id())


def test_one_can_go_back_twice(lab: Lab) -> None:
    twin, host = online(lab)
    first, second, third = (shipped(lab, host, seed) for seed in (1, 2, 3))
    assert went_back(host) == second.bundle_id()
    assert went_back(host) == first.bundle_id()
    counters = [read_unverified(w.release).counter for w in twin.wishes if w.release]
    assert counters == sorted(counters)
    assert len(set(counters)) == len(counters)
    assert third.counter < counters[-1] < host.next_release_counter()


def test_without_a_way_back_it_says_so(lab: Lab) -> None:
    host = lab.host()
    with pytest.raises(ReleaseError, match="wait until it is online"):
        host.go_back("dev-1", "main")
    trusting_twin(lab)
    host.wait_for_devices(["dev-1"], WAIT_S)
    with pytest.raises(ReleaseError, match="empty slot"):
        host.go_back("dev-1", "main")
    forward = sign_release(manifest_of(lab, host.next_release_counter()), KEY)
    host.wait_deployment(host.offer("dev-1", "main", forward), WAIT_S)
    with pytest.raises(ReleaseError, match="as a new release"):
        host.go_back("dev-1", "main")


def test_what_another_host_shipped_has_no_way_back(lab: Lab) -> None:
    unknown = Incumbent("e" * 64)
    assert not unknown.known
    assert sign_with_ways_back(manifest_of(lab), unknown, KEY, now=NOW).ways_back == ()
    assert len(sign_with_ways_back(manifest_of(lab), Incumbent(None), KEY, now=NOW).ways_back) == 1


def test_only_a_way_back_from_this_very_release_is_kept(lab: Lab) -> None:
    _, host = online(lab)
    one = sign_with_ways_back(manifest_of(lab, 2), Incumbent(None), KEY, now=NOW)
    other = sign_release(manifest_of(lab, 4), KEY)
    for forward, back in ((other, one.ways_back[0]), (one.forward, one.forward)):
        with pytest.raises(ReleaseError, match="sign both together"):
            host.offer("dev-1", "main", forward, ways_back=[back])
    assert host.devices()[0].state is not None


def test_the_last_word_of_a_device_counts(lab: Lab) -> None:
    """A report comes before the state that says the same."""
    _, host = online(lab)
    first = shipped(lab, host, 1)
    assert host.incumbent("dev-1", "main").bundle == first.bundle_id()
    eventually(lambda: host.incumbent("dev-1", "main").manifest is not None)
