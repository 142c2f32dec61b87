"""Which CPUs a measurement is pinned to where nobody named any.

On a processor with fast and slow CPUs one cluster only, or the scheduler would decide what is
measured. Pinning itself is left to the worker.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def cpus_for(
    wanted: tuple[int, ...],
    threads: int,
    clusters: Sequence[Sequence[int]],
    allowed: Collection[int],
) -> tuple[int, ...]:
    """The CPUs to pin to; empty pins to none.

    Args:
        wanted: What the plan names; it is taken as it is.
        threads: Interpreter threads.
        clusters: The board's CPUs grouped by kind, fastest group first.
        allowed: CPUs that this process may use.

    Returns:
        On a board of one kind nothing; else the fastest cluster that has a CPU for each thread.
    """
    if wanted or len(clusters) < 2:
        return wanted
    for cluster in clusters:
        usable = tuple(cpu for cpu in cluster if cpu in allowed)
        if len(usable) >= threads:
            return usable
    return ()
