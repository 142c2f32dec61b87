"""Rollouts driven over a simulated fleet until nothing moves, with what must hold at every step."""

from collections.abc import Sequence
from datetime import UTC, datetime

from edgenas.rollout.asking import begin
from edgenas.rollout.counts import count
from edgenas.rollout.decide import Now, counts_of, in_flight, next_due_ms
from edgenas.rollout.driver import Order, RolloutDriver
from edgenas.rollout.events import Event, Offered, Superseded, WaveOpened, WavePassed
from edgenas.rollout.plan import Plan
from edgenas.rollout.state import RolloutState, deployment_id, fresh, replay
from edgenas.rollout.store import MemoryStore, load
from tests.edgenas.rollout.sim import NEVER, Crash, SimClock, SimDesk, SimDevice

HORIZON_MS = 40 * 86_400_000
MAX_JUMPS = 20_000


class Run:
    """A store, a desk and a driver for each rollout that was started."""

    def __init__(self, devices: Sequence[SimDevice]) -> None:
        self.clock = SimClock()
        self.desk = SimDesk(self.clock)
        self.desk.devices = {device.device_id: device for device in devices}
        self.desk.on_offer = self._check_offer
        self.store = MemoryStore()
        self.drivers: dict[str, RolloutDriver] = {}
        self.first: Plan

    def begin_first(self) -> RolloutDriver:
        """Begin the plan that the test has set."""
        return self.begin(self.first)

    def begin(self, plan: Plan) -> RolloutDriver:
        """Plan, take devices over from older rollouts, start."""
        self.store.add(plan)
        begin(self.store, plan.rollout_id, "op", self.clock.wall_ms())
        self.drivers[plan.rollout_id] = self._driver(plan.rollout_id)
        return self.drivers[plan.rollout_id]

    def ask(self, state: RolloutState, events: Sequence[Event]) -> None:
        """Write down what an operator asked, as another process would."""
        now_ms = self.clock.wall_ms()
        assert self.store.append(state.plan.rollout_id, state.position, events, now_ms)

    def state(self, rollout_id: str) -> RolloutState:
        return load(self.store, rollout_id)

    def step(self) -> None:
        """Everybody does what is due now; a driver that dies is followed by another."""
        self.desk.tick()
        for rollout_id in list(self.drivers):
            try:
                self.drivers[rollout_id].step()
            except Crash:
                self.drivers[rollout_id] = self._driver(rollout_id)
                self.drivers[rollout_id].step()
            self._check(rollout_id)

    def jump(self, end_ms: int) -> bool:
        """Go to the next moment at which something is due; False if there is none by the end."""
        now_ms = self.clock.ms
        due_ms = self.desk.due_ms()
        for driver in self.drivers.values():
            driver_ms = next_due_ms(driver.state, driver.now())
            if driver_ms is not None:
                due_ms = min(due_ms, now_ms + driver_ms - driver.now().ms)
        if due_ms > end_ms or due_ms == NEVER:
            return False
        self.clock.ms = int(max(now_ms + 1, due_ms))
        return True

    def go(self, for_ms: int) -> None:
        """Let time pass."""
        end_ms = self.clock.ms + for_ms
        for _ in range(MAX_JUMPS):
            self.step()
            if not self.jump(end_ms):
                self.clock.ms = max(self.clock.ms, end_ms)
                self.step()
                return
        raise AssertionError("something stays due for ever")

    def settle(self) -> None:
        """Let time pass until nothing is due any more."""
        self.go(HORIZON_MS)

    def _driver(self, rollout_id: str) -> RolloutDriver:
        return RolloutDriver(self.store, rollout_id, self.desk, self.clock)

    def _check_offer(self, order: Order) -> None:
        """Only the rollout that owns a device offers it something, and what was written down."""
        owners = [i for i in self.drivers if self._owns(self.state(i), order)]
        assert len(owners) == 1, owners

    def _owns(self, state: RolloutState, order: Order) -> bool:
        course = state.courses.get(order.device_id)
        if course is None or course.superseded_by is not None:
            return False
        way, trip = course.newest
        expected = deployment_id(state.plan.rollout_id, order.device_id, way, trip.attempt)
        assert order.deployment_id == expected
        return True

    def _check(self, rollout_id: str) -> None:
        driver = self.drivers[rollout_id]
        records = self.store.events(rollout_id)
        again = replay(driver.state.plan, [(r.event, r.at_ms) for r in records])
        assert again == driver.state, "a restart would see something else"
        check_index(driver.state)
        takers = [r.event.by for r in records if isinstance(r.event, Superseded)]
        versions = [self.store.plan(taker).version for taker in takers]
        assert all(version > driver.state.plan.version for version in versions), takers
        self._check_owners()

    def _check_owners(self) -> None:
        """No device is in two rollouts for its slot that have begun."""
        states = [self.state(rollout_id) for rollout_id in self.drivers]
        for device in self.desk.devices:
            owners = [
                state.plan.rollout_id
                for state in states
                if state.status != "DRAFT"
                and device in state.courses
                and state.courses[device].superseded_by is None
            ]
            assert len(owners) <= 1, (device, owners)


def check_index(state: RolloutState) -> None:
    """What was kept up to date event by event is what a look at every device gives."""
    attempts, index = state.plan.pace.attempts, state.index
    own = [c for c in state.courses.values() if c.superseded_by is None]
    for wave in state.waves:
        mine = [c for c in own if c.wave == wave]
        assert counts_of(state, wave) == count(mine, attempts)
        queued = {c.device_id for c in mine if c.forward.state == "QUEUED"}
        retried = {c.device_id for c in mine if c.forward.may_retry(attempts)}
        assert {c.device_id for c in index.waiting(wave)} == queued | retried
    assert index.total == count(own, attempts)
    assert index.open.keys() == {
        c.device_id for c in state.courses.values() if any(t.open for t in (c.forward, c.back) if t)
    }
    due_back = {c.device_id for c in own if c.must_go_back and not c.back}
    assert index.homeward.keys() == due_back
    again = {c.device_id for c in own if c.must_go_back and c.back and c.back.may_retry(attempts)}
    assert index.homeward_again.keys() == again


def check_waves(run: Run, rollout_id: str) -> None:
    """Go through the records: a wave opens behind a passed one, and passes on good counts alone."""
    plan, passed = run.store.plan(rollout_id), set[str]()
    names = [wave.name for wave in plan.waves]
    state = fresh(plan)
    for record in run.store.events(rollout_id):
        event = record.event
        if isinstance(event, WaveOpened):
            assert passed == set(names[: names.index(event.wave)])
        elif isinstance(event, WavePassed):
            _check_passed(state, event, record.at_ms)
            passed.add(event.wave)
        elif isinstance(event, Offered) and event.way == "forward":
            assert state.status == "RUNNING"
            wave = state.courses[event.device].wave
            assert state.waves[wave].phase != "PENDING"
        if isinstance(event, Offered):
            _check_pace(state, event, record.at_ms)
        state.apply(event, record.at_ms)


def _check_pace(state: RolloutState, event: Offered, at_ms: int) -> None:
    pace, now = state.plan.pace, Now(at_ms, datetime.fromtimestamp(0, UTC))
    assert in_flight(state, now, event.way) < pace.max_in_flight
    recent = [at for at in state.offers_ms if at > at_ms - 60_000]
    assert pace.max_per_minute is None or len(recent) < pace.max_per_minute


def _check_passed(state: RolloutState, event: WavePassed, at_ms: int) -> None:
    """The gates once more, written otherwise, on what was known at that moment."""
    wave = next(wave for wave in state.plan.waves if wave.name == event.wave)
    known, gate, counts = state.waves[wave.name], wave.gate, counts_of(state, wave.name)
    assert state.status == "RUNNING"
    assert known.soak_since_ms is not None
    assert at_ms - known.soak_since_ms >= gate.soak_s * 1000
    if counts.breaches:
        assert known.accepted["integrity"] >= counts.breaches
    if gate.error_abs is not None and counts.errors >= gate.error_abs:
        assert known.accepted["error_gate"] >= counts.errors
    if gate.perf_abs is not None and counts.perf_bad >= gate.perf_abs:
        assert known.accepted["perf_gate"] >= counts.perf_bad
    if counts.assigned and counts.succeeded / counts.assigned < gate.success_pct / 100:
        short = counts.assigned - counts.succeeded
        assert known.accepted["success_not_met"] >= short
        assert not counts.open
