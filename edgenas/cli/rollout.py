"""`edgenas rollout`: ship every device of a fleet its best fit, in waves gated by the devices."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.cli.options import (
    Subparsers,
    add_broker,
    add_database,
    add_profiles,
    add_run,
    seconds,
)

if TYPE_CHECKING:
    from edgenas.database.address import Where
    from edgenas.rollout.events import Event
    from edgenas.rollout.journal_store import JournalStore
    from edgenas.rollout.state import RolloutState

    Verb = Callable[[RolloutState, str, argparse.Namespace, int], list[Event]]

PAUSED_CODE = 3
_CARRIED_OUT = (
    "a running `edgenas rollout start` carries it out; if there is none, start it again: it goes on"
)
_VERBS = {
    "pause": "no new offers; what is on its way stops before it switches",
    "resume": "let it go on; a closed gate has to be accepted by name, with a reason",
    "abort": "end it: what has not switched stops, the rest stays",
    "rollback": "bring every device back to what it ran before; needs no key",
    "retry": "offer it once more to devices whose failure that may mend",
}


def add_parser(commands: Subparsers) -> None:
    """Add the command and those below it."""
    parser = commands.add_parser(
        "rollout",
        help="ship a whole fleet its picks in waves, with gates measured on the devices",
        description="A plan assigns every device the pick that fits it, signs all releases and all "
        "ways back, and lays the devices out in waves. A wave goes on only if errors, latency, "
        "memory and golden outputs hold on the devices themselves, against what they ran before.",
    )
    below = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    _add_plan(below)
    _add_start(below)
    _add_status(below)
    _add_watch(below)
    for verb, what in _VERBS.items():
        _add_verb(below, verb, what)


def _add_plan(below: Subparsers) -> None:
    parser = below.add_parser("plan", help="assign, sign and lay waves; changes no device")
    add_run(parser)
    add_broker(parser, required=True)
    add_profiles(parser)
    parser.add_argument(
        "--plan", dest="recipe", type=Path, metavar="FILE",
        help="groups, waves, gates, pace and windows (TOML; see docs/rollout.md)",
    )  # fmt: skip
    parser.add_argument(
        "--wait", type=seconds, default=3.0, metavar="S", help="listen this long (default: 3)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_plan)


def _add_start(below: Subparsers) -> None:
    parser = below.add_parser(
        "start",
        help="begin, or go on with, and stay until it is over",
        description="Carries a rollout out and shows it. Killed at any moment, the same command "
        "goes on; so it does after every other verb.",
    )
    _add_which(parser)
    add_broker(parser, required=True)
    add_profiles(parser)
    parser.add_argument(
        "--leave-when-paused", action="store_true", help=f"end with code {PAUSED_CODE} instead"
    )
    parser.set_defaults(run=_start)


def _add_status(below: Subparsers) -> None:
    parser = below.add_parser("status", help="how it stands; needs no broker")
    _add_which(parser)
    add_database(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--events", action="store_true", help="everything that has happened")
    parser.set_defaults(run=_status)


def _add_watch(below: Subparsers) -> None:
    parser = below.add_parser("watch", help="follow it while another process carries it out")
    _add_which(parser)
    add_database(parser)
    parser.set_defaults(run=_watch)


def _add_verb(below: Subparsers, verb: str, what: str) -> None:
    parser = below.add_parser(verb, help=what, description=f"{what[0].upper()}{what[1:]}.")
    _add_which(parser)
    add_database(parser)
    if verb == "resume":
        parser.add_argument(
            "--accept", action="append", default=[], metavar="GATE",
            help="take the counts of this gate as they are: integrity, error_gate, perf_gate, "
            "perf_unknown, success_not_met; one more failure closes it again; may be repeated",
        )  # fmt: skip
    if verb != "retry":
        parser.add_argument("--note", default="", help="why, for the records")
    parser.set_defaults(run=_ask, verb=verb)


def _add_which(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "rollout", nargs="?", metavar="ID", help="its id or how that begins (default: the newest)"
    )


def _plan(args: argparse.Namespace) -> int:
    import json
    import time

    from rich.console import Console

    from edgenas.campaign.fleet_session import fleet_host
    from edgenas.campaign.picking import read_picks, read_setups
    from edgenas.campaign.rolling import plan_rollout
    from edgenas.campaign.rundir import RunDir
    from edgenas.campaign.workbench import workbench
    from edgenas.cli.rollout_view import plan_view
    from edgenas.fleet.profiles import known_profiles
    from edgenas.rollout.journal_store import JournalStore
    from edgenas.rollout.plan_file import read_recipe
    from edgenas.rollout.state import fresh
    from edgenas.rollout.summary import summary
    from firmware_bridge.wire.shape import plain

    folder, recipe = RunDir(args.folder), read_recipe(args.recipe)
    setups, _ = read_setups(folder)
    picks, profiles = read_picks(folder), known_profiles(*args.profile_dirs)
    with (
        workbench(folder) as bench,
        fleet_host(folder, args.broker, args.fleet, args.database, args.tls) as host,
    ):
        store = JournalStore(host.rollouts)
        time.sleep(args.wait)  # retained births arrive at once, answers a little later
        plan = plan_rollout(bench, host, store, setups, picks, recipe, profiles)
        online = {view.device_id for view in host.devices() if view.online}
    body = summary(fresh(plan), 0)
    if args.json:
        more = {"online_now": sorted(online & _ids(body)), "selections": plain(plan.selections)}
        print(json.dumps({**body, **more}, indent=1))
        return 0
    Console().print(plan_view(body, online, plan.selections))
    print(f"start it with: edgenas rollout start {args.folder} {plan.rollout_id[:8]} --broker URL")
    return 0


def _ids(body: dict[str, list[dict[str, str]]]) -> set[str]:
    return {device["id"] for device in body["devices"]}


def _start(args: argparse.Namespace) -> int:
    from edgenas.campaign.fleet_session import fleet_host
    from edgenas.campaign.rundir import RunDir
    from edgenas.cli.rollout_view import Screen
    from edgenas.fleet.clock import SystemClock
    from edgenas.fleet.journal import this_person
    from edgenas.fleet.profiles import known_profiles
    from edgenas.rollout.asking import begin, find
    from edgenas.rollout.conductor import Conductor
    from edgenas.rollout.host_desk import HostDesk
    from edgenas.rollout.journal_store import JournalStore
    from edgenas.rollout.store import load
    from edgenas.rollout.summary import is_over

    folder, clock = RunDir(args.folder), SystemClock()
    with fleet_host(folder, args.broker, args.fleet, args.database, args.tls) as host:
        store = JournalStore(host.rollouts)
        rollout_id = find(store, args.rollout)
        state = load(store, rollout_id)
        if not is_over(state) and state.status != "ABORTED":
            state = begin(store, rollout_id, this_person(), clock.wall_ms())
        desk = HostDesk(host, known_profiles(*args.profile_dirs))
        conductor = Conductor(store, desk, clock, desk.lacks)
        with Screen() as screen:

            def seen(now: RolloutState, happened: list[Event]) -> bool:
                screen.show(now, happened)
                return is_over(now) or (args.leave_when_paused and now.status == "PAUSED")

            state = conductor.run(rollout_id, host, seen)
    return _code(state)


def _status(args: argparse.Namespace) -> int:
    import json

    from rich.console import Console

    from edgenas.cli.rollout_view import events_view, status_view
    from edgenas.fleet.clock import SystemClock
    from edgenas.rollout.asking import find
    from edgenas.rollout.store import load
    from edgenas.rollout.summary import records, summary

    with _store(args) as store:
        rollout_id = find(store, args.rollout)
        body = summary(load(store, rollout_id), SystemClock().wall_ms())
        kept = store.events(rollout_id) if args.events else []
    if args.json:
        events = {"events": records(kept)} if args.events else {}
        print(json.dumps({**body, **events}, indent=1))
        return 0
    Console().print(events_view(kept) if args.events else status_view(body))
    return 0


def _watch(args: argparse.Namespace) -> int:
    import time

    from edgenas.cli.rollout_view import Screen
    from edgenas.rollout.asking import find
    from edgenas.rollout.conductor import LOOK_EVERY_S
    from edgenas.rollout.store import load
    from edgenas.rollout.summary import is_over

    with _store(args) as store, Screen() as screen:
        rollout_id = find(store, args.rollout)
        state = load(store, rollout_id)
        screen.show(state, [])
        while not is_over(state):
            time.sleep(LOOK_EVERY_S)
            fresh = store.events(rollout_id, state.position)
            for record in fresh:
                state.apply(record.event, record.at_ms)
            screen.show(state, [record.event for record in fresh])
    return _code(state)


def _ask(args: argparse.Namespace) -> int:
    from edgenas.fleet.clock import SystemClock
    from edgenas.fleet.journal import this_person
    from edgenas.rollout.asking import ask, find

    verb, now_ms, who = _verb(args), SystemClock().wall_ms(), this_person()
    with _store(args, who) as store:
        rollout_id = find(store, args.rollout)
        state = ask(store, rollout_id, lambda now: verb(now, who, args, now_ms), now_ms)
    print(f"rollout {rollout_id[:8]}: {state.status}; {_CARRIED_OUT}")
    return 0


def _verb(args: argparse.Namespace) -> Verb:
    from edgenas.rollout import verbs
    from edgenas.rollout.errors import VerbError

    if args.verb == "resume" and args.accept and not args.note:
        raise VerbError("expected --note beside --accept: the records must say why")
    known: dict[str, Verb] = {
        "pause": lambda state, by, args, now_ms: verbs.pause(state, by, args.note),
        "resume": lambda state, by, args, now_ms: verbs.resume(
            state, by, now_ms, args.accept, args.note
        ),
        "abort": lambda state, by, args, now_ms: verbs.abort(state, by, args.note),
        "rollback": lambda state, by, args, now_ms: verbs.rollback(state, by, args.note),
        "retry": lambda state, by, args, now_ms: verbs.retry(state, by),
    }
    return known[args.verb]


def _code(state: RolloutState) -> int:
    if state.status == "PAUSED":
        return PAUSED_CODE
    return 0 if state.status in ("COMPLETED", "ROLLED_BACK") else 1


@contextmanager
def _store(args: argparse.Namespace, who: str = "") -> Iterator[JournalStore]:
    """The rollouts of the fleet; read only unless it is said who writes."""
    from edgenas.fleet.rollout_log import opened
    from edgenas.rollout.journal_store import JournalStore

    with opened(_where(args), who) as log:
        yield JournalStore(log)


def _where(args: argparse.Namespace) -> Where:
    from edgenas.campaign.rundir import RunDir

    return str(args.database) if args.database else RunDir(args.folder).fleet
