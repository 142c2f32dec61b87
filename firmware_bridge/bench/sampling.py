"""Draws latency samples: warm-up, then rounds of R C C R until there are enough.

Interleaving reference and candidate makes both share every disturbance, so that their ratio stays
true on a busy board. The order of calls, the size of a leg and the moment to stop are decided
here; which functions are timed, which clock counts and what the samples mean is left to others.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from firmware_bridge.bench.sensors import SLOWED_BITS, Reading
from firmware_bridge.wire.levels import MAX_LEG_SAMPLES, MIN_LEG_SAMPLES
from firmware_bridge.wire.measured import Leg
from firmware_bridge.wire.statistics import quantile

Letter = Literal["R", "C"]

LEG_NS = 20_000_000
WARMUP_BATCH = 10
WARMUP_AGREEMENT = 0.01
WARMUP_CAP_FACTOR = 10
WARMUP_CAP_SHARE = 4
FREQUENCY_WINDOW_NS = 200_000_000
FREQUENCY_AGREEMENT = 0.02
FREQUENCY_FLOOR = 0.98
MAX_REPEATS = 2
_MS = 1_000_000


@dataclass(frozen=True)
class SamplingRule:
    """When to stop; see ``MeasurePlan`` for the meaning and units of the fields."""

    min_samples: int
    max_samples: int
    min_time_ms: int
    cap_ms: int
    warmup_ms: int
    min_rounds: int
    leg: int | None = None

    def stride(self, p50_ns: float) -> int:
        """Of how many invocations one counts: ``max_samples`` of a model span ``min_time_ms``.

        A fast model would otherwise be over before a disturbance has come or gone, and a second
        measurement would meet another one.
        """
        return max(1, int(self.min_time_ms * _MS / max(self.max_samples * p50_ns, 1)))

    def leg_samples(self, p50_ns: float) -> int:
        """Samples a leg: about 20 ms of C, fewer where ``min_rounds`` would overshoot."""
        if self.leg is not None:
            return self.leg
        if self.stride(p50_ns) > 1:
            return MIN_LEG_SAMPLES
        wanted = min(max(math.ceil(LEG_NS / max(p50_ns, 1)), MIN_LEG_SAMPLES), MAX_LEG_SAMPLES)
        share = self.max_samples // (2 * max(self.min_rounds, 1))
        return min(wanted, max(share, MIN_LEG_SAMPLES))

    def enough(self, rounds: int, samples: int, time_ns: int) -> bool:
        """Whether sampling may end, given what there is of the candidate."""
        if rounds < self.min_rounds:
            return False
        satisfied = samples >= self.min_samples and time_ns >= self.min_time_ms * _MS
        return satisfied or samples >= self.max_samples


@dataclass(frozen=True)
class Instruments:
    """What a sampler looks at: a clock in ns, involuntary context switches so far, sensors."""

    clock_ns: Callable[[], int]
    switches: Callable[[], int]
    read: Callable[[], Reading]


@dataclass(frozen=True)
class Discarded:
    """A stretch of time whose samples do not count: warm-up, or a round that was repeated.

    Attributes:
        start_ns, end_ns: By the sampler's clock.
        throttle_bits: Flags seen at its legs, all together.
    """

    start_ns: int
    end_ns: int
    throttle_bits: int = 0


class Sampler:
    """Times the given functions by one rule.

    Attributes:
        discarded: After ``run``, what does not count, in the order in which it ran.

    Args:
        rule: When to stop.
        invokes: ``C``, and ``R`` if there is a reference; each call runs the model once.
        instruments: Clock and sensors.
    """

    def __init__(
        self,
        rule: SamplingRule,
        invokes: Mapping[Letter, Callable[[], None]],
        instruments: Instruments,
    ) -> None:
        self._rule = rule
        self._invokes = invokes
        self._instruments = instruments
        self._order: tuple[Letter, ...] = ("R", "C", "C", "R") if "R" in invokes else ("C", "C")
        self._buffer = [0] * max(rule.leg or 0, MAX_LEG_SAMPLES)
        self._strides: dict[Letter, int] = {}
        self._best_khz = 0.0
        self._stop_ns = 0
        self.discarded: list[Discarded] = []

    def run(self) -> tuple[Leg, ...]:
        """Warms up, then samples until the rule is met or ``cap_ms`` is over."""
        started = self._instruments.clock_ns()
        self._stop_ns = started + self._rule.cap_ms * _MS
        medians = self._warm_up(started)
        self._strides = {letter: self._rule.stride(p50) for letter, p50 in medians.items()}
        leg_samples = self._rule.leg_samples(medians["C"])
        self.discarded.append(Discarded(started, self._instruments.clock_ns()))
        legs: list[Leg] = []
        rounds = samples = time_ns = 0
        while not self._rule.enough(rounds, samples, time_ns) and not self._over():
            fresh = self._settled_round(rounds, leg_samples)
            legs += fresh
            rounds += 1
            samples += sum(len(leg.samples_ns) for leg in fresh if leg.model == "C")
            time_ns += sum(sum(leg.samples_ns) for leg in fresh if leg.model == "C")
        return tuple(legs)

    def _over(self) -> bool:
        return self._instruments.clock_ns() >= self._stop_ns

    def _warm_up(self, started: int) -> dict[Letter, float]:
        """Runs all models in turn until they are steady; returns their medians in ns."""
        rule = self._rule
        longest_ms = min(WARMUP_CAP_FACTOR * rule.warmup_ms, rule.cap_ms // WARMUP_CAP_SHARE)
        steady = _Steadiness()
        while True:
            medians = {letter: self._batch_median(letter) for letter in self._invokes}
            now = self._instruments.clock_ns()
            settled = steady.settled(medians, self._instruments.read().freq_khz, now)
            elapsed = now - started
            if (settled and elapsed >= rule.warmup_ms * _MS) or elapsed >= longest_ms * _MS:
                return medians

    def _batch_median(self, letter: Letter) -> float:
        clock, invoke = self._instruments.clock_ns, self._invokes[letter]
        times = []
        for _ in range(WARMUP_BATCH):
            start = clock()
            invoke()
            end = clock()
            times.append(end - start)
            if end >= self._stop_ns:
                break
        return quantile(sorted(times), 50)

    def _settled_round(self, number: int, leg_samples: int) -> list[Leg]:
        """One round, repeated at most twice while something disturbs it; the calmest one counts."""
        tries: list[tuple[list[Leg], Discarded]] = []
        while len(tries) <= MAX_REPEATS:
            started = self._instruments.clock_ns()
            legs = self._round(number, leg_samples)
            tries.append((legs, Discarded(started, self._instruments.clock_ns(), _flags(legs))))
            self._best_khz = max(self._best_khz, mean_khz(legs) or 0.0)
            if self._calm(legs) or self._over():
                break
        whole = [each for each in tries if len(each[0]) == len(self._order)] or tries[:1]
        kept = min(whole, key=lambda each: (self._slowed(each[0]), _preempted(each[0])))
        self.discarded += [span for legs, span in tries if legs is not kept[0]]
        return kept[0]

    def _calm(self, legs: list[Leg]) -> bool:
        return not _preempted(legs) and not self._slowed(legs)

    def _slowed(self, legs: list[Leg]) -> bool:
        khz = mean_khz(legs)
        slow = khz is not None and khz < FREQUENCY_FLOOR * self._best_khz
        return slow or bool(_flags(legs) & SLOWED_BITS)

    def _round(self, number: int, leg_samples: int) -> list[Leg]:
        legs = []
        for letter in self._order:
            leg = self._leg(number, letter, leg_samples)
            if not leg.samples_ns:
                break
            legs.append(leg)
        return legs

    def _leg(self, number: int, letter: Letter, count: int) -> Leg:
        """One discarded invocation, to refill the caches, then ``count`` timed ones: every one, or
        the last of each stride."""
        clock, invoke, buffer, stop = (
            self._instruments.clock_ns,
            self._invokes[letter],
            self._buffer,
            self._stop_ns,
        )
        before = self._instruments.switches()
        taken, skipped = 0, self._strides[letter] - 1
        invoke()
        while taken < count:
            for _ in range(skipped):
                if clock() >= stop:
                    break
                invoke()
            if clock() >= stop:
                break
            start = clock()
            invoke()
            buffer[taken] = clock() - start
            taken += 1
        switches = self._instruments.switches() - before
        reading = self._instruments.read()
        return Leg(
            round=number,
            model=letter,
            samples_ns=tuple(buffer[:taken]),
            nivcsw=switches,
            freq_khz=reading.freq_khz,
            temp_c=reading.temp_c,
            throttle_bits=reading.throttle_bits,
        )


class _Steadiness:
    """Remembers warm-up batches and says when two in a row agree and the frequency is flat."""

    def __init__(self) -> None:
        self._last: dict[Letter, float] = {}
        self._frequencies: deque[tuple[int, int]] = deque()

    def settled(self, medians: dict[Letter, float], freq_khz: int | None, now_ns: int) -> bool:
        agree = bool(self._last) and all(
            abs(medians[letter] - old) < WARMUP_AGREEMENT * old
            for letter, old in self._last.items()
        )
        self._last = medians
        return self._flat(freq_khz, now_ns) and agree

    def _flat(self, freq_khz: int | None, now_ns: int) -> bool:
        if freq_khz is None:
            return True
        seen = self._frequencies
        seen.append((now_ns, freq_khz))
        while len(seen) > 1 and seen[1][0] <= now_ns - FREQUENCY_WINDOW_NS:
            seen.popleft()
        values = [value for _, value in seen]
        long_enough = now_ns - seen[0][0] >= FREQUENCY_WINDOW_NS
        return long_enough and min(values) >= (1 - FREQUENCY_AGREEMENT) * max(values)


def mean_khz(legs: list[Leg]) -> float | None:
    """Mean frequency over legs, kHz; None if it was never readable."""
    values = [leg.freq_khz for leg in legs if leg.freq_khz is not None]
    return sum(values) / len(values) if values else None


def _flags(legs: list[Leg]) -> int:
    bits = 0
    for leg in legs:
        bits |= leg.throttle_bits or 0
    return bits


def _preempted(legs: list[Leg]) -> int:
    return sum(leg.nivcsw > 0 for leg in legs)
