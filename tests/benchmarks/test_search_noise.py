"""The benchmark of picks under noise, on a table made of a formula."""

import hashlib
import random

from benchmarks.reduced import REDUCED, Row, Table, everything
from benchmarks.search_noise import NoisyTable, Run, figures, replay
from edgenas.search.budget import Budget
from tests.edgenas.search import analytic

SPACE = REDUCED["digits"]


def table(count: int) -> Table:
    """Some of the space, as the formula measures it."""
    archs = random.Random(1).sample(everything(SPACE), count)
    return Table(SPACE, {arch: _row(arch.id, analytic.latency_ms(SPACE, arch), analytic.accuracy(
        SPACE, arch)) for arch in archs})  # fmt: skip


def _row(arch_id: str, ms: float, accuracy: float) -> Row:
    digest = hashlib.sha256(arch_id.encode()).hexdigest()
    return Row(accuracy, (1e3 * ms,), 1e3 * ms, 1 << 20, 9000, digest)


def test_one_sample_in_ten_is_doubled() -> None:
    known = table(5)
    arch = next(iter(known.rows))
    found = NoisyTable(known, 3).measure(arch, 2000)
    assert found is not None
    usual = 1e6 * known.rows[arch].latency_ms
    slow = sum(ns > 1.5 * usual for ns in found[1]) / 2000
    assert 0.07 < slow < 0.13
    assert found[0].latency_p95_ms > 1.8 * known.rows[arch].latency_ms


def test_a_pick_under_noise_keeps_its_limit() -> None:
    known = table(400)
    middle = sorted(row.latency_ms for row in known.rows.values())[200]
    found = replay(known, Budget(middle), 0, 0.5, 60, "random")
    assert found.overshoot is not None
    assert -0.6 < found.overshoot <= 0
    assert found.regret_pt < 5
    assert found.sessions >= 9


def test_figures_count_what_broke_its_limit() -> None:
    runs = [Run(0, 0.1, 0.1, 0.02, 9), Run(1, 0.1, 0.3, -0.1, 9), Run(2, 0.1, 5.0, None, 9)]
    values = {figure.name: figure.value for figure in figures(runs)}
    assert values["regret, median"] == 0.3
    assert values["picks above their limit alone"] == 1
    assert values["largest overshoot"] == 2.0
