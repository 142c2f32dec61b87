"""The main job in one go: train, search on two local daemons, pick, ship, report.

Every step is the same code as the command of its name and keeps its work in the same run folder,
so a demo that was interrupted goes on when it is started again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from edgenas.campaign.boards import file_format_for
from edgenas.campaign.finals import FinalsPlan, certify
from edgenas.campaign.fleet_session import broker_at, fleet_host
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import (
    pick_all,
    require_fits,
    save_setups,
)
from edgenas.campaign.progress import Progress
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.searching import BudgetShares, SearchPlan, establish_budget, search
from edgenas.campaign.steps import Phases, ship_picks, write_reports
from edgenas.campaign.training import TrainOptions, train_run
from edgenas.campaign.workbench import Workbench, workbench
from edgenas.fleet.host import FleetHost
from edgenas.fleet.keys import ensure_keys
from edgenas.fleet.local import LocalDeviceSpec, LocalFleet
from edgenas.fleet.profiles import profile_of
from edgenas.report import Report

FLEET = "edgenas-demo"
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
        budget_sessions: measurements of the extreme networks that a budget is derived from.
        devices: the daemons.
    """

    train: TrainOptions
    search: SearchPlan
    finals: FinalsPlan
    budget_sessions: int = 3
    devices: tuple[DemoDevice, ...] = field(default=DEVICES)


def demo_plan(train: TrainOptions, *, quick: bool) -> DemoPlan:
    """The whole demo, or one that ends within 90 seconds."""
    if not quick:
        search_plan = SearchPlan({"evolution": 20, "random": 10}, seed=train.seed)
        return DemoPlan(train, search_plan, FinalsPlan(count=3, sessions=3), 3)
    if train.recipe is None and train.preset_name() == "digits":
        train = replace(train, recipe="digits-quick")
    search_plan = SearchPlan({"evolution": 5, "random": 1}, seed=train.seed)
    return DemoPlan(train, search_plan, FinalsPlan(count=2, sessions=1), 1)


def run_demo(
    run: RunDir, plan: DemoPlan, broker: str | None, command: str, progress: Progress
) -> Report:
    """Do everything; the report is also in the run folder.

    Raises:
        EdgenasError, BridgeError: a step cannot go on; what was done is kept.
    """
    clock = Phases(run)
    with clock.phase("training"):
        train_run(run, plan.train, command, progress)
    with workbench(run) as bench, broker_at(broker) as url, fleet_host(run, url, FLEET) as host:
        with _daemons(run, url, plan.devices) as daemons:
            views = daemons.wait_online(host, ONLINE_S)
            setups = [
                DeviceSetup(
                    device.device_id,
                    device.threads,
                    profile=profile_of(view),
                    file_format=file_format_for(view),
                )
                for device, view in zip(plan.devices, views, strict=True)
            ]
            save_setups(run, bench.study, setups, plan.finals)
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
            report = write_reports(bench, command, progress)
    require_fits(picks)
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
    space = bench.space
    progress.phase("deriving budgets from the smallest and the largest network", len(setups))
    for number, (device, setup) in enumerate(zip(plan.devices, setups, strict=True)):
        budget = establish_budget(
            measurer, bench.study, space, setup, device.shares, plan.budget_sessions
        )
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
