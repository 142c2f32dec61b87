"""Picks in the run folder: what was decided for each device, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from device_profiles.profile import Thermal
from edgenas.campaign.errors import NothingFitsError, RunFolderError
from edgenas.campaign.finals import FinalsPlan, decide
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.rundir import RunDir, read_json, write_json
from edgenas.search.budget import Budget
from edgenas.search.pick import Decision
from edgenas.search.study import Study
from edgenas.space.arch import Arch, ArchError

FORMAT = "edgenas-picks/1"


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
    """Decide for every device, then keep the decisions and the limits that were given.

    Args:
        run: where the decisions go.
        study: with the sessions.
        setups: the devices.
        plan: how finalists are measured.
        given: by device, limits that shall hold instead of those in the study.

    Raises:
        NothingFitsError: limits that were given have no network inside; nothing was kept.
    """
    wanted = given or {}
    picked = [
        _picked(s.device_id, decide(study, s.device_id, plan, wanted.get(s.device_id)))
        for s in setups
    ]
    require_fits([p for p in picked if p.device_id in wanted])
    for device, budget in wanted.items():
        study.set_budget(device, budget)
    body = {
        "format": FORMAT,
        "picks": [
            {**asdict(p), "arch": None if p.arch is None else p.arch.to_dict()} for p in picked
        ],
    }
    write_json(run.picks, body)
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
) -> None:
    """Remember how devices and finalists are measured, for the later steps.

    Raises:
        RunFolderError: a device was measured otherwise before, so that its figures would not be
            comparable.
    """
    before = {s.device_id: s for s in read_setups(run)[0]} if run.setups.exists() else {}
    for setup in setups:
        known = before.get(setup.device_id, setup)
        begun = setup.device_id in study.budgets() or study.trials(setup.device_id)
        if begun and _pinning(known) != _pinning(setup):
            raise RunFolderError(
                f"device {setup.device_id}: expected {_pinning(known)} as in the trials of "
                f"{run.path}, got {_pinning(setup)}; figures of the two cannot be compared; repeat "
                f"the first command, or train into another folder"
            )
    body = {"devices": [asdict(setup) for setup in setups], "finals": asdict(finals)}
    write_json(run.setups, body)


def read_setups(run: RunDir) -> tuple[list[DeviceSetup], FinalsPlan]:
    """How the devices and the finalists of the search are measured.

    Raises:
        RunFolderError: no search was run, or the file is damaged.
    """
    body = read_json(run.setups, "edgenas search")
    try:
        setups = [_read_setup(item) for item in body["devices"]]
        return setups, FinalsPlan(**body["finals"])
    except (KeyError, TypeError) as error:
        raise RunFolderError(
            f"{run.setups}: expected what `edgenas search` writes, got {error!r}; delete the file "
            f"and run it again with the same devices"
        ) from error


def _pinning(setup: DeviceSetup) -> str:
    where = f" on CPUs {', '.join(map(str, setup.cpus))}" if setup.cpus else ""
    return f"{setup.threads} threads{where} running .{setup.file_format} files"


def _read_setup(item: Mapping[str, Any]) -> DeviceSetup:
    fields = {**item, "cpus": tuple(item["cpus"])}
    if fields.get("thermal") is not None:
        fields["thermal"] = Thermal(**fields["thermal"])
    return DeviceSetup(**fields)


def _picked(device: str, decision: Decision) -> Picked:
    arch = None if decision.pick is None else decision.pick.arch
    ranking = tuple((r.arch_id, r.accepted, r.reason) for r in decision.ranking)
    return Picked(device, arch, decision.message, decision.reason_next_lost, ranking)


def _read(item: Mapping[str, Any]) -> Picked:
    arch = None if item["arch"] is None else Arch.from_dict(item["arch"])
    ranking = tuple((str(a), bool(b), str(c)) for a, b, c in item["ranking"])
    return Picked(item["device_id"], arch, item["message"], item["reason_next_lost"], ranking)
