"""What a network may cost on one device: hard limits, how they are read and how derived.

A limit is never a penalty. Which of the networks inside a budget is the best one is decided in
`edgenas.search.pick`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgenas.search.errors import BudgetError
from edgenas.search.trial import Outcome
from edgenas.search.wording import in_bytes, in_ms

_MS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_BYTES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
_LIMIT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµ]+)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits on one device; a limit that is None does not exist.

    Attributes:
        latency_p95_ms: highest 95th percentile of the latency of one inference.
        peak_memory_bytes: highest memory above the idle process.
        reason: in words, how the limits came about.
    """

    latency_p95_ms: float | None = None
    peak_memory_bytes: int | None = None
    reason: str = "no limit was given"

    def __post_init__(self) -> None:
        if self.latency_p95_ms is not None and not 0.0 < self.latency_p95_ms < math.inf:
            raise BudgetError(
                f"latency_p95_ms: expected a positive number of ms or None, "
                f"got {self.latency_p95_ms!r}; give the limit that the product has"
            )
        memory = self.peak_memory_bytes
        if memory is not None and (not isinstance(memory, int) or memory < 1):
            raise BudgetError(
                f"peak_memory_bytes: expected a positive number of whole bytes or None, "
                f"got {memory!r}; give the limit that the product has"
            )

    def exceeded(self, latency_p95_ms: float, peak_memory_bytes: int) -> tuple[str, ...]:
        """In words, each limit that these costs exceed; empty if they are inside."""
        texts = []
        if self.latency_p95_ms is not None and latency_p95_ms > self.latency_p95_ms:
            texts.append(f"p95 {in_ms(latency_p95_ms)} > budget {in_ms(self.latency_p95_ms)}")
        limit = self.peak_memory_bytes
        if limit is not None and peak_memory_bytes > limit:
            texts.append(f"peak memory {in_bytes(peak_memory_bytes)} > budget {in_bytes(limit)}")
        return tuple(texts)

    def over(self, other: Budget) -> Budget:
        """These limits, and those of `other` of which this budget has none."""
        latency, memory = self.latency_p95_ms, self.peak_memory_bytes
        texts = []
        if latency is None and other.latency_p95_ms is not None:
            latency = other.latency_p95_ms
            texts.append(f"p95 {in_ms(latency)}")
        if memory is None and other.peak_memory_bytes is not None:
            memory = other.peak_memory_bytes
            texts.append(f"peak memory {in_bytes(memory)}")
        if not texts:
            return self
        return Budget(latency, memory, f"{self.reason}; {', '.join(texts)} ({other.reason})")

    def within_memory(self, limit_bytes: int, why: str) -> Budget:
        """The same budget with at most this much peak memory.

        Args:
            limit_bytes: most memory above the idle process.
            why: who says so, in words.
        """
        known = self.peak_memory_bytes
        if known is not None and known <= limit_bytes:
            return self
        reason = f"{self.reason}; peak memory {in_bytes(limit_bytes)} ({why})"
        return replace(self, peak_memory_bytes=limit_bytes, reason=reason)

    def violations(self, outcome: Outcome) -> tuple[str, ...]:
        """In words, each limit that the measured p95 and peak memory exceed."""
        return self.exceeded(outcome.latency_p95_ms, outcome.peak_memory_bytes)

    def loads(self, latency_p95_ms: float, peak_memory_bytes: float) -> dict[str, float]:
        """Share of each existing limit that is used, by name; above 1 is too much."""
        found = {}
        if self.latency_p95_ms is not None:
            found["p95"] = latency_p95_ms / self.latency_p95_ms
        if self.peak_memory_bytes is not None:
            found["peak memory"] = peak_memory_bytes / self.peak_memory_bytes
        return found

    def excess(self, outcome: Outcome) -> float:
        """Total share by which limits are exceeded; 0 exactly where nothing is."""
        loads = self.loads(outcome.latency_p95_ms, outcome.peak_memory_bytes)
        return math.fsum(max(0.0, load - 1.0) for load in loads.values())

    def utilisation(self, outcome: Outcome) -> float:
        """Largest share of a limit that is used; 0 without limits."""
        loads = self.loads(outcome.latency_p95_ms, outcome.peak_memory_bytes)
        return max(loads.values(), default=0.0)


def parse_budget(text: str) -> Budget:
    """Read limits such as `2.5ms`, `8MiB` or `2.5ms,8MiB`.

    Times are in us, ms or s; sizes in B, kB, MB, GB (powers of 1000) or KiB, MiB, GiB.

    Raises:
        BudgetError: a part is not a limit, or there are two of one kind.
    """
    latency: float | None = None
    memory: int | None = None
    for part in text.split(","):
        amount, unit = _amount(part, text)
        if unit in _MS and latency is None:
            latency = amount * _MS[unit]
        elif unit in _BYTES and memory is None:
            memory = int(amount * _BYTES[unit])
        else:
            raise _unreadable(text, f"{part.strip()!r}")
    return Budget(latency, memory, reason=f"given: {text.strip()}")


def derive_budget(
    smallest: Outcome,
    largest: Outcome,
    *,
    share_latency: float | None,
    share_memory: float | None = None,
) -> Budget:
    """Limits a given share of the way from the smallest to the largest network on a device.

    A share that is None sets no limit; nor does a cost in which the largest network does not
    exceed the smallest, for it could not tell networks apart.

    Raises:
        BudgetError: a share is outside 0 to 1.
    """
    low, high = smallest.latency_p95_ms, largest.latency_p95_ms
    latency, latency_text = _between("p95", share_latency, low, high, in_ms)
    floor, ceiling = smallest.peak_memory_bytes, largest.peak_memory_bytes
    memory, memory_text = _between("peak memory", share_memory, floor, ceiling, in_bytes)
    texts = [text for text in (latency_text, memory_text) if text]
    reason = "; ".join(texts) or "no limit was given"
    return Budget(latency, None if memory is None else int(memory), reason)


def _between(
    name: str, share: float | None, low: float, high: float, wording: Callable[[float], str]
) -> tuple[float | None, str]:
    if share is None:
        return None, ""
    if not 0.0 <= share <= 1.0:
        raise BudgetError(f"share of {name}: expected 0 to 1, got {share!r}; 0.4 is a good start")
    if high <= low:
        text = f"{name} not limited: the largest network needs {wording(high)}, the smallest "
        return None, f"{text}{wording(low)}, so it does not tell networks apart on this device"
    text = f"{name} {share:.0%} of the way from the smallest network measured on this device "
    return low + share * (high - low), f"{text}({wording(low)}) to the largest ({wording(high)})"


def _amount(part: str, text: str) -> tuple[float, str]:
    match = _LIMIT.fullmatch(part)
    if match is None:
        raise _unreadable(text, repr(part.strip()))
    return float(match[1]), match[2].lower()


def _unreadable(text: str, part: str) -> BudgetError:
    return BudgetError(
        f"budget {text!r}: expected at most one time (us, ms, s) and one size (kB, KiB, MB, MiB, "
        f"...), separated by a comma, got {part}; write for instance 2.5ms,8MiB"
    )
