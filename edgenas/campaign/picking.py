"""Picks in the run folder: what was decided for each device, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from device_profiles.profile import Thermal
from edgenas.campaign.errors import NothingFitsError, RunFolderError
from edgenas.campaign.finals import FinalsPlan, decide, settled
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.replaced import REASON, is_another_board, void_figures
from edgenas.campaign.rundir import RunDir, read_json, write_json
from edgenas.search.budget import Budget
from edgenas.search.pick import Decision
from edgenas.search.study import Study
from edgenas.search.wording import in_bytes
from edgenas.space.arch import Arch, ArchError

FORMAT = "edgenas-picks/1"
_WRITTEN_BY = "edgenas search"

_Entry = tuple[DeviceSetup, FinalsPlan]


@dataclass(frozen=True)
class Picked:
    """The decision for one device.

    Attributes:
        device_id: the device.
        arch: what was picked; None if nothing fits.
        message: what was picked, or which limit is too tight for everything.
        reason_next_lost: why the runner-up was not picked.
        ranking: (architecture id, accepted, reason) of all finalists.
    """

    device_id: str
    arch: Arch | None
    message: str
    reason_next_lost: str
    ranking: tuple[tuple[str, bool, str], ...]


def pick_all(
    run: RunDir,
    study: Study,
    setups: Sequence[DeviceSetup],
    plan: FinalsPlan,
    given: Mapping[str, Budget] | None = None,
) -> list[Picked]:
    """Decide for some devices, then keep the decisions and the limits that were given.

    Decisions for other devices stay beside them, as far as they still rest on something.

    Args:
        run: where the decisions go.
        study: with the sessions.
        setups: the devices to decide for.
        plan: how their finalists are measured, where `save_setups` was told nothing else.
        given: by device, limits that shall hold instead of those in the study; within what the
            board has, as those in the study are.

    Returns:
        The decisions for `setups`.

    Raises:
        NothingFitsError: limits that were given have no network inside; nothing was kept.
    """
    plans, known = finals_by_device(run), study.budgets()
    asked = known | dict(given or {})
    wanted = {s.device_id: s.bounded(asked[s.device_id]) for s in setups if s.device_id in asked}
    picked = [
        _picked(
            setup.device_id,
            decide(
                study,
                setup.device_id,
                plans.get(setup.device_id, plan),
                wanted.get(setup.device_id),
            ),
        )
        for setup in setups
    ]
    require_fits([p for p in picked if p.device_id in (given or {})])
    for device, budget in wanted.items():
        if budget != known.get(device):
            study.set_budget(device, budget)
    standing = [p for p in _known_picks(run) if _stands(p, study, plans)]
    _write_picks(run, {p.device_id: p for p in (*standing, *picked)}.values())
    return picked


def read_picks(run: RunDir) -> list[Picked]:
    """The decisions of an earlier `pick_all`.

    Raises:
        RunFolderError: there are none, or they are damaged.
    """
    body = read_json(run.picks, "edgenas pick")
    try:
        return [_read(item) for item in body["picks"]]
    except (KeyError, TypeError, ValueError, ArchError) as error:
        raise RunFolderError(
            f"{run.picks}: expected what `edgenas pick` writes, got {error!r}; run it again"
        ) from error


def require_fits(picked: Sequence[Picked]) -> None:
    """Make sure that every device has a pick.

    Raises:
        NothingFitsError: names the devices, the tightest limits and what the smallest net costs.
    """
    lost = [p for p in picked if p.arch is None]
    if lost:
        texts = "; ".join(f"{p.device_id}: {p.message}" for p in lost)
        raise NothingFitsError(f"expected a network inside every budget, got none for {texts}")


def save_setups(
    run: RunDir, study: Study, setups: Sequence[DeviceSetup], finals: FinalsPlan
) -> list[str]:
    """Remember how devices and their finalists are measured, for the later steps.

    Other devices that the study has figures of keep their entries. A board that is another one than
    when it was measured loses its figures and its pick; its limits stay.

    Returns:
        In words, which boards those are.

    Raises:
        RunFolderError: a device was measured otherwise before, so that its figures would not be
            comparable.
    """
    before = _read_entries(run) if run.setups.exists() else {}
    entries = {name: entry for name, entry in before.items() if _has_begun(study, name)}
    changed = []
    for setup in setups:
        device = setup.device_id
        known = entries[device][0] if device in entries else setup
        if is_another_board(known, setup):
            changed.append(device)
        elif known.fingerprint and not setup.fingerprint:
            setup = replace(setup, fingerprint=known.fingerprint)  # it has not said so this time
        _check_comparable(run, known, setup)
        entries[device] = (setup, finals)
    for device in changed:
        void_figures(study, device)
    if changed and run.picks.exists():
        _write_picks(run, [p for p in _known_picks(run) if p.device_id not in changed])
    body = {
        "devices": [{**asdict(setup), "finals": asdict(plan)} for setup, plan in entries.values()],
        "finals": asdict(finals),
    }
    write_json(run.setups, body)
    return [
        f"{device} has changed: {REASON}; its earlier measurements are void, its limits stay"
        for device in changed
    ]


def read_setups(run: RunDir) -> tuple[list[DeviceSetup], FinalsPlan]:
    """How the devices are measured, and the finalists by the newest search.

    Raises:
        RunFolderError: no search was run, or the file is damaged.
    """
    entries = _read_entries(run)
    return [setup for setup, _ in entries.values()], _read_finals(run)


def finals_by_device(run: RunDir) -> dict[str, FinalsPlan]:
    """How the finalists of each device are measured; empty before the first search.

    Raises:
        RunFolderError: the file is damaged.
    """
    entries = _read_entries(run) if run.setups.exists() else {}
    return {device: plan for device, (_, plan) in entries.items()}


def _check_comparable(run: RunDir, known: DeviceSetup, setup: DeviceSetup) -> None:
    """Refuse figures that could not be compared with those of the same board.

    Raises:
        RunFolderError: says what differs and what can be done.
    """
    other = is_another_board(known, setup)
    if other or replace(setup, fingerprint="").key == replace(known, fingerprint="").key:
        return
    raise RunFolderError(
        f"device {setup.device_id}: expected {_pinning(known)} as in the trials of {run.path}, got "
        f"{_pinning(setup)}; figures of the two cannot be compared; repeat the first command with "
        f"the profile that the device had then, or search in a copy of the run folder without "
        f"study.sqlite"
    )


def _pinning(setup: DeviceSetup) -> str:
    where = f" on CPUs {', '.join(map(str, setup.cpus))}" if setup.cpus else ""
    cap = in_bytes(setup.memory_cap_bytes)
    return f"{setup.threads} threads{where} in {cap} running .{setup.file_format} files"


def _has_begun(study: Study, device: str) -> bool:
    """Whether the study holds anything of a device that another way of measuring would spoil."""
    return bool(device in study.budgets() or study.trials(device) or study.probes.of(device))


def _read_entries(run: RunDir) -> dict[str, _Entry]:
    newest = _read_finals(run)
    try:
        items = [dict(item) for item in read_json(run.setups, _WRITTEN_BY)["devices"]]
        plans = [FinalsPlan(**item.pop("finals", asdict(newest))) for item in items]
        setups = [_read_setup(item) for item in items]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(run, error) from error
    return {s.device_id: (s, plan) for s, plan in zip(setups, plans, strict=True)}


def _read_finals(run: RunDir) -> FinalsPlan:
    try:
        return FinalsPlan(**read_json(run.setups, _WRITTEN_BY)["finals"])
    except (KeyError, TypeError) as error:
        raise _damaged(run, error) from error


def _damaged(run: RunDir, error: Exception) -> RunFolderError:
    return RunFolderError(
        f"{run.setups}: expected what `edgenas search` writes, got {error!r}; delete the file and "
        f"run it again with the same devices"
    )


def _read_setup(item: Mapping[str, Any]) -> DeviceSetup:
    fields = {**item, "cpus": tuple(item["cpus"])}
    if fields.get("thermal") is not None:
        fields["thermal"] = Thermal(**fields["thermal"])
    return DeviceSetup(**fields)


def _known_picks(run: RunDir) -> list[Picked]:
    """Earlier decisions; a damaged file is none, since it is about to be written anew."""
    try:
        return read_picks(run)
    except RunFolderError:
        return []


def _stands(pick: Picked, study: Study, plans: Mapping[str, FinalsPlan]) -> bool:
    """Whether an earlier decision rests on something still: the device may have changed since."""
    plan = plans.get(pick.device_id)
    if plan is None or pick.device_id not in study.budgets():
        return False
    return pick.arch is None or bool(settled(study, pick.device_id, pick.arch, plan))


def _write_picks(run: RunDir, picks: Iterable[Picked]) -> None:
    body = {
        "format": FORMAT,
        "picks": [
            {**asdict(p), "arch": None if p.arch is None else p.arch.to_dict()} for p in picks
        ],
    }
    write_json(run.picks, body)


def _picked(device: str, decision: Decision) -> Picked:
    arch = None if decision.pick is None else decision.pick.arch
    ranking = tuple((r.arch_id, r.accepted, r.reason) for r in decision.ranking)
    return Picked(device, arch, decision.message, decision.reason_next_lost, ranking)


def _read(item: Mapping[str, Any]) -> Picked:
    arch = None if item["arch"] is None else Arch.from_dict(item["arch"])
    ranking = tuple((str(a), bool(b), str(c)) for a, b, c in item["ranking"])
    return Picked(item["device_id"], arch, item["message"], item["reason_next_lost"], ranking)
