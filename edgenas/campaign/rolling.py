"""From the picks of a search to the plan of a rollout over a whole fleet.

Every device of a profile gets the pick of the searched device of that profile, unless the plan file
says otherwise; a searched device gets its own. Leaves signing and waves to `edgenas.rollout`, and
which network is whose pick to `edgenas.search.pick`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from edgenas.campaign.boards import file_format_for
from edgenas.campaign.errors import CampaignError
from edgenas.campaign.finals import budget_of
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import Picked
from edgenas.campaign.shipments import SLOT
from edgenas.campaign.shipping import limits_of, release_files, trial_of
from edgenas.campaign.steps import golden_lsb
from edgenas.campaign.workbench import Workbench
from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.errors import ReleaseError
from edgenas.fleet.host import FleetHost
from edgenas.fleet.keys import ensure_keys, load_signing_key
from edgenas.fleet.profiles import UNKNOWN, Profiles, profile_of, released_as
from edgenas.rollout.host_desk import runtime_of
from edgenas.rollout.membership import placing
from edgenas.rollout.plan import LeftOut, Plan
from edgenas.rollout.plan_file import GroupRule, Recipe
from edgenas.rollout.planning import Assigned, Draft, Parcel, make_plan
from edgenas.rollout.selecting import Known, groups_picked, waves_picked
from edgenas.rollout.store import RolloutStore, load_if_readable
from edgenas.rollout.waves import WaveRule
from firmware_bridge.wire.release import ReleaseManifest
from firmware_bridge.wire.values import new_id

MIN_TOLERANCE_LSB = 1


@dataclass(frozen=True)
class Choice:
    """Whose pick a device gets, and the profile that a release for it has to name."""

    rule: GroupRule
    view: DeviceView
    profile: str


def plan_rollout(
    bench: Workbench,
    host: FleetHost,
    store: RolloutStore,
    setups: Sequence[DeviceSetup],
    picks: Sequence[Picked],
    recipe: Recipe,
    profiles: Profiles,
) -> Plan:
    """Assign every device that is known, sign, and keep the plan as a draft.

    Raises:
        CampaignError: a group names a pick that there is not.
        PlanError: nobody can take part, or the plan does not hold together.
        FleetError: a release cannot be built.
    """
    picked = {pick.device_id: pick for pick in picks if pick.arch is not None}
    by_setup = {setup.device_id: setup for setup in setups}
    rules = recipe.groups or default_rules(picked, by_setup)
    _check_picks(rules, picked)
    key = load_signing_key(ensure_keys(bench.run.keys).signing)
    formats = {rule.name: by_setup[rule.pick].file_format for rule in rules}
    known = Known(host.devices(), host.labels(), profiles)
    selections = groups_picked({rule.name: rule.who for rule in rules}, known)
    choices, left_out = choose(known, rules, key.key_id, formats)
    assigned: list[Assigned] = []
    peaks, names = known_peaks(store), parcel_names(choices)
    for choice in choices:
        found = _assigned(host, choice, names[choice.rule.name, choice.profile], peaks)
        if isinstance(found, Assigned):
            assigned.append(found)
        else:
            left_out.append(found)
    wanted = {(choice.rule.name, choice.profile): choice for choice in choices}
    used = {device.group for device in assigned}
    part = {device.device_id for device in assigned}
    waves, for_waves = waves_picked(recipe.waves, known, part)
    waves = by_release(waves, {of: name for of, name in names.items() if name in used})
    draft = Draft(
        rollout_id=new_id(),
        fleet=host.fleet,
        slot=SLOT,
        counter=host.next_release_counter(SLOT),
        parcels=[
            _parcel(bench, host, choice, names[key_of], by_setup[choice.rule.pick], picked)
            for key_of, choice in wanted.items()
            if names[key_of] in used
        ],
        assigned=assigned,
        left_out=left_out,
        selections=(*selections, *for_waves),
        saved_groups=known.labels.groups,
        now=datetime.now(UTC),
    )
    plan = make_plan(draft, replace(recipe, waves=waves), key)
    store.add(plan)
    return plan


def default_rules(
    picked: Mapping[str, Picked], setups: Mapping[str, DeviceSetup]
) -> tuple[GroupRule, ...]:
    """A searched device gets its own pick, and so does its profile, if that is unambiguous."""
    profile_of_pick = {device: setups[device].profile for device in picked}
    searched = Counter(profile_of_pick.values())
    rules = []
    for device, profile in profile_of_pick.items():
        if searched[profile] > 1 or profile == UNKNOWN:  # boards of no known kind are not alike
            rules.append(GroupRule(name=device, pick=device, devices=(device,)))
        else:
            rules.append(GroupRule(name=profile, pick=device, profile=profile))
    return tuple(rules)


def parcel_names(choices: Sequence[Choice]) -> dict[tuple[str, str], str]:
    """Name of the release of each (group, profile): a release names one profile only."""
    kinds = {(choice.rule.name, choice.profile) for choice in choices}
    several = Counter(name for name, _ in kinds)
    return {
        (name, profile): name if several[name] == 1 else f"{name}/{profile}"
        for name, profile in kinds
    }


def by_release(
    waves: Sequence[WaveRule], names: Mapping[tuple[str, str], str]
) -> tuple[WaveRule, ...]:
    """Waves of whole groups with the names of all their releases, called as they were.

    Args:
        waves: Rules with the names of the plan file.
        names: What `parcel_names` gave.
    """
    releases: dict[str, tuple[str, ...]] = {}
    for (group, _), name in sorted(names.items()):
        releases[group] = (*releases.get(group, ()), name)
    return tuple(
        replace(
            rule, groups=sum((releases.get(g, (g,)) for g in rule.groups), ()), called=rule.name
        )
        if rule.groups
        else rule
        for rule in waves
    )


def choose(
    known: Known,
    rules: Sequence[GroupRule],
    keyid: str,
    formats: Mapping[str, str],
) -> tuple[list[Choice], list[LeftOut]]:
    """Whose pick each device gets, or why it gets none.

    Args:
        known: The fleet.
        rules: Groups; which of them goes before which, `placing` says.
        keyid: Key that releases are signed with.
        formats: Group to the file format of its pick.
    """
    chosen: list[Choice] = []
    left: list[LeftOut] = []
    place = placing({rule.name: rule.who for rule in rules}, known.labels, known.profiles)
    by_name = {rule.name: rule for rule in rules}
    for view in known.views:
        found = [by_name[name] for name in place(view)]
        why = _why_not(view, found, profile_of(view, known.profiles), keyid, formats)
        if why is None:
            chosen.append(Choice(found[0], view, released_as(view)))
        else:
            left.append(LeftOut(device_id=view.device_id, why=why))
    seen = {view.device_id for view in known.views}
    absent = sorted({device for rule in rules for device in rule.who.ids if device not in seen})
    left += [LeftOut(device_id=device, why="never seen") for device in absent]
    return chosen, left


def known_peaks(store: RolloutStore) -> dict[tuple[str, str], int]:
    """Peak memory by device and bundle, as the trials of earlier rollouts showed it."""
    found: dict[tuple[str, str], int] = {}
    for rollout_id in store.ids():
        state = load_if_readable(store, rollout_id)
        if state is None:
            continue
        bundles = {group.name: group.bundle for group in state.plan.groups}
        for course in state.courses.values():
            evidence = course.forward.evidence
            if evidence is not None and evidence.known and evidence.peak_bytes is not None:
                found[course.device_id, bundles[course.member.group]] = evidence.peak_bytes
    return found


def _why_not(
    view: DeviceView,
    found: Sequence[GroupRule],
    profile: str,
    keyid: str,
    formats: Mapping[str, str],
) -> str | None:
    if view.quarantined:
        return "several boards use its id"
    if view.facts is None:
        return "has not said what it is"
    if not found:
        return f"no pick for profile {profile}"
    if len(found) > 1:
        return f"in several groups: {', '.join(rule.name for rule in found)}"
    if not _trusts(view, keyid):
        return "does not take releases signed by this run folder's key"
    if file_format_for(view) != formats[found[0].name]:
        return f"its runtime reads {file_format_for(view)} files, the pick is another"
    return None


def _trusts(view: DeviceView, keyid: str) -> bool:
    return view.facts is not None and view.facts.can_verify and keyid in view.facts.keyids


def _assigned(
    host: FleetHost, choice: Choice, group: str, peaks: Mapping[tuple[str, str], int]
) -> Assigned | LeftOut:
    device_id = choice.view.device_id
    try:
        incumbent = host.incumbent(device_id, SLOT)
    except ReleaseError:
        return LeftOut(device_id=device_id, why="has not said what it runs; it is off line")
    if not incumbent.known:
        why = f"runs bundle {str(incumbent.bundle)[:12]}, shipped from elsewhere: no way back"
        return LeftOut(device_id=device_id, why=why)
    if not _on_shelf(host, incumbent.manifest):
        why = "the files of what it runs are no longer on the shelf: no way back"
        return LeftOut(device_id=device_id, why=why)
    if not _on_shelf(host, incumbent.way_back):
        incumbent = replace(incumbent, way_back=None)
    return Assigned(
        device_id=device_id,
        group=group,
        incumbent=incumbent,
        online=choice.view.online,
        peak_bytes=peaks.get((device_id, str(incumbent.bundle))),
        runtime=runtime_of(choice.view),
    )


def _on_shelf(host: FleetHost, manifest: ReleaseManifest | None) -> bool:
    """Whether a release, if there is one, can be served."""
    files = () if manifest is None else manifest.files
    return all(host.shelf.size_of(each.sha256) == each.size_bytes for each in files)


def _parcel(
    bench: Workbench,
    host: FleetHost,
    choice: Choice,
    name: str,
    setup: DeviceSetup,
    picked: Mapping[str, Picked],
) -> Parcel:
    arch = picked[choice.rule.pick].arch
    assert arch is not None
    candidate = bench.scorer.candidate(arch, setup.file_format)
    limits = limits_of(budget_of(bench.study, setup.device_id))
    return Parcel(
        name=name,
        profile=choice.profile,
        files=release_files(host, candidate, bench.data.classes),
        limits=replace(limits, ratio_max=choice.rule.ratio_max),
        trial=trial_of(setup),
        tolerance_lsb=max(golden_lsb(bench.study, setup.device_id, arch), MIN_TOLERANCE_LSB),
        label=arch.id,
        who=choice.rule.who,
    )


def _check_picks(rules: Sequence[GroupRule], picked: Mapping[str, Picked]) -> None:
    missing = sorted({rule.pick for rule in rules} - picked.keys())
    if missing or not rules:
        raise CampaignError(
            f"expected groups that get the pick of a searched device, got {', '.join(missing)} "
            f"instead of one of {', '.join(picked) or 'none'}; `edgenas pick` makes picks"
        )
