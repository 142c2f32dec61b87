"""The plan of a rollout: who gets which release, in which waves, and what has to hold in between.

One plan ships different releases to different groups of devices, each its best fit, under one
version. A plan never changes once it is made; it holds everything that is signed, so that carrying
it out, and going back, need no key. Leaves making one to whoever holds the picks, laying waves to
`waves`, and carrying it out to `decide` and `driver`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgenas.rollout.errors import PlanError
from edgenas.rollout.evidence import Bounds
from edgenas.rollout.membership import Who
from edgenas.rollout.windows import Window
from firmware_bridge.wire.values import check_device_id, check_id, check_name

MAX_DEVICES = 10_000
MAX_WAVES = 20
DAY_S = 86_400.0
JOINERS = "joiners"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What closes the way on behind a wave. None: never, or for `perf_min`: every assigned device.

    Attributes:
        error_abs: This many errors close it.
        error_pct: So does this share of the ended devices, percent ...
        min_finished: ... once so many (or all, if there are fewer) have ended.
        perf_abs: This many devices on which the release measured worse than allowed close it.
        perf_pct: So does this share of those that measured anything, percent ...
        perf_min: ... once so many did; as many must have for the wave to pass.
        success_pct: Share of the assigned devices that must run the release, percent.
        soak_s: Seconds that must pass after that.
    """

    error_abs: int | None = None
    error_pct: int | None = 10
    min_finished: int = 3
    perf_abs: int | None = None
    perf_pct: int | None = 10
    perf_min: int | None = 3
    success_pct: int = 90
    soak_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("error_abs", "perf_abs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise PlanError(f"{name}: expected at least 1 or off, got {value}")
        for name in ("error_pct", "perf_pct", "success_pct"):
            value = getattr(self, name)
            may_be_off = value is None and name != "success_pct"
            if not may_be_off and not 1 <= value <= 100:
                raise PlanError(f"{name}: expected 1 to 100 percent, got {value}")
        if self.min_finished < 1 or (self.perf_min is not None and self.perf_min < 0):
            raise PlanError("expected min_finished of at least 1 and perf_min of at least 0")
        if not self.soak_s >= 0:
            raise PlanError(f"soak_s: expected at least 0 s, got {self.soak_s}")

    @property
    def measures(self) -> bool:
        """Whether measured performance can close this gate."""
        return self.perf_abs is not None or self.perf_pct is not None


CANARY_GATE = Gate(
    error_abs=1, error_pct=None, perf_abs=1, perf_pct=None, perf_min=None, success_pct=100
)
LATER_GATE = Gate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Devices that get the same release.

    Attributes:
        name: Its name, unique in the plan.
        profile: Profile that the release is signed for.
        bundle: Bundle id of the release.
        release: The signed envelope.
        bounds: What its trials have to stay within.
        joins: In a continuous rollout, devices of the profile that appear later get it as well.
        label: For people: which network it is.
        runtimes: Names of the runtimes that its devices had; empty if that is not known.
        who: Whom it means, so that those who appear later find it; None for the whole profile.
    """

    name: str
    profile: str
    bundle: str
    release: Mapping[str, object]
    bounds: Bounds = field(default_factory=Bounds)
    joins: bool = False
    label: str = ""
    runtimes: tuple[str, ...] = ()
    who: Who | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One device of the plan.

    Attributes:
        device_id: Its id.
        group: Name of its group.
        incumbent: Bundle that it runs before, None for an empty slot.
        ways_back: Key into the plan's `ways_back`.
        incumbent_peak_bytes: Peak memory that the incumbent's trial showed there, if known.
    """

    device_id: str
    group: str
    incumbent: str | None
    ways_back: str
    incumbent_peak_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Devices that may be offered their release together; the gate decides about the next wave."""

    name: str
    devices: tuple[str, ...]
    gate: Gate = LATER_GATE


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A device that the plan could have reached but does not, and why."""

    device_id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a selector of the plan file picked when the plan was made.

    Attributes:
        owner: For which group or wave.
        selector: Its text.
        devices: All that it picked, those included that are left out for a reason.
    """

    owner: str
    selector: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast, and how patiently.

    Attributes:
        max_in_flight: Devices that work on it at the same time.
        max_per_minute: Offers a minute, None for as many as `max_in_flight` lets through.
        attempts: Deployments for what a device calls worth another try.
        retry_after_s: Wait before that.
        settle_s: An offer that a device has not taken up for so long no longer counts as in flight.
        patience_s: A device that waits in STAGED for so long without being held is given up.
        windows: When devices may be changed; none means always.
    """

    max_in_flight: int = 16
    max_per_minute: int | None = 60
    attempts: int = 2
    retry_after_s: float = 60.0
    settle_s: float = 60.0
    patience_s: float = 7 * DAY_S
    windows: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        if self.max_in_flight < 1 or self.attempts < 1 or (self.max_per_minute or 1) < 1:
            raise PlanError("expected max_in_flight, max_per_minute and attempts of at least 1")
        for name in ("retry_after_s", "settle_s", "patience_s"):
            if not getattr(self, name) >= 0:
                raise PlanError(f"{name}: expected at least 0 s, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole rollout.

    Attributes:
        rollout_id: Its id (32 hex digits).
        slot: Slot that it goes into.
        version: Release counter of all its releases; its way back has higher ones.
        groups: Who gets what.
        members: The devices, frozen when the plan was made.
        waves: Every member in one wave.
        ways_back: Key to signed envelopes; the first of each is the way back from this rollout.
        empty_way_back: For each group that joins: key of the way back to an empty slot.
        left_out: Devices that get nothing, and why.
        pace: How fast.
        joins_until_ms: A continuous rollout takes devices in until then (rollout's clock,
            milliseconds since 1970); None for a snapshot.
        note: For people: what it is about.
        selections: What the selectors of the plan file picked.
        saved_groups: Saved groups of devices as they were then: name to selector.
    """

    rollout_id: str
    slot: str
    version: int
    groups: tuple[Group, ...]
    members: tuple[Member, ...]
    waves: tuple[Wave, ...]
    ways_back: Mapping[str, tuple[Mapping[str, object], ...]]
    empty_way_back: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    pace: Pace = field(default_factory=Pace)
    joins_until_ms: int | None = None
    note: str = ""
    selections: tuple[Selection, ...] = ()
    saved_groups: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_id(self.rollout_id, "rollout id")
        check_name(self.slot, "slot")
        for member in self.members:
            check_device_id(member.device_id)
        self._check_groups()
        self._check_waves()

    @property
    def continuous(self) -> bool:
        """Whether devices that appear later are taken in."""
        return self.joins_until_ms is not None

    def group(self, name: str) -> Group:
        """The group of that name."""
        return next(group for group in self.groups if group.name == name)

    def _check_groups(self) -> None:
        _check_once("group", [group.name for group in self.groups])
        names = {group.name for group in self.groups}
        for member in self.members:
            if member.group not in names or not self.ways_back.get(member.ways_back):
                raise PlanError(
                    f"device {member.device_id}: expected a group and a signed way back in the "
                    f"plan, got group {member.group!r} and way back {member.ways_back!r}"
                )

    def _check_waves(self) -> None:
        in_waves = [device for wave in self.waves for device in wave.devices]
        _check_once("wave", [wave.name for wave in self.waves])
        _check_once("device", in_waves)
        members = [member.device_id for member in self.members]
        _check_once("device", members)
        if set(in_waves) != set(members):
            odd = ", ".join(sorted(set(in_waves) ^ set(members)))
            raise PlanError(f"expected every device of the plan in one wave, got otherwise: {odd}")
        if len(members) > MAX_DEVICES or len(self.waves) > MAX_WAVES:
            raise PlanError(
                f"expected at most {MAX_DEVICES} devices in {MAX_WAVES} waves, got {len(members)} "
                f"in {len(self.waves)}; split it into several rollouts"
            )
        if self.continuous and (not self.waves or self.waves[-1].name != JOINERS):
            raise PlanError(f"expected a last wave called {JOINERS} in a continuous rollout")


def _check_once(what: str, names: list[str]) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise PlanError(f"expected each {what} once, got {', '.join(twice)} more often")
