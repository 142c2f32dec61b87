"""The driver's desk on a real host: offered once, held, let go, taken back, looked at."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from edgenas.fleet.releases import build_way_back, sign_release
from edgenas.rollout.driver import Order
from edgenas.rollout.host_desk import HostDesk
from edgenas.rollout.plan import LATER_GATE
from firmware_bridge.wire.values import new_id
from tests.edgenas.fleet.conftest import WAIT_S, Lab
from tests.edgenas.fleet.test_shipping import KEY, NOW, manifest_of, trusting_twin, wishes_of
from tests.edgenas.rollout.sim import plan_of


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with ExitStack() as cleanup:
        yield Lab(tmp_path, cleanup)


def order_of(lab: Lab, *, held: bool = False, incumbent: str | None = None) -> Order:
    manifest = manifest_of(lab)
    return Order(
        deployment_id=new_id(),
        device_id="dev-1",
        slot="main",
        release=sign_release(manifest, KEY),
        incumbent=incumbent,
        bundle=manifest.bundle_id(),
        held=held,
    )


def test_an_order_is_offered_once_whatever_is_asked(lab: Lab) -> None:
    twin, host = trusting_twin(lab), lab.host()
    desk, order = HostDesk(host), order_of(lab)
    assert desk.look(order.deployment_id) is None
    assert desk.offer(order) is None
    heard: set[str] = set()
    while not heard:
        heard |= host.wait_deployment_news(WAIT_S)
    assert heard == {order.deployment_id}
    host.wait_deployment(order.deployment_id, WAIT_S)
    host = lab.restart_host()
    desk = HostDesk(host)
    assert desk.offer(order) is None
    word = desk.look(order.deployment_id)
    assert word is not None
    assert word.state == "SUCCEEDED"
    assert word.report is not None
    desk.hold(order.deployment_id, "too late")
    assert list(wishes_of(twin)) == [1]


def test_hold_and_withdraw_touch_only_what_is_wished_for(lab: Lab) -> None:
    twin, host = trusting_twin(lab), lab.host()
    desk, order = HostDesk(host), order_of(lab, held=True)
    desk.offer(order)
    for reason in ("paused", "paused", None, None):
        desk.hold(order.deployment_id, reason)
    host.wait_deployment(order.deployment_id, WAIT_S)
    holds = [wish.hold for _, wish in sorted(wishes_of(twin).items())]
    assert holds == [True, False]
    newer = order_of(lab, held=True)
    desk.offer(newer)
    desk.withdraw("dev-1", "main", order.deployment_id)
    assert host.wished("dev-1", "main") == newer.deployment_id
    desk.withdraw("dev-1", "main", newer.deployment_id)
    assert host.wished("dev-1", "main") is None
    word = desk.look(newer.deployment_id)
    assert word is not None
    assert word.state == "CANCELLED"


def test_a_device_that_runs_something_else_gets_no_offer(lab: Lab) -> None:
    twin, host = trusting_twin(lab), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    desk = HostDesk(host)
    expecting = order_of(lab, incumbent="e" * 64)
    forward = replace(expecting, ways_back=({"any": "thing"},))
    assert desk.offer(forward) == "other_incumbent"
    assert not twin.wishes
    (candidate,) = desk.candidates("main")
    assert (candidate.device_id, candidate.profile, candidate.active) == ("dev-1", "twin", None)


def test_what_a_plan_lacks_here(lab: Lab) -> None:
    trusting_twin(lab)
    manifest, desk = manifest_of(lab), HostDesk(lab.host())
    plan = plan_of({"a": ["dev-1"]}, [("w", ["dev-1"], LATER_GATE)])
    back = sign_release(build_way_back(manifest, manifest_of(lab, seed=7), now=NOW), KEY)
    release = sign_release(manifest, KEY)
    groups = (replace(plan.groups[0], release=release),)
    plan = replace(plan, groups=groups, ways_back={"back": (back,)})
    assert not desk.lacks(plan)
    elsewhere = replace(plan, rollout_id="2" * 32)
    missing = lab.model(7).sha256
    lab.shelf.path_of(missing).unlink()
    assert set(desk.lacks(elsewhere)) == {missing}
    lab.model(7)
    assert not desk.lacks(elsewhere)


def test_who_may_join_is_known_by_tags_too(lab: Lab) -> None:
    trusting_twin(lab)
    host = lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    lab.journal.labels.tag(["dev-1"], ["kiosk"], 1, present=True)
    (candidate,) = HostDesk(host).candidates("main")
    assert candidate.tags == {"kiosk"}
    assert candidate.view == host.devices()[0]
