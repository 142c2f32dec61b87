"""`edgenas search`: let devices measure candidates until the best are known."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgenas.cli.options import Subparsers, add_broker, add_run
from edgenas.cli.search_options import (
    add_search,
    check_limited,
    searched_space,
    wanted_finals,
    wanted_limits,
    wanted_trials,
)

if TYPE_CHECKING:
    from edgenas.campaign.measuring import DeviceSetup
    from edgenas.fleet.host import FleetHost
    from edgenas.search.budget import Budget
    from edgenas.search.study import Study


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "search",
        help="measure candidates on devices and certify the finalists",
        description="Every candidate is exported to INT8, checked against the integer twin, sent "
        "to the device and measured there. The best are measured again in several sessions. "
        "Ctrl-C or a kill loses nothing that was measured: the same command goes on.",
    )
    add_run(parser)
    add_broker(parser, required=True)
    add_search(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Search."""
    from rich.console import Console

    from edgenas.campaign.finals import certify
    from edgenas.campaign.fleet_session import fleet_host
    from edgenas.campaign.picking import pick_all, save_setups
    from edgenas.campaign.rundir import RunDir
    from edgenas.campaign.searching import (
        REFERENCE_EVERY,
        BudgetShares,
        SearchPlan,
        establish_budget,
        search,
    )
    from edgenas.campaign.teams import form_teams
    from edgenas.campaign.workbench import workbench
    from edgenas.cli.display import Display
    from edgenas.cli.fleet_options import chosen_budgets

    folder, counts = RunDir(args.folder), wanted_trials(args)
    with (
        Display(Console(stderr=True)) as display,
        workbench(folder) as bench,
        fleet_host(folder, args.broker, args.fleet, args.database, args.tls) as host,
    ):
        space = searched_space(args, bench.space, bench.study.trials())
        setups = _setups(args, host)
        finals = wanted_finals(args)
        every = REFERENCE_EVERY if args.devices else 0
        plan = SearchPlan(counts, args.level, bench.card.seed, every)
        given = chosen_budgets(wanted_limits(args), [setup.device_id for setup in setups])
        for text in save_setups(folder, bench.study, setups, finals):
            display.note(f"  {text}")
        _set_budgets(bench.study, setups, given)
        measurer = bench.measurer(host)
        budgets = [
            establish_budget(measurer, bench.study, space, setup, BudgetShares(0.7, 0.7), 3)
            for setup in setups
        ]
        check_limited(args, budgets)
        for setup, budget in zip(setups, budgets, strict=True):
            display.note(f"  {setup.device_id}: {budget.reason}")
        teams = form_teams(measurer, bench.study, space, setups, display) if args.devices else ()
        left = search(measurer, bench.study, space, setups, plan, display, teams)
        there = [setup for setup in setups if setup.device_id not in left]
        certify(measurer, bench.study, there, finals, bench.card.seed, display)
        for picked in pick_all(folder, bench.study, there, finals):
            display.note(f"  {picked.device_id}: {picked.message}")
        for device in sorted(left):
            display.note(f"  {device} was left out; repeat the command once it is there again")
    print(folder.study)
    return 0


def _set_budgets(study: Study, setups: Sequence[DeviceSetup], given: Mapping[str, Budget]) -> None:
    """Keep the limits that were given, within what each board has, where they are not kept yet."""
    known = study.budgets()
    for setup in setups:
        device = setup.device_id
        if device in given and (budget := setup.bounded(given[device])) != known.get(device):
            study.set_budget(device, budget)


def _setups(args: argparse.Namespace, host: FleetHost) -> list[DeviceSetup]:
    """The devices that take part, and how they are measured."""
    import time

    from edgenas.cli.fleet_options import chosen_setups, selected_setups
    from edgenas.fleet.profiles import known_profiles

    profiles = known_profiles(*args.profile_dirs)
    if not args.device:
        time.sleep(min(args.wait, 3.0))  # births arrive at once, answers a little later
    if args.devices:
        return selected_setups(args.devices, args.device, host, profiles)
    return chosen_setups(args.device, host, args.wait, profiles)
