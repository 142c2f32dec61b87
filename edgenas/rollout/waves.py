"""Lays a frozen list of devices out in waves: canaries, whole groups, then growing percentages.

Pure. The order within the list mixes the groups evenly, so that every percentage holds a share of
each group's release, and differs from rollout to rollout, so that not always the same boards go
first. Leaves gates to `gates`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from edgenas.rollout.errors import PlanError
from edgenas.rollout.plan import CANARY_GATE, JOINERS, LATER_GATE, Gate, Wave


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveRule:
    """How to fill one wave; exactly one of the ways.

    Attributes:
        canaries: These devices; empty for one of each group, an online one if there is any.
        groups: Everybody of these groups.
        percent: So much of the whole list, counting the waves before, rounded up.
        gate: What has to hold before the next wave.
        called: What the wave is called; empty for what it is made of.
    """

    canaries: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    percent: int | None = None
    gate: Gate | None = None
    called: str = ""

    def __post_init__(self) -> None:
        ways = [self.canaries, self.groups, self.percent]
        if sum(way is not None for way in ways) != 1:
            raise PlanError("wave: expected one of canaries, groups and percent")
        if self.percent is not None and not 1 <= self.percent <= 100:
            raise PlanError(f"wave: expected 1 to 100 percent, got {self.percent}")

    @property
    def name(self) -> str:
        """What the wave is called."""
        if self.called:
            return self.called
        if self.percent is not None:
            return f"{self.percent}%"
        return "canaries" if self.groups is None else "+".join(self.groups)


DEFAULT_RULES = (
    WaveRule(canaries=()),
    WaveRule(percent=5),
    WaveRule(percent=25),
    WaveRule(percent=100),
)


def lay_waves(
    group_of: Mapping[str, str],
    rules: Sequence[WaveRule] = DEFAULT_RULES,
    *,
    salt: str,
    online: Collection[str] = (),
    continuous: bool = False,
) -> tuple[Wave, ...]:
    """Put every device into one wave.

    Args:
        group_of: Device to the name of its group.
        rules: How to fill the waves, in order; whoever is left over forms a last one.
        salt: The rollout's id.
        online: Who is there now.
        continuous: Add an empty wave for those who join later.

    Raises:
        PlanError: A rule names a device or a group that does not take part.
    """
    order = mixed_order(group_of, salt)
    left, waves = list(order), list[Wave]()
    if not any(rule.percent == 100 for rule in rules):
        rules = [*rules, WaveRule(percent=100)]
    for rule in rules:
        chosen = _chosen(rule, group_of, order, left, online)
        left = [device for device in left if device not in chosen]
        if chosen:
            gate = rule.gate or (LATER_GATE if rule.canaries is None else CANARY_GATE)
            waves.append(Wave(name=_fresh(rule.name, waves), devices=tuple(chosen), gate=gate))
    if continuous:
        last = waves[-1].gate if waves else LATER_GATE
        waves.append(Wave(name=JOINERS, devices=(), gate=replace(last, soak_s=0.0)))
    return tuple(waves)


def mixed_order(group_of: Mapping[str, str], salt: str) -> list[str]:
    """All devices, every group spread evenly over the list, in an order that `salt` decides."""
    by_group: dict[str, list[str]] = {}
    for device, group in group_of.items():
        by_group.setdefault(group, []).append(device)
    placed: list[tuple[float, str, str]] = []
    for group, devices in by_group.items():
        drawn = sorted(devices, key=lambda device: _draw(salt, device))
        placed += [((i + 0.5) / len(drawn), group, device) for i, device in enumerate(drawn)]
    return [device for _, _, device in sorted(placed)]


def _chosen(
    rule: WaveRule,
    group_of: Mapping[str, str],
    order: Sequence[str],
    left: Sequence[str],
    online: Collection[str],
) -> list[str]:
    if rule.percent is not None:
        reached = -(-len(order) * rule.percent // 100)
        return list(left[: max(0, reached - (len(order) - len(left)))])
    if rule.groups is not None:
        _check_known("group", rule.groups, set(group_of.values()))
        return [device for device in left if group_of[device] in rule.groups]
    assert rule.canaries is not None
    _check_known("device", rule.canaries, group_of.keys())
    if rule.canaries:
        return [device for device in left if device in rule.canaries]
    ranked = sorted(left, key=lambda device: device not in online)  # stable
    first: dict[str, str] = {}
    for device in ranked:
        first.setdefault(group_of[device], device)
    return [device for device in left if device in first.values()]


def _check_known(what: str, named: Sequence[str], known: Collection[str]) -> None:
    unknown = sorted(set(named) - set(known))
    if unknown:
        raise PlanError(
            f"wave: expected a {what} that takes part, got {', '.join(unknown)}; "
            f"known: {', '.join(sorted(known)) or 'none'}"
        )


def _fresh(name: str, waves: Sequence[Wave]) -> str:
    taken = {wave.name for wave in waves}
    if name not in taken:
        return name
    return next(n for i in range(2, len(waves) + 3) if (n := f"{name} ({i})") not in taken)


def _draw(salt: str, device: str) -> str:
    return hashlib.sha256(f"{salt}/{device}".encode()).hexdigest()
