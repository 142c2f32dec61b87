"""Makes the plan of a rollout: assigns devices to groups, signs every release and every way back.

The only place of a rollout that needs a signing key. One release counter serves all groups, so that
a rollout has one version and no device takes another group's release of it. Leaves where picks and
devices come from to the caller, and waves to `waves`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from edgenas.fleet.releases import (
    Incumbent,
    ReleaseSpec,
    build_release,
    build_way_back,
    sign_release,
    sign_with_ways_back,
)
from edgenas.rollout.errors import PlanError
from edgenas.rollout.evidence import RATIO_MAX, Bounds
from edgenas.rollout.membership import Who
from edgenas.rollout.plan import DAY_S, Group, LeftOut, Member, Plan, Selection
from edgenas.rollout.plan_file import Recipe
from edgenas.rollout.waves import lay_waves
from firmware_bridge.wire.release import Limits, ReleaseManifest, Role, Target, Trial
from firmware_bridge.wire.signing import SigningKey
from firmware_bridge.wire.values import BlobRef


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What one group gets.

    Attributes:
        name: Name of the group.
        profile: Profile to sign for.
        files: Role to blob.
        limits: Limits to sign; `ratio_max` also bounds the gate.
        trial: How devices measure before they switch.
        tolerance_lsb: Largest difference of output codes that is in order, steps.
        label: For people.
        who: Whom the group means.
    """

    name: str
    profile: str
    files: Mapping[Role, BlobRef]
    limits: Limits = field(default_factory=Limits)
    trial: Trial | None = None
    tolerance_lsb: int = 1
    label: str = ""
    who: Who | None = None


@dataclass(frozen=True, kw_only=True)
class Assigned:
    """A device and its group.

    Attributes:
        device_id: The device.
        group: Name of its parcel.
        incumbent: What it runs now.
        online: It is there now.
        peak_bytes: Peak memory that the incumbent's trial showed there, if known.
        runtime: Name of its runtime, if known.
    """

    device_id: str
    group: str
    incumbent: Incumbent
    online: bool = True
    peak_bytes: int | None = None
    runtime: str = ""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a plan is made of, beside the recipe.

    Attributes:
        rollout_id: A fresh id.
        fleet: Name of the fleet.
        slot: Slot that it goes into.
        counter: A reserved even release counter.
        parcels: What the groups get.
        assigned: The devices.
        left_out: Devices that get nothing, and why.
        selections: What selectors picked.
        saved_groups: Saved groups of devices, name to selector.
        now: Time of issue, with a time zone.
    """

    rollout_id: str
    fleet: str
    slot: str
    counter: int
    parcels: Sequence[Parcel]
    assigned: Sequence[Assigned]
    left_out: Sequence[LeftOut] = ()
    selections: Sequence[Selection] = ()
    saved_groups: Mapping[str, str] = field(default_factory=dict)
    now: datetime


def make_plan(draft: Draft, recipe: Recipe, key: SigningKey) -> Plan:
    """Sign everything and lay the waves.

    Raises:
        PlanError: Nobody is assigned, a way back cannot be signed, or it does not hold together.
        ReleaseError: A parcel does not make a release.
    """
    if not draft.assigned and recipe.continuous_days is None:
        why = "; ".join(f"{left.device_id}: {left.why}" for left in draft.left_out)
        raise PlanError(f"expected a device that can take part, got none: {why or 'none is known'}")
    signer = _Signer(draft, key)
    members = tuple(signer.member(device) for device in draft.assigned)
    continuous = recipe.continuous_days is not None
    empty = {parcel.name: signer.empty_way_back(parcel.name) for parcel in draft.parcels}
    return Plan(
        rollout_id=draft.rollout_id,
        slot=draft.slot,
        version=draft.counter,
        groups=tuple(signer.group(parcel, joins=continuous) for parcel in draft.parcels),
        members=members,
        waves=lay_waves(
            {member.device_id: member.group for member in members},
            recipe.waves,
            salt=draft.rollout_id,
            online=[device.device_id for device in draft.assigned if device.online],
            continuous=continuous,
        ),
        ways_back=signer.ways_back,
        empty_way_back=empty if continuous else {},
        left_out=tuple(draft.left_out),
        pace=recipe.pace,
        joins_until_ms=_joins_until_ms(draft.now, recipe.continuous_days),
        note=recipe.note,
        selections=tuple(draft.selections),
        saved_groups=draft.saved_groups if continuous else {},
    )


class _Signer:
    """Signs what a plan needs, each different envelope once."""

    def __init__(self, draft: Draft, key: SigningKey) -> None:
        self._draft = draft
        self._key = key
        self._forwards = {parcel.name: self._forward(parcel) for parcel in draft.parcels}
        self.ways_back: dict[str, tuple[Mapping[str, Any], ...]] = {}

    def _forward(self, parcel: Parcel) -> ReleaseManifest:
        spec = ReleaseSpec(
            fleet=self._draft.fleet,
            target=Target(parcel.profile),
            files=parcel.files,
            slot=self._draft.slot,
            limits=parcel.limits,
            trial=parcel.trial,
            probe_tolerance_lsb=parcel.tolerance_lsb,
        )
        return build_release(spec, counter=self._draft.counter, now=self._draft.now)

    def group(self, parcel: Parcel, *, joins: bool) -> Group:
        forward, limits = self._forwards[parcel.name], parcel.limits
        own = [device for device in self._draft.assigned if device.group == parcel.name]
        return Group(
            name=parcel.name,
            profile=parcel.profile,
            bundle=forward.bundle_id(),
            release=sign_release(forward, self._key),
            bounds=Bounds(
                ratio_max=RATIO_MAX if limits.ratio_max is None else limits.ratio_max,
                p95_max_us=limits.p95_max_us,
                peak_max_bytes=limits.peak_max_bytes,
                golden_max_lsb=parcel.tolerance_lsb,
            ),
            joins=joins,
            label=parcel.label,
            runtimes=tuple(sorted({device.runtime for device in own if device.runtime})),
            who=parcel.who,
        )

    def member(self, device: Assigned) -> Member:
        forward, incumbent = self._forwards[device.group], device.incumbent
        if incumbent.bundle == forward.bundle_id():  # it will say that it is installed already
            backs: tuple[Mapping[str, Any], ...] = (self._back(forward, None),)
        elif not incumbent.known:
            raise PlanError(
                f"device {device.device_id}: expected a release that the way back can lead to, got "
                f"bundle {str(incumbent.bundle)[:12]}, which was not shipped from here"
            )
        else:
            signed = sign_with_ways_back(forward, incumbent, self._key, now=self._draft.now)
            backs = signed.ways_back
        return Member(
            device_id=device.device_id,
            group=device.group,
            incumbent=incumbent.bundle,
            ways_back=self._kept(backs),
            incumbent_peak_bytes=device.peak_bytes,
        )

    def empty_way_back(self, name: str) -> str:
        return self._kept((self._back(self._forwards[name], None),))

    def _back(self, forward: ReleaseManifest, to: ReleaseManifest | None) -> Mapping[str, Any]:
        return sign_release(build_way_back(forward, to, now=self._draft.now), self._key)

    def _kept(self, backs: tuple[Mapping[str, Any], ...]) -> str:
        key = hashlib.sha256(json.dumps(backs, sort_keys=True).encode()).hexdigest()[:16]
        self.ways_back[key] = backs
        return key


def _joins_until_ms(now: datetime, days: float | None) -> int | None:
    return None if days is None else round((now.timestamp() + days * DAY_S) * 1000)
