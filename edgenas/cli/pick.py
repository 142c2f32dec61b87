"""`edgenas pick`: decide which network each device gets."""

from __future__ import annotations

import argparse

from edgenas.cli.options import Subparsers, add_budget, add_run


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "pick",
        help="decide which network each device gets",
        description="Per device the most accurate finalist whose certified p95 latency and peak "
        "memory are inside the budget, with the reason why the next one lost. Needs no device: a "
        "changed budget may name finalists that were not certified yet; then search again.",
    )
    add_run(parser)
    add_budget(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Pick."""
    from edgenas.campaign.errors import RunFolderError
    from edgenas.campaign.picking import pick_all, read_setups, require_fits
    from edgenas.campaign.rundir import RunDir
    from edgenas.cli.fleet_options import chosen_budgets
    from edgenas.search.records import StudyIdentity
    from edgenas.search.study import Study

    folder = RunDir(args.folder)
    setups, finals = read_setups(folder)
    if not folder.study.exists():
        raise RunFolderError(f"expected {folder.study}, found none; run `edgenas search` first")
    with Study.read(folder.study) as reader:
        identity: StudyIdentity = reader.identity
    with Study.open(folder.study, identity) as study:
        given = chosen_budgets(args.budget, [setup.device_id for setup in setups])
        for device, budget in given.items():
            study.set_budget(device, budget)
        picks = pick_all(folder, study, setups, finals)
    for picked in picks:
        print(f"{picked.device_id}: {picked.message}\n  next: {picked.reason_next_lost}")
    require_fits(picks)
    return 0
