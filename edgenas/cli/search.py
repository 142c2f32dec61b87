"""`edgenas search`: let devices measure candidates until the best are known."""

from __future__ import annotations

import argparse

from edgenas.cli.options import Subparsers, add_broker, add_budget, add_devices, add_run, seconds


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
    add_devices(parser)
    add_budget(parser)
    parser.add_argument(
        "--searcher", default="evolution", metavar="NAME",
        help="evolution (default), surrogate (fewest measurements, for 30 trials and more), linas, "
        "nsga2, regularised, spos, ofa, random",
    )  # fmt: skip
    parser.add_argument("--trials", type=int, default=24, help="candidates of the searcher (24)")
    parser.add_argument("--random", type=int, default=12, help="candidates of random search (12)")
    parser.add_argument("--level", default="quick", help="of candidates: quick (default), standard")
    parser.add_argument("--finalists", type=int, default=4, help="measured again (4)")
    parser.add_argument("--sessions", type=int, default=3, help="measurements of a finalist (3)")
    parser.add_argument("--final-level", default="certify", help="of finalists (certify)")
    parser.add_argument(
        "--wait", type=seconds, default=10.0, metavar="S", help="wait this long for devices (10)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Search."""
    import time

    from rich.console import Console

    from edgenas.campaign.finals import FinalsPlan, certify
    from edgenas.campaign.fleet_session import fleet_host
    from edgenas.campaign.picking import pick_all, save_setups
    from edgenas.campaign.rundir import RunDir
    from edgenas.campaign.searching import BudgetShares, SearchPlan, establish_budget, search
    from edgenas.campaign.workbench import workbench
    from edgenas.cli.display import Display
    from edgenas.cli.fleet_options import chosen_budgets, chosen_setups
    from edgenas.fleet.profiles import known_profiles

    folder, profiles = RunDir(args.folder), known_profiles(*args.profile_dirs)
    with (
        Display(Console(stderr=True)) as display,
        workbench(folder) as bench,
        fleet_host(folder, args.broker, args.fleet, args.database, args.tls) as host,
    ):
        if not args.device:
            time.sleep(min(args.wait, 3.0))  # births arrive at once, answers a little later
        setups = chosen_setups(args.device, host, args.wait, profiles)
        finals = FinalsPlan(args.finalists, args.sessions, args.final_level)
        counts = {args.searcher: args.trials}
        counts["random"] = counts.get("random", 0) + args.random
        plan = SearchPlan(counts, args.level, bench.card.seed)
        given = chosen_budgets(args.budget, [setup.device_id for setup in setups])
        for device, budget in given.items():
            if bench.study.budgets().get(device) != budget:
                bench.study.set_budget(device, budget)
        save_setups(folder, bench.study, setups, finals)
        measurer, space = bench.measurer(host), bench.checkpoint.space
        for setup in setups:
            budget = establish_budget(
                measurer, bench.study, space, setup, BudgetShares(0.7, 0.7), 3
            )
            display.note(f"  {setup.device_id}: {budget.reason}")
        search(measurer, bench.study, space, setups, plan, display)
        certify(measurer, bench.study, setups, finals, bench.card.seed, display)
        for picked in pick_all(folder, bench.study, setups, finals):
            display.note(f"  {picked.device_id}: {picked.message}")
    print(folder.study)
    return 0
