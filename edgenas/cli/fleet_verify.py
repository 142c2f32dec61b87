"""`edgenas fleet verify`: what devices really run, signed by them and held against the records."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edgenas.cli.fleet_devices import known_views, place

if TYPE_CHECKING:
    from rich.table import Table

    from edgenas.campaign.inspecting import Answers
    from edgenas.fleet.inventory import Verdict
    from edgenas.fleet.journal import FleetJournal


def run(args: argparse.Namespace) -> int:
    """Ask, check, tell; 1 if a device is not believed or said nothing."""
    import contextlib
    import json
    import time

    from rich.console import Console

    from edgenas.campaign.inspecting import inspect
    from edgenas.fleet.errors import FleetError
    from edgenas.fleet.journal import FleetJournal
    from edgenas.fleet.profiles import known_profiles
    from edgenas.fleet.selectors import select
    from edgenas.site.access import SiteAccess

    if args.tls is None:
        raise FleetError(
            "expected --tls DIR: only devices with certificates can sign what they run; see "
            "docs/security.md"
        )
    access = SiteAccess(args.tls)
    url = args.broker or (access.site.settings.url if access.site is not None else None)
    if url is None:
        raise FleetError("expected --broker URL beside a copy of the host's certificates")
    with contextlib.closing(FleetJournal(place(args))) as journal:
        profiles, labels = known_profiles(*args.profile_dirs), journal.labels.read()
        found = select(args.selector, known_views(journal), labels, profiles)
        devices = [view.device_id for view in found]
        answers = inspect(url, journal.fleet(), devices, args.wait, args.tls)
        now_ms = time.time_ns() // 1_000_000
        verdicts = _judged(journal, access.authority, answers, now_ms)
        for verdict in verdicts:
            if verdict.flaws:
                detail = {"flaws": list(verdict.flaws)}
                journal.audit.add("device.disbelieved", verdict.device_id, now_ms, detail)
    plain = [_plain(verdict, now_ms) for verdict in verdicts]
    if args.json:
        print(json.dumps(plain, indent=1))
    else:
        Console().print(_table(plain))
    return 1 if any(row["verdict"] != "proven" for row in plain) or not plain else 0


def _judged(
    journal: FleetJournal, authority: bytes, answers: Answers, now_ms: int
) -> list[Verdict]:
    from edgenas.fleet.inventory import Expected, Verdict, judge
    from edgenas.fleet.inventory_records import believed_slots, offered_releases

    believed = believed_slots(journal)
    slots = {"main"} | {slot for of_one in believed.values() for slot in of_one}
    releases = offered_releases(journal, sorted(slots))
    found = []
    for device, nonce in answers.nonces.items():
        signed = answers.said.get(device)
        if signed is None:
            found.append(Verdict(device, ()))
            continue
        expected = Expected(
            device_id=device,
            fleet=journal.fleet(),
            authority=authority,
            known=journal.enrolments.certificates(device),
            releases=releases,
            believed=believed.get(device, {}),
            nonce=nonce,
        )
        found.append(judge(signed, expected, now_ms))
    return found


def _plain(verdict: Verdict, now_ms: int) -> dict[str, Any]:
    said = verdict.inventory
    word = "proven"
    if verdict.flaws:
        word = "disbelieved"
    elif said is None:
        word = "silent"
    elif not verdict.fresh:
        word = "old"
    running = {} if said is None else said.slots
    return {
        "device": verdict.device_id,
        "verdict": word,
        "flaws": list(verdict.flaws),
        "said_s_ago": None if said is None else max(0.0, (now_ms - said.wall_ms) / 1000),
        "slots": {slot: None if one is None else one.bundle for slot, one in running.items()},
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("device", "verdict", "runs", "said", "what is wrong")
    colours = {"proven": "green", "old": "yellow", "silent": "yellow", "disbelieved": "red"}
    for row in rows:
        slots = row["slots"].items()
        runs = ", ".join(f"{slot}: {(bundle or 'nothing')[:12]}" for slot, bundle in slots)
        ago_s = row["said_s_ago"]
        said = "" if ago_s is None else f"{ago_s:.0f} s ago"
        word = f"[{colours[row['verdict']]}]{row['verdict']}[/]"
        table.add_row(row["device"], word, runs, said, "; ".join(row["flaws"]))
    return table
