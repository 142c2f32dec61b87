"""The targets of `make fuzz` in a plain run: seeds, shapes that have broken parsers elsewhere, what
fuzzing has found here, and random changes of seeds. Coverage guides only `make fuzz`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from firmware_bridge.runtimes.features import with_features
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.heads import MergedHead
from firmware_bridge.wire.release import ReleaseManifest
from tests.fuzz.targets import CLASSIFIER, HOSTILE, SIZE_CAP_BYTES, TARGETS

FOUND = Path(__file__).parent / "regressions"
CHANGES = 150


def changed(seed: bytes, chance: random.Random) -> bytes:
    """A seed with a few bytes cut out, doubled or replaced."""
    made = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        start = chance.randint(0, len(made))
        end = start + chance.randint(0, 12)
        other = chance.choice(
            (b"", bytes([chance.randrange(256)]), made[start:end] * 2, b"-1", b'"', b"[", b"1e999")
        )
        made[start:end] = other
    return bytes(made[:SIZE_CAP_BYTES])


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_raises_only_what_it_promises(name: str) -> None:
    target, chance = TARGETS[name], random.Random(name)
    seeds = target.seeds()
    for data in (b"", *seeds, *HOSTILE):
        target.parse(data)
    for _ in range(CHANGES):
        target.parse(changed(chance.choice(seeds), chance))


@pytest.mark.parametrize("path", sorted(FOUND.glob("*")), ids=lambda path: path.name)
def test_what_was_found_once_is_mended(path: Path) -> None:
    """A file is named after its target, two hyphens, and what it showed."""
    TARGETS[path.name.partition("--")[0]].parse(path.read_bytes())


def test_seeds_are_taken_by_their_parsers() -> None:
    """A seed that is refused would begin from nothing."""
    assert with_features(CLASSIFIER).dimension
    for seed in TARGETS["envelope"].seeds():
        decode(seed)
    for seed in TARGETS["manifest"].seeds():
        ReleaseManifest.from_bytes(seed)
    for seed in TARGETS["head-merged"].seeds():
        MergedHead.from_bytes(seed)
