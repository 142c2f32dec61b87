"""Showing a rollout: the plan and its state as tables, its course live or line by line."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edgenas.rollout.events import Event
from edgenas.rollout.plan import Selection
from edgenas.rollout.state import RolloutState
from edgenas.rollout.store import Record
from edgenas.rollout.summary import is_over, summary, told

NEWEST_LINES = 8
PICKED_SHOWN = 12
REDRAW_S = 0.2
Body = Mapping[str, Any]


def plan_view(
    body: Body, online: Collection[str], selections: Sequence[Selection] = ()
) -> RenderableType:
    """A plan before anything happens: who gets what, in which wave, behind which gate."""
    there = sum(device["id"] in online for device in body["devices"])
    title = (
        f"rollout {body['rollout'][:8]}, version {body['version']}: {body['targeted']} devices, "
        f"{there} online, {len(body['left_out'])} left out"
    )
    return Group(
        Text(title),
        _groups(body),
        *([_selections(selections)] if selections else []),
        _gates(body),
        _planned_devices(body, online),
        *_left(body),
    )


def status_view(body: Body) -> RenderableType:
    """A rollout now."""
    return Group(Text(_headline(body)), _groups(body), _waves(body), _devices(body), *_left(body))


def events_view(kept: Sequence[Record]) -> RenderableType:
    """The audit trail in words."""
    table = Table("at", "what")
    for record in kept:
        when = datetime.fromtimestamp(record.at_ms / 1000).strftime("%Y-%m-%d %H:%M:%S")
        _add(table, when, told(record.event) or record.event.kind)
    return table


class Screen:
    """A live view on a terminal, a line for each event elsewhere; use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        self._lines: list[str] = []
        self._first = True
        self._not_before_s = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, state: RolloutState, happened: Sequence[Event]) -> None:
        """What has happened, and how it stands."""
        lines = [line for event in happened if (line := told(event))]
        stamp = time.strftime("%H:%M:%S")
        self._lines = [*self._lines, *(f"{stamp} {line}" for line in lines)][-NEWEST_LINES:]
        if self._live is not None:
            self._draw(self._live, state)
            return
        if self._first:
            self._print(_headline(summary(state, state.newest_ms)))
        for line in lines:
            self._print(f"{stamp} {line}")
        self._first = False

    def _draw(self, live: Live, state: RolloutState) -> None:
        """Draw anew, but not so often that summing up a large fleet slows its rollout down."""
        now_s = time.monotonic()
        if now_s < self._not_before_s and not is_over(state):
            return
        body = summary(state, state.newest_ms)
        view = Group(Text(_headline(body)), _waves(body), *map(Text, self._lines))
        live.update(view, refresh=True)
        self._not_before_s = now_s + REDRAW_S

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _headline(body: Body) -> str:
    counts = body["counts"]
    why = "".join(f"\n  {key}: {text}" for key, text in body["paused_for"].items())
    return (
        f"rollout {body['rollout'][:8]}, version {body['version']}: {body['status']}; "
        f"{counts['succeeded']} of {counts['assigned']} devices run it "
        f"({body['already_installed']} did before), {counts['errors']} failed{why}"
    )


def _groups(body: Body) -> Table:
    table = Table("group", "profile", "network", "bundle", "devices")
    for group in body["groups"]:
        _add(
            table,
            group["name"],
            group["profile"],
            group["network"],
            group["bundle"][:12],
            str(group["devices"]),
        )
    return table


def _selections(selections: Sequence[Selection]) -> Table:
    table = Table("for", "selector", "picks", "devices")
    for each in selections:
        shown = ", ".join(each.devices[:PICKED_SHOWN])
        more = len(each.devices) - PICKED_SHOWN
        shown += f" and {more} more" if more > 0 else ""
        _add(table, each.owner, each.selector, str(len(each.devices)), shown)
    return table


def _gates(body: Body) -> Table:
    table = Table("wave", "devices", "errors", "measured worse", "must measure", "success", "soak")
    for wave in body["waves"]:
        gate = wave["gate"]
        needed = gate.get("perf_min")
        _add(
            table,
            wave["name"],
            str(wave["counts"]["assigned"]),
            _limits(gate, "error"),
            _limits(gate, "perf"),
            "all" if needed is None else str(needed),
            f"{gate['success_pct']} %",
            f"{gate['soak_s']:g} s",
        )
    return table


def _limits(gate: Body, what: str) -> str:
    number, share = gate.get(f"{what}_abs"), gate.get(f"{what}_pct")
    parts = [
        *([] if number is None else [f"{number}"]),
        *([] if share is None else [f"{share} %"]),
    ]
    return " or ".join(parts) or "off"


def _waves(body: Body) -> Table:
    table = Table("wave", "phase", "run it", "failed", "open", "measured", "worse", "closed gates")
    for wave in body["waves"]:
        counts = wave["counts"]
        _add(
            table,
            wave["name"],
            wave["phase"],
            f"{counts['succeeded']} of {counts['assigned']}",
            str(counts["errors"]),
            str(counts["open"]),
            str(counts["perf_known"]),
            str(counts["perf_bad"]),
            "; ".join(f"{gate}: {text}" for gate, text in wave["closed"].items()),
        )
    return table


def _planned_devices(body: Body, online: Collection[str]) -> Table:
    table = Table("device", "wave", "group", "runs now", "online")
    for device in body["devices"]:
        _add(
            table,
            device["id"],
            device["wave"],
            device["group"],
            (device["incumbent"] or "nothing")[:12],
            "yes" if device["id"] in online else "no",
        )
    return table


def _devices(body: Body) -> Table:
    table = Table("device", "wave", "group", "state", "latency", "peak memory", "golden", "why")
    for device in body["devices"]:
        trial, back = device["trial"] or {}, device["way_back"]
        state = device["state"] if back is None else f"{device['state']}, back: {back['state']}"
        why = "; ".join([*([device["code"]] if device["code"] else []), *trial.get("bad", [])])
        _add(
            table,
            device["id"],
            device["wave"],
            device["group"],
            "taken over" if device["superseded_by"] else state,
            _figure(trial.get("ratio"), "{:.3f} x"),
            _figure(trial.get("peak_bytes"), "{:,} B"),
            _figure(trial.get("golden_lsb"), "{} off"),
            why,
        )
    return table


def _add(table: Table, *cells: str) -> None:
    """A row; what devices and operators wrote is no markup."""
    table.add_row(*map(Text, cells))


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _left(body: Body) -> list[Text]:
    return [Text(f"left out: {device}: {why}") for device, why in body["left_out"].items()]
