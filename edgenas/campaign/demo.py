"""The main job in one go: train, search on two local daemons, pick, ship, report.

Every step is the same code as the command of its name and keeps its work in the same run folder,
so a demo that was interrupted goes on when it is started again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from edgenas.campaign.finals import FinalsPlan, certify
from edgenas.campaign.fleet_session import broker_at, fleet_host
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import (
    Picked,
    pick_all,
    read_picks,
    read_setups,
    require_fits,
    save_setups,
)
from edgenas.campaign.progress import Progress
from edgenas.campaign.reporting import Sources, build_report
from edgenas.campaign.rundir import RunDir, read_json, write_json
from edgenas.campaign.searching import BudgetShares, SearchPlan, establish_budget, search
from edgenas.campaign.shipping import Shipment, read_shipments, save_shipments, ship
from edgenas.campaign.training import TrainOptions, train_run
from edgenas.campaign.workbench import Workbench, workbench
from edgenas.fleet.host import FleetHost
from edgenas.fleet.keys import ensure_keys
from edgenas.fleet.local import LocalDeviceSpec, LocalFleet
from edgenas.report import Report, write_report_html, write_report_json

FLEET = "edgenas-demo"
BUDGET_LEVEL = "standard"
ONLINE_S = 60.0


@dataclass(frozen=True)
class DemoDevice:
    """A daemon of the demo: its threads, and where its limits lie between the extreme networks."""

    device_id: str
    threads: int
    shares: BudgetShares


DEVICES = (
    DemoDevice("demo-1-thread", 1, BudgetShares(latency=0.85, memory=0.95)),
    DemoDevice("demo-2-threads", 2, BudgetShares(latency=0.6, memory=0.5)),
)


@dataclass(frozen=True)
class DemoPlan:
    """How much of everything.

    Attributes:
        train: what is trained.
        search: candidates.
        finals: finalists.
        devices: the daemons.
    """

    train: TrainOptions
    search: SearchPlan
    finals: FinalsPlan
    devices: tuple[DemoDevice, ...] = field(default=DEVICES)


def demo_plan(train: TrainOptions, *, quick: bool) -> DemoPlan:
    """The whole demo, or one that ends within 90 seconds."""
    if not quick:
        search_plan = SearchPlan({"evolution": 24, "random": 12}, seed=train.seed)
        return DemoPlan(train, search_plan, FinalsPlan(count=4, sessions=3))
    if train.recipe is None and train.preset_name() == "digits":
        train = replace(train, recipe="digits-quick")
    search_plan = SearchPlan({"evolution": 6, "random": 2}, seed=train.seed)
    return DemoPlan(train, search_plan, FinalsPlan(count=2, sessions=1))


def run_demo(
    run: RunDir, plan: DemoPlan, broker: str | None, command: str, progress: Progress
) -> Report:
    """Do everything; the report is also in the run folder.

    Raises:
        EdgenasError, BridgeError: a step cannot go on; what was done is kept.
    """
    clock = _Phases(run)
    with clock.phase("training"):
        train_run(run, plan.train, command, progress)
    with workbench(run) as bench, broker_at(broker) as url, fleet_host(run, url, FLEET) as host:
        with _daemons(run, url, plan.devices) as daemons:
            daemons.wait_online(host, ONLINE_S)
            setups = [DeviceSetup(d.device_id, d.threads) for d in plan.devices]
            save_setups(run, setups)
            with clock.phase("search"):
                _search(bench, host, daemons, plan, setups, progress)
            with clock.phase("finals"):
                certify(
                    bench.measurer(host, _alive(daemons)), bench.study, setups, plan.finals,
                    bench.card.seed, progress,
                )  # fmt: skip
            picks = pick_all(run, bench.study, setups, plan.finals)
            for picked in picks:
                progress.note(f"  {picked.device_id}: {picked.message}")
            with clock.phase("shipping"):
                ship_picks(bench, host, setups, picks, progress)
        with clock.phase("report"):
            report = write_reports(bench, plan.finals, command, progress, clock.seconds)
    require_fits(picks)
    return report


def ship_picks(
    bench: Workbench,
    host: FleetHost,
    setups: Sequence[DeviceSetup],
    picks: Sequence[Picked],
    progress: Progress,
) -> list[Shipment]:
    """Ship each device its pick, unless it confirmed that it runs it already."""
    chosen = {p.device_id: p for p in picks if p.arch is not None}
    progress.phase("shipping", len(chosen))
    budgets, known = bench.study.budgets(), read_shipments(bench.run)
    for done, setup in enumerate(s for s in setups if s.device_id in chosen):
        device, arch = setup.device_id, chosen[setup.device_id].arch
        assert arch is not None
        candidate = bench.scorer.candidate(arch)
        before = known.get(device)
        if before is None or before.sha256 != candidate.exported.sha256 or not before.succeeded:
            known[device] = ship(
                host, bench.run, candidate, setup, budgets[device], bench.data.classes
            )
            save_shipments(bench.run, list(known.values()))
        what = known[device]
        progress.advance(done + 1, f"{device}: {what.outcome} {what.detail}".strip())
        progress.note(f"  {device}: release {what.counter} {what.outcome} {what.detail}".rstrip())
    return list(known.values())


def write_reports(
    bench: Workbench,
    finals: FinalsPlan,
    command: str,
    progress: Progress,
    seconds: dict[str, float] | None = None,
) -> Report:
    """Read the test split for the picks and write report.json and report.html."""
    progress.phase("testing the picks and writing the report", None)
    sources = Sources(
        bench.run, bench.card, bench.checkpoint, bench.data, bench.scorer, bench.study,
        read_setups(bench.run), read_picks(bench.run), read_shipments(bench.run), finals, {},
        seconds or _Phases(bench.run).seconds,
    )  # fmt: skip
    report = build_report(sources, command)
    write_report_json(report, bench.run.report_json)
    write_report_html(report, bench.run.report_html)
    return report


def _search(
    bench: Workbench,
    host: FleetHost,
    daemons: LocalFleet,
    plan: DemoPlan,
    setups: Sequence[DeviceSetup],
    progress: Progress,
) -> None:
    measurer = bench.measurer(host, _alive(daemons))
    space = bench.checkpoint.space
    progress.phase("deriving budgets from the smallest and the largest network", len(setups))
    for number, (device, setup) in enumerate(zip(plan.devices, setups, strict=True)):
        budget = establish_budget(measurer, bench.study, space, setup, device.shares, BUDGET_LEVEL)
        progress.advance(number + 1, setup.device_id)
        progress.note(f"  {setup.device_id}: {budget.reason}")
    search(measurer, bench.study, space, setups, plan.search, progress)


@contextmanager
def _daemons(run: RunDir, url: str, devices: Sequence[DemoDevice]) -> Iterator[LocalFleet]:
    keys = ensure_keys(run.keys)
    specs = [
        LocalDeviceSpec(
            device_id=device.device_id,
            broker_url=url,
            fleet=FLEET,
            state_dir=(run.devices / device.device_id).resolve(),
            log_path=run.devices / f"{device.device_id}.log",
            threads=device.threads,
            verify_keys=tuple(key.resolve() for key in keys.verify),
        )
        for device in devices
    ]
    with LocalFleet(specs) as daemons:
        yield daemons


def _alive(daemons: LocalFleet) -> Callable[[], None]:
    def check() -> None:
        for device in daemons.devices:
            device.check()

    return check


class _Phases:
    """Wall time of each phase, added up over interrupted runs."""

    def __init__(self, run: RunDir) -> None:
        self._path = run.path / "phases.json"
        self.seconds: dict[str, float] = (
            read_json(self._path, "edgenas demo") if self._path.exists() else {}
        )

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began
            write_json(self._path, self.seconds)
