"""Devices that are simulated for the benchmarks, on a real host and driver: no broker but the twin.

What they say has to be what a real one would, or the benchmarks would measure something else.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.rollout_runs import GATE, RunFolder, random_parcel, truths
from benchmarks.simulated_device import PROFILE, SimulatedDevice
from benchmarks.simulated_fleet import device_name
from edgenas.fleet.clock import SystemClock
from edgenas.fleet.journal import FleetJournal
from edgenas.rollout.asking import ask, begin
from edgenas.rollout.conductor import Conductor
from edgenas.rollout.events import Event
from edgenas.rollout.host_desk import HostDesk
from edgenas.rollout.journal_store import JournalStore
from edgenas.rollout.plan import Plan
from edgenas.rollout.state import RolloutState
from edgenas.rollout.store import load
from edgenas.rollout.summary import is_over
from edgenas.rollout.verbs import rollback
from edgenas.rollout.waves import WaveRule
from firmware_bridge.wire.link import LinkEvent
from firmware_bridge.wire.memory import MemoryBroker, MemoryLink
from firmware_bridge.wire.signing import SigningKey, load_verify_key

FLEET, COUNT, MODEL_BYTES = "simulated", 3, 300_000
WAIT_S = 60.0
AT_ONCE = (WaveRule(percent=100, gate=GATE),)
Item = tuple[SimulatedDevice, LinkEvent] | None


class MemoryFolder(RunFolder):
    """A run folder whose host is on the broker's twin."""

    def __init__(self, folder: Path, broker: MemoryBroker) -> None:
        super().__init__(folder, "memory", FLEET)
        self._broker = broker

    def link(self) -> MemoryLink:
        return MemoryLink(self._broker, f"host-{FLEET}")


class Street:
    """A few simulated devices on one thread."""

    def __init__(self, broker: MemoryBroker, keys: dict[str, bytes], cleanup: ExitStack) -> None:
        self._inbox: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self.devices = []
        for number in range(COUNT):
            link = MemoryLink(broker, device_name(number))
            device = SimulatedDevice(
                device_name(number), FLEET, link, keys, lambda at_s, call: None, time.monotonic
            )
            link.subscribe(*device.filters())
            link.open(self._sink_of(device), device.will)
            cleanup.callback(link.close)
            self.devices.append(device)
        thread = threading.Thread(target=self._work, name="street")
        thread.start()
        cleanup.callback(thread.join)
        cleanup.callback(self._inbox.put, None)

    def _sink_of(self, device: SimulatedDevice) -> Callable[[LinkEvent], None]:
        return lambda event: self._inbox.put((device, event))

    def _work(self) -> None:
        while (item := self._inbox.get()) is not None:
            device, event = item
            device.hear(event)

    def runs(self) -> dict[str, str | None]:
        return {d.device_id: d.slots["main"].active for d in self.devices}


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def carried_out(folder: MemoryFolder, plan: Plan) -> RolloutState:
    with folder.host() as host:
        store, clock = JournalStore(host.rollouts), SystemClock()
        begin(store, plan.rollout_id, "op", clock.wall_ms())
        deadline_s = time.monotonic() + WAIT_S

        def seen(state: RolloutState, happened: list[Event]) -> bool:
            assert time.monotonic() < deadline_s, state
            return is_over(state)

        return Conductor(store, HostDesk(host), clock).run(plan.rollout_id, host, seen)


def test_a_rollout_there_and_back_leaves_three_truths_that_agree(
    tmp_path: Path, cleanup: ExitStack
) -> None:
    broker = MemoryBroker()
    folder = MemoryFolder(tmp_path, broker)
    street = Street(broker, dict([load_verify_key(folder.keys.verify[0])]), cleanup)
    names = [device.device_id for device in street.devices]
    plan = folder.plan({PROFILE: names}, random_parcel(PROFILE, MODEL_BYTES, 1), AT_ONCE)
    assert carried_out(folder, plan).status == "COMPLETED"
    assert set(street.runs().values()) == {plan.groups[0].bundle}
    found = asdict(truths(folder, plan, street.runs()))
    assert found == {**dict.fromkeys(found, 0), "devices": COUNT}
    lying = {**street.runs(), names[0]: None}
    assert (truths(folder, plan, lying).wrong, truths(folder, plan, lying).disagreeing) == (1, 1)
    assert [device.tally.bytes_pulled for device in street.devices] == [MODEL_BYTES] * COUNT

    with closing(FleetJournal(folder.database)) as journal:
        now_ms = SystemClock().wall_ms()
        store = JournalStore(journal.rollouts)
        ask(store, plan.rollout_id, lambda state: rollback(state, "op"), now_ms)
    assert carried_out(folder, plan).status == "ROLLED_BACK"
    assert set(street.runs().values()) == {None}
    assert not any(device.unacknowledged for device in street.devices)


def test_a_release_of_a_stranger_is_refused(tmp_path: Path, cleanup: ExitStack) -> None:
    broker = MemoryBroker()
    folder, stranger = MemoryFolder(tmp_path, broker), SigningKey.generate()
    street = Street(broker, {stranger.key_id: stranger.public_bytes}, cleanup)
    names = [device.device_id for device in street.devices]
    plan = folder.plan({PROFILE: names}, random_parcel(PROFILE, MODEL_BYTES, 1), AT_ONCE)
    with folder.host() as host:
        store, clock = JournalStore(host.rollouts), SystemClock()
        begin(store, plan.rollout_id, "op", clock.wall_ms())
        conductor = Conductor(store, HostDesk(host), clock)
        conductor.run(plan.rollout_id, host, lambda state, _: state.status == "PAUSED")
        state = load(store, plan.rollout_id)
    assert any(reason.startswith("integrity") for reason in state.reasons)
    assert set(street.runs().values()) == {None}
    assert truths(folder, plan, street.runs()).lost == COUNT
