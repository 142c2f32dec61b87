"""Waits until this board may be measured: cool, with room, quiet, and nobody else measuring.

The machine's lock is held while load is watched and while the caller measures, and free during the
pauses between tries. What is looked at is decided in ``preflight``; what an unfit board means for
a job in ``supervise``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from firmware_bridge.bench import preflight
from firmware_bridge.bench.plan import MeasurePlan
from firmware_bridge.bench.preflight import Surroundings, Unfit
from firmware_bridge.machine_lock import MachineLock


@dataclass(frozen=True)
class Turn:
    """What came of waiting.

    Attributes:
        unfit: Why the board must not be measured now; None if it may.
        waited_ms: How long the wait took.
    """

    unfit: Unfit | None
    waited_ms: int


@contextmanager
def when_fit(
    plan: MeasurePlan, around: Surroundings, lock: MachineLock | None, lock_timeout_s: float
) -> Iterator[Turn]:
    """Waits for the board to cool down, then up to four times for a quiet moment.

    Within the ``with`` block the lock is held if the board is fit.

    Args:
        plan: How quiet, cool and roomy it must be.
        around: Where to look and how to wait.
        lock: The machine's lock; None takes no lock.
        lock_timeout_s: Longest wait for it, over all tries.

    Raises:
        MachineLockError: It could not be taken.
    """
    started = time.monotonic()
    unfit = preflight.check_memory(plan, around) or preflight.check_temperature(plan, around)
    pauses_s = [*preflight.RETRY_PAUSES_S]
    while unfit is None:
        left_s = max(lock_timeout_s, 0.0)
        with lock.hold(left_s, around.cancelled) if lock else nullcontext(0.0) as waited_s:
            lock_timeout_s -= waited_s
            unfit = preflight.check_load(plan, around)
            if unfit is None:
                yield Turn(None, _ms_since(started))
                return
        if unfit.obstacle != "CANCELLED" and pauses_s:
            around.tell(f"{unfit.detail}; trying again in {pauses_s[0]:g} s")
            fit_to_try = around.wait(pauses_s.pop(0))
            unfit = None if fit_to_try else Unfit("CANCELLED", "cancelled while the board was busy")
    yield Turn(unfit, _ms_since(started))


def _ms_since(started_s: float) -> int:
    return round((time.monotonic() - started_s) * 1000)
