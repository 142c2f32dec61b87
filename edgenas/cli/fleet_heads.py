"""`edgenas fleet merge-heads`: what devices have learnt, added up, and shipped back to them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.cli.options import Subparsers, add_broker, add_run, seconds

if TYPE_CHECKING:
    from edgenas.campaign.rundir import RunDir
    from edgenas.fleet.head_claims import Collected
    from firmware_bridge.wire.heads import MergedHead


def add_verbs(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "merge-heads",
        help="add up the classes that devices have learnt, and ship them to all",
        description="Collects the sums that `edgenas-device learn --hand-out` publishes or "
        "--export writes, keeps the latest of every device in RUN/heads, and adds them: exactly, "
        "so that neither order nor repetition nor the split over devices changes a bit. What does "
        "not fit is left out with a word; the rest is merged.",
        epilog="Devices keep what they learnt after handing out; it counts beside the merged head.",
    )
    add_run(parser)
    parser.add_argument(
        "files", metavar="FILE", nargs="*", type=Path, help="contributions that devices exported"
    )
    add_broker(parser, required=False)
    parser.add_argument(
        "--listen", type=seconds, default=3.0, metavar="S", help="for what is published (3)"
    )
    parser.add_argument(
        "--model", metavar="DIGEST", help="beginning of the model's SHA-256 (default: the only one)"
    )
    parser.add_argument(
        "--trained", action="store_true",
        help="add the classes that the model was trained on, from RUN's training images",
    )  # fmt: skip
    parser.add_argument(
        "--leave-out", action="append", default=[], metavar="DEVICE|LEARNER",
        help="without what this device sent, or this learner; repeatable",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the merged head there too")
    parser.add_argument(
        "--device", action="append", default=[], metavar="ID",
        help="ship the merged head to this device; repeatable",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Collect, merge, keep, ship."""
    from edgenas.campaign.rundir import RunDir
    from edgenas.fleet.errors import HeadError

    if args.device and args.broker is None:
        raise HeadError("--device: expected --broker beside it, to ship through")
    folder = RunDir(args.folder)
    merged = _merged(args, folder)
    path = folder.heads / f"{merged.model}.json"
    path.write_bytes(merged.to_bytes())
    if args.out is not None:
        args.out.write_bytes(merged.to_bytes())
    print(f"{len(merged.included)} learners, model {merged.model[:12]}: {path}")
    for name, sums in merged.classes.items():
        print(f"  {name}: {sums.count} examples")
    return _ship(args, folder, merged) if args.device else 0


def _merged(args: argparse.Namespace, folder: RunDir) -> MergedHead:
    from edgenas.campaign.heads import trained_classes
    from edgenas.fleet.errors import HeadError
    from edgenas.fleet.head_claims import left_in
    from edgenas.fleet.heads import collect, keep, read_files, read_kept
    from edgenas.site.access import SiteAccess
    from firmware_bridge.wire.heads import merge

    collected = read_files(args.files)
    if args.broker is not None:
        context = None if args.tls is None else SiteAccess(args.tls).viewer()
        collected += collect(args.broker, args.fleet, args.listen, context)
    for each in collected:
        known = each.contribution
        examples = sum(sums.count for sums in known.classes.values())
        told = f"learner {known.learner}, round {known.round}, {examples} examples"
        print(f"{each.source}: {told}")
    kept_in = folder.heads / "learners"
    model = _chosen_model(args.model, left_in([*collected, *read_kept(kept_in)], args.leave_out))
    base = [trained_classes(folder, model)] if args.trained else []
    dimension = base[0].dimension if base else None
    chosen = keep(kept_in, collected, model, args.leave_out, dimension)
    for complaint in chosen.complaints:
        print(f"left out: {complaint}", file=sys.stderr)
    if not chosen.collected and not base:
        raise HeadError("expected contributions to merge, got none; hand out on the devices first")
    return merge([*(each.contribution for each in chosen.collected), *base])


def _chosen_model(given: str | None, collected: Sequence[Collected]) -> str:
    """Digest of the one model that is meant."""
    from edgenas.fleet.errors import HeadError

    known = {each.contribution.model for each in collected}
    fitting = sorted(model for model in known if model.startswith(given or ""))
    if len(fitting) != 1:
        told = ", ".join(model[:12] for model in fitting) or "none"
        raise HeadError(
            f"expected contributions for one model, got {told}; name one with --model, or hand "
            "out on the devices first (`edgenas-device learn --hand-out`, or --export FILE)"
        )
    return fitting[0]


def _ship(args: argparse.Namespace, folder: RunDir, merged: MergedHead) -> int:
    from edgenas.campaign.fleet_session import fleet_host
    from edgenas.campaign.heads import ship_head

    succeeded = True
    with fleet_host(folder, args.broker, args.fleet, args.database, args.tls) as host:
        for device in args.device:
            shipped = ship_head(host, folder, device, merged)
            print(f"{device}: {shipped.outcome} {shipped.detail}".rstrip())
            succeeded &= shipped.succeeded
    return 0 if succeeded else 1
