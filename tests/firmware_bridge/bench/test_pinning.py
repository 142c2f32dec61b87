"""On a processor with fast and slow CPUs a measurement stays within one kind."""

import pytest

from firmware_bridge.bench.pinning import cpus_for

BIG_LITTLE = ((4, 5, 6, 7), (0, 1, 2, 3))


@pytest.mark.parametrize(
    ("wanted", "threads", "clusters", "allowed", "chosen"),
    [
        pytest.param((2, 3), 1, BIG_LITTLE, range(8), (2, 3), id="named"),
        pytest.param((), 1, ((0, 1, 2, 3),), range(4), (), id="all-alike"),
        pytest.param((), 2, BIG_LITTLE, range(8), (4, 5, 6, 7), id="fastest"),
        pytest.param((), 2, BIG_LITTLE, range(6), (4, 5), id="allowed-ones"),
        pytest.param((), 2, BIG_LITTLE, range(5), (0, 1, 2, 3), id="fastest-too-small"),
        pytest.param((), 6, BIG_LITTLE, range(8), (), id="more-threads-than-any-has"),
    ],
)
def test_the_fastest_cluster_that_has_a_cpu_for_each_thread(
    wanted: tuple[int, ...],
    threads: int,
    clusters: tuple[tuple[int, ...], ...],
    allowed: range,
    chosen: tuple[int, ...],
) -> None:
    assert cpus_for(wanted, threads, clusters, allowed) == chosen
