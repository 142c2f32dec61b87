"""Several rollouts of one database driven by one process, which has not the bytes of all."""

import logging

import pytest

from edgenas.fleet.errors import ReleaseError
from edgenas.rollout.asking import begin
from edgenas.rollout.conductor import Conductor
from edgenas.rollout.driver import Order
from edgenas.rollout.plan import LATER_GATE, Pace, Plan
from edgenas.rollout.store import MemoryStore, load
from tests.edgenas.rollout.sim import SimClock, SimDesk, SimDevice, plan_of


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was told as such; how much else is kept depends on the tests before."""
    return [record.message for record in caplog.records if record.levelno >= logging.ERROR]


FIRST, SECOND = "1" * 32, "2" * 32
DEVICES = {FIRST: ["dev-0", "dev-1"], SECOND: ["dev-2", "dev-3"]}


class Site:
    """Two rollouts, each over two devices, one at a time."""

    def __init__(self) -> None:
        self.clock = SimClock()
        self.desk = SimDesk(self.clock)
        self.store = MemoryStore()
        self.absent: set[str] = set()
        for version, (rollout_id, devices) in enumerate(DEVICES.items(), 1):
            self.desk.devices.update({name: SimDevice(name, "old") for name in devices})
            plan = plan_of(
                {"a": devices},
                [("w", devices, LATER_GATE)],
                rollout_id=rollout_id,
                version=2 * version,
                pace=Pace(max_in_flight=1),
            )
            self.store.add(plan)
            begin(self.store, rollout_id, "op", self.clock.wall_ms())
        self.conductor = Conductor(self.store, self.desk, self.clock, self.lacks)

    def lacks(self, plan: Plan) -> list[str]:
        return ["b" * 64] if plan.rollout_id in self.absent else []

    def steps(self, watched: str) -> None:
        for _ in range(30):
            self.conductor.step(watched)
            self.clock.ms += 10_000
            self.desk.tick()

    def offered(self, rollout_id: str) -> int:
        return sum(c.forward.attempt for c in load(self.store, rollout_id).courses.values())

    def running(self) -> list[str | None]:
        return [device.active for device in self.desk.devices.values()]


def test_a_rollout_whose_bytes_are_elsewhere_offers_nothing_until_they_come(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site()
    site.absent = {FIRST}
    site.steps(SECOND)
    assert site.offered(FIRST) == 0  # so that its pace holds when somebody can carry it out
    assert site.running() == ["old", "old", "a-4", "a-4"]
    assert [text[:16] for text in errors(caplog)] == ["rollout 11111111"]
    site.absent = set()
    site.steps(SECOND)
    assert site.running() == ["a-2", "a-2", "a-4", "a-4"]


def test_what_was_decided_where_the_bytes_are_is_told_by_nobody_else() -> None:
    """Killed between the decision and the wish, it is for the next host that has the bytes."""
    site = Site()
    Conductor(site.store, Deaf(site.clock), site.clock).step(FIRST)
    assert site.offered(FIRST) == 1
    site.absent = {FIRST}
    site.steps(SECOND)
    assert site.running()[:2] == ["old", "old"]
    site.absent = set()
    site.steps(SECOND)
    assert site.running()[:2] == ["a-2", "a-2"]


class Deaf(SimDesk):
    """Takes orders and does nothing."""

    def offer(self, order: Order) -> str | None:
        return None

    def hold(self, deployment_id: str, reason: str | None) -> None:
        return None


class Picky(SimDesk):
    """Cannot offer what the first rollout ships."""

    def offer(self, order: Order) -> str | None:
        if order.device_id in DEVICES[FIRST]:
            raise ReleaseError("expected another fleet")
        return super().offer(order)


def test_a_release_that_cannot_be_offered_ends_no_other_rollout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site()
    picky = Picky(site.clock)
    picky.devices, site.desk = site.desk.devices, picky
    site.conductor = Conductor(site.store, picky, site.clock)
    site.steps(SECOND)
    assert site.running() == ["old", "old", "a-4", "a-4"]
    (told,) = errors(caplog)
    assert "rollout 11111111 is left out, the others go on: expected another fleet" in told
    with pytest.raises(ReleaseError, match="another fleet"):
        Conductor(site.store, picky, site.clock).step(FIRST)
