"""`edgenas pick`: decide which network each device gets."""

from __future__ import annotations

import argparse

from edgenas.cli.options import Subparsers, add_budget, add_run


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "pick",
        help="decide which network each device gets",
        description="Per device the most accurate certified network whose p95 latency and peak "
        "memory are inside the budget, with the reason why the next one lost. Needs no device, and "
        "judges what was certified for other limits as well. If others come into question under a "
        "changed budget, a warning says so: then search again. A budget that nothing certified "
        "meets is refused and changes nothing.",
    )
    add_run(parser)
    add_budget(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Pick."""
    import sys

    from edgenas.campaign.errors import RunFolderError
    from edgenas.campaign.finals import uncertified
    from edgenas.campaign.picking import finals_by_device, pick_all, read_setups, require_fits
    from edgenas.campaign.rundir import RunDir
    from edgenas.cli.fleet_options import chosen_budgets
    from edgenas.search.records import StudyIdentity
    from edgenas.search.study import Study

    folder = RunDir(args.folder)
    (setups, finals), plans = read_setups(folder), finals_by_device(folder)
    if not folder.study.exists():
        raise RunFolderError(f"expected {folder.study}, found none; run `edgenas search` first")
    with Study.read(folder.study) as reader:
        identity: StudyIdentity = reader.identity
    with Study.open(folder.study, identity) as study:
        given = chosen_budgets(args.budget, [setup.device_id for setup in setups])
        for setup in setups:
            device = setup.device_id
            limits = setup.bounded(given[device]) if device in given else None
            lacking = uncertified(study, device, plans[device], limits)
            if lacking:
                print(_warning(device, len(lacking)), file=sys.stderr)
        picks = pick_all(folder, study, setups, finals, given)
    for picked in picks:
        print(f"{picked.device_id}: {picked.message}\n  next: {picked.reason_next_lost}")
    require_fits(picks)
    return 0


def _warning(device: str, lacking: int) -> str:
    return (
        f"warning: {device}: the shortlist for these limits has {lacking} that may be better but "
        f"were not certified; `edgenas search` with these limits certifies them"
    )
