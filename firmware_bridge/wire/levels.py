"""How thoroughly to measure: three named recipes shared by host and device.

A result must fit into 64 KiB however slow the model is, or the device could never report
it. :func:`largest_result_bytes` bounds its size: a round is R C C R with at least 10 samples a
leg, a leg without its samples takes up to 130 B, and a sample takes up to 11 B (10 digits,
just under 10 s, and a comma). 2,000 samples of C, with as many of R, come to 98 KiB; even
at 9 B a sample they would be 90 KiB. 1,200 come to 61 KiB, so that is where ``certify`` ends.
It still bounds the 99th percentile, for which 299 samples are needed. The measuring itself
is left to the device.
"""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.wire.messages import Quiet

MIN_LEG_SAMPLES = 10
MAX_LEG_SAMPLES = 50
LEGS_A_ROUND = 4
LEG_OVERHEAD_BYTES = 130
SAMPLE_BYTES = 11
ENVELOPE_BYTES = 4096

MAX_SAMPLES = 1200


@dataclass(frozen=True)
class Level:
    """One recipe.

    Attributes:
        name: ``quick``, ``standard`` or ``certify``.
        min_samples: Stop no earlier than this many samples of the candidate...
        min_time_ms: ... and this much time of it.
        max_samples: Stop at this many samples of it.
        cap_ms: Stop at this time, whatever was reached.
        warmup_ms: Warm up for at least this long.
        min_rounds: Rounds wanted, unless ``cap_ms`` comes first.
        quiet: How quiet the board must be; a window of 0 records load without waiting.
    """

    name: str
    min_samples: int
    max_samples: int
    min_time_ms: int
    cap_ms: int
    warmup_ms: int
    min_rounds: int
    quiet: Quiet


def largest_result_bytes(max_samples: int) -> int:
    """Upper bound for the encoded Measurement of ``max_samples`` samples of the candidate.

    The last round may overshoot by one sample short of two legs; the reference has as many
    legs and samples as the candidate.
    """
    largest = 0
    for leg in range(MIN_LEG_SAMPLES, MAX_LEG_SAMPLES + 1):
        rounds = -(-max_samples // (2 * leg))
        samples = 2 * rounds * 2 * leg
        legs = rounds * LEGS_A_ROUND
        size = samples * SAMPLE_BYTES + legs * LEG_OVERHEAD_BYTES + ENVELOPE_BYTES
        largest = max(largest, size)
    return largest


LEVELS: dict[str, Level] = {
    "quick": Level(
        name="quick",
        min_samples=60,
        max_samples=200,
        min_time_ms=50,
        cap_ms=5000,
        warmup_ms=150,
        min_rounds=5,
        quiet=Quiet(busy_pct=100.0, temp_delta_c=100.0, wait_ms=0, window_ms=0),
    ),
    "standard": Level(
        name="standard",
        min_samples=100,
        max_samples=1000,
        min_time_ms=3000,
        cap_ms=60_000,
        warmup_ms=1000,
        min_rounds=5,
        quiet=Quiet(),
    ),
    "certify": Level(
        name="certify",
        min_samples=400,
        max_samples=MAX_SAMPLES,
        min_time_ms=400,
        cap_ms=60_000,
        warmup_ms=1000,
        min_rounds=5,
        quiet=Quiet(),
    ),
}
