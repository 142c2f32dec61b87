"""`edgenas fleet list|show|tag|untag|group|forget`: what is known of devices, and their labels."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgenas.database.address import Where
    from edgenas.fleet.device_view import DeviceView
    from edgenas.fleet.enrolment import Known
    from edgenas.fleet.journal import FleetJournal
    from edgenas.fleet.profiles import Profiles
    from edgenas.fleet.selectors import Labels


def place(args: argparse.Namespace) -> Where:
    """Where the fleet's database is.

    Raises:
        FleetError: nothing says so, or the folder that is named is not there.
    """
    from edgenas.campaign.rundir import RunDir
    from edgenas.fleet.errors import FleetError

    named = args.folder or args.tls
    if named is not None and not named.is_dir():
        raise FleetError(
            f"expected a folder at {named}, got none; make a run with `edgenas train --out`, or a "
            "broker's folder with `edgenas broker init --tls`"
        )
    if args.database:
        return str(args.database)
    if args.folder is not None:
        return RunDir(args.folder).fleet
    if args.tls is not None:
        from pathlib import Path

        return Path(args.tls) / "fleet.sqlite"
    raise FleetError(
        "expected --database URL, --run RUN or --tls DIR to say where the fleet's database is"
    )


def run_list(args: argparse.Namespace) -> int:
    """List."""
    import contextlib
    import json

    from rich.console import Console

    from edgenas.fleet.journal import FleetJournal
    from edgenas.fleet.profiles import known_profiles
    from edgenas.fleet.selectors import select

    profiles = known_profiles(*args.profile_dirs)
    with contextlib.closing(FleetJournal(place(args))) as journal:
        labels = journal.labels.read()
        found = select(args.selector, _views(args, journal), labels, profiles)
        plain = [_plain(view, journal, labels, profiles) for view in found]
    if args.json:
        print(json.dumps(plain, indent=1))
    else:
        Console().print(_table(plain))
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Show one."""
    import contextlib
    import json

    from edgenas.fleet.journal import FleetJournal
    from edgenas.fleet.profiles import known_profiles

    profiles = known_profiles(*args.profile_dirs)
    with contextlib.closing(FleetJournal(place(args))) as journal:
        view = _known_view(args.device, _views(args, journal))
        plain = _plain(view, journal, journal.labels.read(), profiles)
        plain["history"] = [
            {"note": each.note, "installation": each.install_id, "boot": each.boot_id}
            for each in journal.devices.sightings(view.device_id)[-20:]
        ]
        plain["audit"] = [
            f"{entry.position} {entry.who}: {entry.action} {entry.detail}"
            for entry in journal.audit.entries()
            if entry.subject == view.device_id
        ]
    if args.json:
        print(json.dumps(plain, indent=1))
        return 0
    for name, value in plain.items():
        lines = value if isinstance(value, list) else [value]
        print(f"{name}:", *(lines if len(lines) == 1 else [""]))
        if len(lines) > 1:
            print(*(f"  {line}" for line in lines), sep="\n")
    return 0


def run_tag(args: argparse.Namespace) -> int:
    """Give tags or take them away."""
    import contextlib
    import time

    from edgenas.fleet.journal import FleetJournal
    from edgenas.fleet.profiles import known_profiles
    from edgenas.fleet.selectors import check_tag, select

    tags = [check_tag(tag) for tag in args.tags]
    profiles = known_profiles(*args.profile_dirs)
    with contextlib.closing(FleetJournal(place(args))) as journal:
        found = select(args.selector, known_views(journal), journal.labels.read(), profiles)
        ids = [view.device_id for view in found]
        at_ms = time.time_ns() // 1_000_000
        changed = journal.labels.tag(ids, tags, at_ms, present=args.present)
    print(f"{len(ids)} devices picked, {len(changed)} changed: {', '.join(changed) or 'none'}")
    return 0 if ids else 1


def run_group(args: argparse.Namespace) -> int:
    """Save, remove or list groups."""
    import contextlib
    import time

    from edgenas.fleet.errors import FleetError
    from edgenas.fleet.journal import FleetJournal
    from edgenas.fleet.profiles import known_profiles
    from edgenas.fleet.selectors import Labels, check_selector, check_tag, select

    if args.remove and (args.name is None or args.selector is not None):
        raise FleetError("expected a name and no selector beside --remove")
    with contextlib.closing(FleetJournal(place(args))) as journal:
        labels = journal.labels.read()
        if args.name is not None and (args.remove or args.selector is not None):
            name, text = check_tag(args.name), None if args.remove else args.selector
            if text is not None:
                check_selector(f"group:{name}", Labels(labels.tags, {**labels.groups, name: text}))
            journal.labels.set_group(name, text, time.time_ns() // 1_000_000)
            labels = journal.labels.read()
        profiles, views = known_profiles(*args.profile_dirs), known_views(journal)
        for name, text in sorted(labels.groups.items()):
            if args.name in (None, name):
                found = select(f"group:{name}", views, labels, profiles)
                print(f"{name}: {text}")
                print(f"  {', '.join(view.device_id for view in found) or 'nobody'}")
    return 0


def run_forget(args: argparse.Namespace) -> int:
    """Forget one."""
    import contextlib
    import time

    from edgenas.fleet.forgetting import clear_topics, forget
    from edgenas.fleet.journal import FleetJournal

    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(contextlib.closing(FleetJournal(place(args))))
        _known_view(args.device, known_views(journal))
        link = None
        if args.broker is not None:  # first: forgotten, it could not be cleared by a second try
            from edgenas.campaign.fleet_session import clearing_link

            link = stack.enter_context(clearing_link(args.broker, args.tls))
        wishes = journal.deployments.wishes_of(args.device)
        forget(journal, args.device, time.time_ns() // 1_000_000)
        if link is not None:
            slots = sorted({"main", *(wish.slot for wish in wishes)})
            clear_topics(link, args.fleet, args.device, slots)
    print(f"{args.device} is forgotten")
    return 0


def known_views(journal: FleetJournal) -> list[DeviceView]:
    """Every device that the database lists, as it was last known."""
    from edgenas.fleet.clock import SystemClock
    from edgenas.fleet.device_view import DeviceView
    from edgenas.fleet.presence import Phase
    from edgenas.fleet.roster import FORGOTTEN, Roster
    from edgenas.fleet.timers import HostTimers

    seen = {view.device_id: view for view in Roster(journal, SystemClock(), HostTimers()).views()}
    notes = {each.device_id: each.note for each in journal.devices.sightings()}
    enrolled = [
        known.device_id
        for known in journal.enrolments.certificates()
        if not known.revoked or notes.get(known.device_id) != FORGOTTEN
    ]
    for device_id in set(enrolled) - seen.keys():
        seen[device_id] = DeviceView(device_id, Phase.UNKNOWN, False, None, None, None)
    return [seen[device_id] for device_id in sorted(seen)]


def _views(args: argparse.Namespace, journal: FleetJournal) -> list[DeviceView]:
    views = known_views(journal)
    if args.broker is None:
        return views
    from edgenas.campaign.overhearing import overheard

    fleet = journal.fleet()
    heard = {v.device_id: v for v in overheard(args.broker, fleet, args.wait, args.tls)}
    merged = {
        view.device_id: replace(
            view,
            phase=heard[view.device_id].phase,
            state=heard[view.device_id].state,
            facts=heard[view.device_id].facts or view.facts,
        )
        if view.device_id in heard
        else view
        for view in views
    }
    return [({**heard, **merged})[name] for name in sorted({**heard, **merged})]


def _known_view(device_id: str, views: list[DeviceView]) -> DeviceView:
    from edgenas.fleet.errors import FleetError

    for view in views:
        if view.device_id == device_id:
            return view
    raise FleetError(
        f"expected a device of this fleet, got {device_id!r}; `edgenas fleet list` names them"
    )


def _plain(
    view: DeviceView, journal: FleetJournal, labels: Labels, profiles: Profiles
) -> dict[str, object]:
    from edgenas.fleet.profiles import profile_of

    facts = view.facts
    given = journal.enrolments.certificates(view.device_id)
    notes = [each.note for each in journal.devices.sightings(view.device_id)]
    return {
        "id": view.device_id,
        "state": view.phase.value if view.phase.value != "unknown" else _last(notes),
        "quarantined": view.quarantined,
        "profile": profile_of(view, profiles),
        "memory_bytes": None if facts is None else facts.ram_bytes,
        "runtime": None if facts is None else facts.fingerprint.get("runtime"),
        "measures": None if facts is None else facts.measure,
        "tags": sorted(labels.of(view.device_id)),
        "certificate": _in_force(given),
        "fingerprint": {} if facts is None else dict(facts.fingerprint),
    }


def _last(notes: list[str]) -> str:
    return {"birth": "last seen online", "gone": "last seen leaving"}.get(
        notes[-1] if notes else "", "never seen"
    )


def _in_force(given: list[Known]) -> str | None:
    from datetime import UTC, datetime

    valid = [known for known in given if not known.revoked]
    if not valid:
        return "revoked" if given else None
    known = max(valid, key=lambda each: each.ends_ms)
    return f"until {datetime.fromtimestamp(known.ends_ms / 1000, UTC):%Y-%m-%d}"


def _table(rows: list[dict[str, object]]) -> object:
    from rich.table import Table

    table = Table(title=f"{len(rows)} devices")
    for heading in ("device", "state", "profile", "memory", "runtime", "tags", "certificate"):
        table.add_column(heading)
    for row in rows:
        memory, tags = row["memory_bytes"], row["tags"]
        assert isinstance(tags, list)
        table.add_row(
            str(row["id"]),
            "two boards, one id" if row["quarantined"] else str(row["state"]),
            str(row["profile"]),
            f"{memory / 2**20:,.0f} MiB" if isinstance(memory, int) else "?",
            str(row["runtime"] or "?"),
            " ".join(tags) or "-",
            str(row["certificate"] or "none"),
        )
    return table
