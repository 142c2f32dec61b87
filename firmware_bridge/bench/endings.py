"""Turns what two children left behind into a Measurement or a JobFailed.

One table from endings to verdicts: it decides whether the model, the board or the installation is
to blame. How children are run is left to ``supervise`` and ``process``, trust in finished samples
to ``verdict``.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from firmware_bridge.bench.load import CpuTimes, others_busy_pct
from firmware_bridge.bench.plan import MeasurePlan
from firmware_bridge.bench.process import Ending
from firmware_bridge.bench.sampling import Discarded
from firmware_bridge.bench.verdict import judge, live_flags
from firmware_bridge.facts import Board, fingerprint, fingerprint_sha256
from firmware_bridge.wire.measured import DETAIL_CAP, Leg, Measurement, Verdict
from firmware_bridge.wire.messages import FailureCode, JobFailed


@dataclass(frozen=True)
class Blame:
    """Why a pass has no result: either a verdict on the model or a failure of this board."""

    detail: str
    verdict: Verdict | None = None
    failure: FailureCode | None = None


@dataclass
class Attempted:
    """What is known so far about one measurement; times in ms, bits are throttle flags.

    Attributes:
        plan: What was asked for.
        board: Where it ran.
        proved: Label of the runtime as proved by the one-operator model, now or earlier.
        seen: Result of the first child.
        legs: Samples of the second child.
        blame: The first thing that went wrong.
    """

    plan: MeasurePlan
    board: Board
    proved: str | None = None
    seen: dict[str, Any] = field(default_factory=dict)
    legs: tuple[Leg, ...] = ()
    live_bits: int = 0
    blame: Blame | None = None
    bits_before: int | None = None
    bits_after: int | None = None
    load_before: CpuTimes | None = None
    load_after: CpuTimes | None = None
    waiting_ms: int = 0
    measuring_ms: int | None = None

    def take_memory(self, ending: Ending) -> None:
        """Keeps the first child's result, or who is to blame that there is none."""
        self.proved = ending.stages.get("runtime", self.proved)
        if ending.result is None or ending.strays:
            self.blame = blame_of(ending)
            return
        self.seen = ending.result
        peak, cap = self.seen["peak_rss_bytes"], self.plan.memory_cap_bytes
        if peak > cap:
            self.blame = Blame(
                f"expected at most {cap} bytes of resident memory, got {peak}", "oom"
            )

    def take_latency(self, ending: Ending, polled: Sequence[tuple[int, int | None]]) -> None:
        """Keeps the second child's samples and what was seen of throttling meanwhile.

        Args:
            ending: How the child ended.
            polled: Times (ns, by the child's clock) and throttle flags then.
        """
        if ending.result is None or ending.strays:
            self.blame = blame_of(ending)
            return
        legs = ending.result["legs"]
        self.legs = tuple(Leg(**{**leg, "samples_ns": tuple(leg["samples_ns"])}) for leg in legs)
        spans = [Discarded(**each) for each in ending.result["discarded"]]
        during: list[int | None] = [leg.throttle_bits for leg in self.legs]
        repeated = 0
        for span in spans:
            repeated |= span.throttle_bits
        for moment_ns, bits in polled:
            if any(span.start_ns <= moment_ns <= span.end_ns for span in spans):
                repeated |= bits or 0
            else:
                during.append(bits)
        self.live_bits = live_flags(self.bits_before, during, self.bits_after, repeated)

    def outcome(self) -> Measurement | JobFailed:
        """The answer to the job."""
        blame = self.blame
        if blame is None:
            verdict, detail = judge(self.legs, self.live_bits)
            return measurement_of(self, verdict, detail)
        if blame.verdict is not None:
            return measurement_of(self, blame.verdict, blame.detail)
        code = blame.failure or "INTERNAL"
        return failure_of(code, blame.detail, retryable=False)


def measurement_of(attempted: Attempted, verdict: Verdict, detail: str | None) -> Measurement:
    """A Measurement of whatever is known, with attempt and rev 0."""
    plan, seen = attempted.plan, attempted.seen
    fields = fingerprint(attempted.board, attempted.proved, plan.threads, plan.cpus)
    notes = [note for note in (detail, seen.get("runtime_note"), seen.get("golden_flaw")) if note]
    return Measurement(
        attempt=0,
        rev=0,
        verdict=verdict,
        fingerprint_sha256=fingerprint_sha256(fields),
        load_cold_ns=seen.get("load_cold_ns"),
        load_warm_ns=seen.get("load_warm_ns"),
        first_invoke_ns=seen.get("first_invoke_ns"),
        legs=attempted.legs,
        memory=seen.get("memory", {}),
        detail="; ".join(notes)[:DETAIL_CAP] or None,
        golden_max_lsb=seen.get("golden_max_lsb"),
        measuring_ms=attempted.measuring_ms,
        waiting_ms=attempted.waiting_ms,
        runtime=seen.get("runtime", attempted.proved),
        busy_pct=others_busy_pct(attempted.load_before, attempted.load_after),
    )


def failure_of(code: FailureCode, detail: str, *, retryable: bool) -> JobFailed:
    """A JobFailed with attempt and rev 0."""
    return JobFailed(attempt=0, rev=0, code=code, detail=detail[:DETAIL_CAP], retryable=retryable)


def blame_of(ending: Ending) -> Blame:
    """Whose fault it is that a child gave no result."""
    story = ending.story()
    if ending.killed_for == "cancelled":
        return Blame("cancelled while measuring", failure="CANCELLED")
    if ending.stages.get("loading") == "reference":
        return Blame(f"the reference model cannot be measured: {story}", failure="INTERNAL")
    if ending.strays:
        return Blame(f"left {ending.strays} processes behind that had to be looked for", "crash")
    if ending.killed_for in ("processes", "answer"):
        return Blame(story, "crash")
    if ending.killed_for == "memory":
        return Blame(f"passed memory_cap_bytes with {ending.peak_bytes} bytes resident", "oom")
    if ending.killed_for == "deadline":
        return Blame(f"not finished at its deadline: {story}", "timeout")
    if ending.failure is not None:
        return _blame_told(ending.failure.get("code"), story)
    if ending.signal_number == signal.SIGXCPU:
        return Blame(f"used more CPU time than its deadline and threads allow: {story}", "timeout")
    if ending.signal_number == signal.SIGKILL and ending.kernel_oom is not False:
        return Blame(f"killed by the kernel, most likely for want of memory: {story}", "oom")
    if ending.cannot_import is not None:
        return Blame(story, failure="INTERNAL")
    if ending.signal_number is not None or "runtime" in ending.stages:
        return Blame(story, "crash")
    return Blame(f"the measuring process cannot run here: {story}", failure="INTERNAL")


def _blame_told(code: str | None, story: str) -> Blame:
    """The child ended in an orderly way and said why."""
    if code == "unsupported_op":
        return Blame(story, "unsupported_op")
    if code == "oom":
        return Blame(story, "oom")
    return Blame(story, failure="INTERNAL")
