"""Checks before a measurement that the board is quiet, cool and has room; waits a while if it is
not.

Answers with a value: fit, or why not. It never measures and never silently lets a noisy board
pass. Clock and pause are parameters.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from firmware_bridge.bench.load import others_busy_pct, pages_swapped_in, read_cpu_times
from firmware_bridge.bench.plan import MeasurePlan
from firmware_bridge.bench.sensors import Sensors
from firmware_bridge.facts import meminfo_bytes

RETRY_PAUSES_S = (5.0, 10.0, 20.0)
STEP_S = 0.1
TEMPERATURE_STEP_S = 1.0
LOOKS = 3  # at the load, within its window
ALL_BUT_IDLE = 0.25  # of the load that is allowed

_LOGGER = logging.getLogger(__name__)

Obstacle = Literal["busy", "throttled", "NO_MEMORY", "CANCELLED"]


@dataclass(frozen=True)
class Unfit:
    """Why the board should not be measured now."""

    obstacle: Obstacle
    detail: str


def _log(line: str) -> None:
    _LOGGER.info("%s", line)


@dataclass(frozen=True)
class Surroundings:
    """Where to look and how to wait.

    Attributes:
        proc_root, sys_root: Roots of procfs and sysfs.
        cancelled: True when the job was withdrawn.
        clock: Monotonic seconds.
        pause: Sleeps for seconds.
        tell: Takes a line on what is being waited for.
    """

    proc_root: Path
    sys_root: Path
    cancelled: Callable[[], bool]
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    tell: Callable[[str], None] = _log

    def wait(self, seconds: float) -> bool:
        """Sleeps in short steps; False if cancelled meanwhile."""
        until = self.clock() + seconds
        while (left := until - self.clock()) > 0:
            if self.cancelled():
                return False
            self.pause(min(left, STEP_S))
        return not self.cancelled()


def check_memory(plan: MeasurePlan, around: Surroundings) -> Unfit | None:
    """Twice ``memory_cap_bytes`` must be available, or the kernel would step in first."""
    available = meminfo_bytes(around.proc_root).get("MemAvailable")
    needed = 2 * plan.memory_cap_bytes
    if available is None or available >= needed:
        return None
    return Unfit(
        "NO_MEMORY",
        f"expected {needed} bytes of available memory (twice memory_cap_bytes), got {available}; "
        "stop other programs or lower the cap",
    )


def check_temperature(plan: MeasurePlan, around: Surroundings) -> Unfit | None:
    """Waits up to ``quiet.wait_ms`` for the board to cool down: to idle + ``temp_delta_c``, and in
    any case to ``temp_max_c``.

    Without a sensor it waits ``blind_pause_ms`` instead. Passes if there is nothing to compare
    with.
    """
    sensors = Sensors(around.sys_root)
    if sensors.read().temp_c is None:
        return _pause_blindly(plan, around)
    limit = _warmest(plan)
    if limit is None:
        return None
    started = around.clock()
    until = started + plan.quiet.wait_ms / 1000
    while (temperature := sensors.read().temp_c) is not None and temperature > limit:
        if around.clock() >= until:
            return Unfit(
                "throttled",
                f"expected at most {limit:.1f} degrees Celsius before measuring, "
                f"got {temperature:.1f} after waiting {plan.quiet.wait_ms} ms; cool the board",
            )
        if around.clock() == started:
            around.tell(f"waiting for {temperature:.1f} degrees Celsius to fall to {limit:.1f}")
        if not around.wait(TEMPERATURE_STEP_S):
            return Unfit("CANCELLED", "cancelled while the board cooled down")
    return None


def _warmest(plan: MeasurePlan) -> float | None:
    """Highest temperature at which measuring may begin, degrees Celsius; None for any."""
    above_idle = None if plan.idle_temp_c is None else plan.idle_temp_c + plan.quiet.temp_delta_c
    limits = [each for each in (above_idle, plan.quiet.temp_max_c) if each is not None]
    return min(limits, default=None)


def _pause_blindly(plan: MeasurePlan, around: Surroundings) -> Unfit | None:
    """Lets a board cool whose temperature nobody can read."""
    seconds = (plan.quiet.blind_pause_ms or 0) / 1000
    if not seconds:
        return None
    around.tell(f"no temperature sensor: letting the board cool for {seconds:g} s")
    if around.wait(seconds):
        return None
    return Unfit("CANCELLED", "cancelled while the board cooled down")


def check_load(plan: MeasurePlan, around: Surroundings) -> Unfit | None:
    """Watches CPUs and swap for ``quiet.window_ms``; passes what is not watched or not shown.

    A board that is all but idle passes after a third or two of that; what happens while it is
    measured is seen then.
    """
    if plan.quiet.window_ms == 0:
        return None
    before = read_cpu_times(around.proc_root, plan.cpus)
    swapped_before = pages_swapped_in(around.proc_root)
    for left in reversed(range(LOOKS)):
        if not around.wait(plan.quiet.window_ms / 1000 / LOOKS):
            return Unfit("CANCELLED", "cancelled while watching the load")
        swapped = pages_swapped_in(around.proc_root)
        if swapped_before is not None and swapped is not None and swapped > swapped_before:
            return Unfit(
                "NO_MEMORY",
                f"expected no page to come back from swap within {plan.quiet.window_ms} ms, "
                f"got {swapped - swapped_before}; stop other programs",
            )
        busy = others_busy_pct(before, read_cpu_times(around.proc_root, plan.cpus))
        if busy is not None and busy <= plan.quiet.busy_pct * (ALL_BUT_IDLE if left else 1.0):
            return None
    if busy is None:
        return None
    return Unfit(
        "busy",
        f"expected other processes to use at most {plan.quiet.busy_pct:g}% of the CPUs, "
        f"got {busy:g}%; stop them or pin the measurement to free CPUs",
    )
