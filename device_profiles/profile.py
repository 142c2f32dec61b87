"""One kind of board: how it is recognised, and how to measure on it.

Pure values and rules. Reading files is left to `reader`, choosing among profiles to `loader`, and
turning a profile into a job to the host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from device_profiles.errors import ProfileUnfitError

TEXT_KEYS = frozenset({"arch", "board", "soc", "cpu", "os", "runtime"})
THROTTLE_SOURCES = ("raspberry-pi-firmware", "thermal-zones", "none")
RUNTIMES = ("ai-edge-litert", "tflite-runtime", "onnxruntime")
FASTEST_CLUSTER = "fastest-cluster"
_SET = re.compile(r"\[([^]!])[^]]*\]")
STANDARD_CAP_MS = 60_000
"""``cap_ms`` of a profile is for measurements that are capped at this; others scale with it."""


@dataclass(frozen=True)
class Thermal:
    """How cool a board must be before it is measured, degrees Celsius and milliseconds.

    Attributes:
        temp_delta_c: Highest rise above the idle board.
        temp_max_c: Highest temperature in any case, None for none.
        cool_down_ms: Longest wait for both.
        no_sensor_pause_ms: Pause instead, on a board whose temperature cannot be read.
    """

    temp_delta_c: float = 10.0
    temp_max_c: float | None = None
    cool_down_ms: int = 120_000
    no_sensor_pause_ms: int = 0


@dataclass(frozen=True)
class Match:
    """Which boards a profile is for.

    Attributes:
        patterns: Fingerprint key to shell pattern, upper and lower case alike; all must match.
        ram_min_bytes, ram_max_bytes: Total memory as the kernel counts it, None for any.
    """

    patterns: Mapping[str, str]
    ram_min_bytes: int | None = None
    ram_max_bytes: int | None = None

    @property
    def keys(self) -> int:
        """How specific it is; both limits of memory count as one key."""
        limits = (self.ram_min_bytes, self.ram_max_bytes)
        return len(self.patterns) + any(limit is not None for limit in limits)

    def fits(self, fingerprint: Mapping[str, object], ram_bytes: int | None) -> bool:
        """Whether a board with this fingerprint and memory is meant."""
        return all(
            _alike(fingerprint.get(key), pattern) for key, pattern in self.patterns.items()
        ) and self._ram_fits(ram_bytes)

    def overlaps(self, other: Match) -> bool:
        """Whether a board is conceivable that both mean, going by a sample board of each.

        Compares matches of the same keys only: whether a board name and a processor name can
        come together is more than patterns tell.
        """
        same = self.patterns.keys() == other.patterns.keys() and self.keys == other.keys
        return same and any(
            self.fits(*sample) and other.fits(*sample)
            for sample in (self._sample(), other._sample())
        )

    def _sample(self) -> tuple[dict[str, str], int | None]:
        """Fingerprint and memory of one board that matches."""
        names = {key: _SET.sub(r"\1", pattern) for key, pattern in self.patterns.items()}
        plain = {key: name.replace("*", "x").replace("?", "x") for key, name in names.items()}
        return plain, self.ram_min_bytes or self.ram_max_bytes

    def _ram_fits(self, ram_bytes: int | None) -> bool:
        if self.ram_min_bytes is None and self.ram_max_bytes is None:
            return True
        if not ram_bytes:
            return False
        low, high = self.ram_min_bytes or 0, self.ram_max_bytes or ram_bytes
        return low <= ram_bytes <= high


@dataclass(frozen=True)
class Profile:
    """One kind of board and how to measure on it.

    Attributes:
        name: File name without its ending.
        description: For people.
        match: Which boards it is for.
        ram_budget_bytes: Most memory that a model should add at its peak.
        memory_cap_bytes: A measuring process is killed above this.
        threads: Interpreter threads unless others are asked for.
        cpus: CPUs of one cluster in order of preference, of which a measurement is pinned to as
            many as it has threads; ``FASTEST_CLUSTER`` takes them from what the board says of
            itself; empty pins to none.
        cap_ms: Longest sampling of one model at level ``standard``; other levels scale with it.
        throttle_source: Where throttling can be seen, one of ``THROTTLE_SOURCES``.
        runtime: The runtime that suits the board best, one of ``RUNTIMES``.
        thermal: How cool it must be.
    """

    name: str
    description: str
    match: Match
    ram_budget_bytes: int
    memory_cap_bytes: int
    threads: int
    cpus: tuple[int, ...] | str
    cap_ms: int
    throttle_source: str
    runtime: str = "ai-edge-litert"
    thermal: Thermal = field(default_factory=Thermal)

    def matches(self, fingerprint: Mapping[str, object], ram_bytes: int | None = None) -> bool:
        """Whether the profile is for this board."""
        return self.match.fits(fingerprint, ram_bytes)

    def pinned(self, threads: int, clusters: Sequence[Sequence[int]] = ()) -> tuple[int, ...]:
        """CPUs for a measurement with so many threads; empty pins to none.

        Args:
            threads: Interpreter threads.
            clusters: The board's CPUs in groups of one kind, fastest first, as its fingerprint
                has them; empty if it does not say.

        Raises:
            ProfileUnfitError: There are fewer CPUs than threads, or the board lacks one of them,
                or they are of two clusters: threads of different speed wait for each other.
        """
        if isinstance(self.cpus, str):
            # interrupts land on the lowest numbers
            preferred = tuple(sorted(clusters[0], reverse=True)) if clusters else ()
        else:
            preferred = self.cpus
        if not preferred:
            return ()
        if threads > len(preferred):
            raise ProfileUnfitError(
                self.name, f"at most {len(preferred)} threads, one for each CPU of the cluster",
                str(threads), "ask for fewer, or write a profile without cpus",
            )  # fmt: skip
        chosen = tuple(sorted(preferred[:threads]))
        self._check_clusters(chosen, clusters)
        return chosen

    def doubts(self, fingerprint: Mapping[str, object], ram_bytes: int | None) -> list[str]:
        """What about a board does not go with this profile, in words; empty if all does."""
        found = []
        label = fingerprint.get("runtime")
        if label and not str(label).startswith(self.runtime):
            found.append(f"runs {label}, though {self.runtime} suits this board best")
        if ram_bytes and ram_bytes < 2 * self.memory_cap_bytes:
            found.append(
                f"has {ram_bytes >> 20} MiB of memory, less than twice the cap of "
                f"{self.memory_cap_bytes >> 20} MiB: every measurement will be refused"
            )
        try:
            self.pinned(self.threads, clusters_of(fingerprint))
        except ProfileUnfitError as error:
            found.append(str(error))
        return found

    def _check_clusters(self, chosen: tuple[int, ...], clusters: Sequence[Sequence[int]]) -> None:
        if not clusters or any(set(chosen) <= set(cluster) for cluster in clusters):
            return
        online = sorted(number for cluster in clusters for number in cluster)
        lost = [number for number in chosen if number not in online]
        if lost:
            raise ProfileUnfitError(
                self.name, f"CPU {lost[0]} to pin to", f"a board with CPUs {online} online",
                "bring it online (a Jetson: choose another nvpmodel mode), or write a profile",
            )  # fmt: skip
        raise ProfileUnfitError(
            self.name, "CPUs of one cluster", f"{list(chosen)} of {[list(c) for c in clusters]}",
            "ask for fewer threads, or write a profile",
        )  # fmt: skip


def clusters_of(fingerprint: Mapping[str, object]) -> tuple[tuple[int, ...], ...]:
    """The CPU groups of a fingerprint; empty if it does not say, or not properly."""
    groups = fingerprint.get("clusters")
    if not isinstance(groups, (list, tuple)):
        return ()
    if not all(
        isinstance(group, (list, tuple)) and all(type(number) is int for number in group)
        for group in groups
    ):
        return ()
    return tuple(tuple(group) for group in groups if group)


def _alike(value: object, pattern: str) -> bool:
    return fnmatchcase(str(value or "").casefold(), pattern.casefold())
