"""Which of the networks whose figures no longer hold are worth a second measurement."""

import random

from edgenas.search.again import AGAIN, worth_again
from edgenas.search.budget import Budget
from edgenas.search.pick import shortlist
from edgenas.search.trial import Failure, Trial
from tests.edgenas.search.analytic import DEVICE, DIGITS, complete, latency_ms

ARCHS = sorted({DIGITS.sample_by_size(random.Random(i)) for i in range(60)}, key=lambda a: a.id)
VOID = [complete(number, arch) for number, arch in enumerate(ARCHS, 1)]
LIMIT = Budget(latency_p95_ms=0.5, peak_memory_bytes=None, reason="test")


def test_the_shortlist_and_networks_of_all_sizes_inside_the_limit_are() -> None:
    found = worth_again(VOID, LIMIT)
    assert len(found) == AGAIN == len(set(found))
    for count in (1, 3, 4, AGAIN // 2):
        assert set(shortlist(VOID, LIMIT, count)) <= set(found)
    inside = [t for t in VOID if t.value and t.value.latency_p95_ms <= 0.5]
    fastest = min(inside, key=lambda trial: latency_ms(DIGITS, trial.arch))
    assert fastest in found


def test_the_order_of_asking_does_not_choose() -> None:
    assert set(worth_again(VOID, LIMIT)) == set(worth_again(VOID[::-1], LIMIT))


def test_few_are_measured_again_all_and_failures_never() -> None:
    failed = Trial(99, DEVICE, "evolution", DIGITS.largest()).ended(Failure("oom", "killed"))
    assert set(worth_again([*VOID[:5], failed], Budget())) == set(VOID[:5])
    assert worth_again([failed], LIMIT) == ()
