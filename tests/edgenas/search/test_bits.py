"""Architecture and bits of layers in one search: what fewer bits save buys accuracy elsewhere."""

import statistics
from dataclasses import replace

from edgenas.search.genetic import GeneticSettings, NsgaSearch
from edgenas.search.trial import Outcome, Trial
from edgenas.space import Arch, ArchSpace
from edgenas.space.sized import sized
from tests.edgenas.search.analytic import DEVICE, DIGITS, accuracy, outcome

MOST_BYTES = 7_000
BOTH = replace(
    DIGITS, stages=tuple(replace(stage, bits=(4, 8)) for stage in DIGITS.stages), bits=(4, 8)
)


def answer(arch: Arch) -> Outcome:
    """Half a per mille is lost for every layer of 4 bits, in a depthwise one ten times as much."""
    few = [layer for layer in DIGITS.layers(arch) if layer.weighted and layer.bits == 4]
    lost = sum(0.005 if layer.kind == "depthwise" else 0.0005 for layer in few)
    value = outcome(DIGITS, arch.in_bits(8))
    return replace(value, accuracy=round(accuracy(DIGITS, arch.in_bits(8)) - lost, 5))


def best(space: ArchSpace, seed: int) -> tuple[float, Arch]:
    settings = GeneticSettings(population=24)
    part = sized(space, MOST_BYTES)
    searcher = NsgaSearch(part, device=DEVICE, seed=seed, settings=settings)
    found: list[tuple[float, Arch]] = []
    for number in range(96):
        (arch,) = searcher.ask()
        value = answer(arch)
        found.append((value.accuracy, arch))
        searcher.tell(Trial(number, DEVICE, searcher.name, arch).ended(value))
    return max(found, key=lambda pair: pair[0])


def test_under_a_limit_on_bytes_bits_are_traded_for_width() -> None:
    plain = [best(DIGITS, seed) for seed in range(2)]
    mixed = [best(BOTH, seed) for seed in range(2)]
    assert statistics.mean(a for a, _ in mixed) > statistics.mean(a for a, _ in plain)
    assert all(arch.precisions == {4, 8} for _, arch in mixed)
    assert all(BOTH.packed_bytes(arch) <= MOST_BYTES for _, arch in [*plain, *mixed])
    assert max(DIGITS.weight_bytes(arch) for _, arch in mixed) > MOST_BYTES
