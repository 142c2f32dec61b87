"""Scores and their cache: asked once by anybody, by content, cheap ones first."""

import random
from pathlib import Path

import pytest

from edgenas.search.score_cache import ScoreKey
from edgenas.search.scores import (
    BlockTableScore,
    Cached,
    CostClass,
    FittedScore,
    MacsScore,
    PackedBytesScore,
    Score,
    ScoreError,
    WeightBytesScore,
    layer_key,
    layer_keys,
    shortlisted,
)
from edgenas.search.study import Study
from edgenas.space import PRESETS, Arch, preset
from edgenas.space.narrowing import narrowed_by, only_largest
from tests.databases import place
from tests.edgenas.search.analytic import DIGITS, latency_ms
from tests.edgenas.search.study_cases import IDENTITY

ARCHS = [DIGITS.sample(random.Random(i)) for i in range(30)]


class Slow(Score):
    """An expensive question that counts how often it is asked."""

    metric, cost, device = "slow", CostClass.DEVICE, "board/1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def of(self, arch: Arch) -> float:
        self.asked.append(arch.id)
        return latency_ms(DIGITS, arch)


def test_what_has_to_be_sent_of_weights_is_told_by_the_bits_of_their_layers() -> None:
    score = PackedBytesScore(DIGITS)
    assert [score.of(arch) for arch in ARCHS] == [DIGITS.weight_bytes(arch) for arch in ARCHS]
    assert all(score.of(arch.in_bits(4)) < score.of(arch) for arch in ARCHS)


def test_a_question_is_asked_once_by_all_searches_and_runs(tmp_path: Path) -> None:
    where, slow = place(tmp_path / "study.sqlite"), Slow()
    for _ in range(2):
        with Study.open(where, IDENTITY) as study:
            one, two = (Cached(slow, study.scores, "weights") for _ in range(2))
            assert one.of(ARCHS[0]) == two.of(ARCHS[0]) == latency_ms(DIGITS, ARCHS[0])
            assert study.scores.known("weights", "board/1", "slow") == {ARCHS[0].id}
    assert slow.asked == [ARCHS[0].id]


@pytest.mark.parametrize(
    "other",
    [
        ScoreKey("other weights", "a", "d", "m"),
        ScoreKey("w", "b", "d", "m"),
        ScoreKey("w", "a", "e", "m"),
        ScoreKey("w", "a", "d", "n"),
    ],
)
def test_other_content_is_another_value(tmp_path: Path, other: ScoreKey) -> None:
    with Study.open(place(tmp_path / "study.sqlite"), IDENTITY) as study:
        key = ScoreKey("w", "a", "d", "m")
        study.scores.put(key, 1.5)
        study.scores.put(key, 2.5)
        assert study.scores.get(key) == 1.5
        assert study.scores.get(other) is None


def test_predictions_are_not_kept(tmp_path: Path) -> None:
    fitted = FittedScore("ms", lambda archs: [factor * len(archs) for _ in archs])
    with Study.open(place(tmp_path / "study.sqlite"), IDENTITY) as study:
        cached = Cached(fitted, study.scores, "w")
        factor = 1.0
        assert cached.of(ARCHS[0]) == 1.0
        factor = 3.0
        assert cached.of(ARCHS[0]) == 3.0


def test_arithmetic_scores_are_the_spaces() -> None:
    for arch in ARCHS[:5]:
        assert MacsScore(DIGITS).of(arch) == DIGITS.macs(arch)
        assert WeightBytesScore(DIGITS).of(arch) == DIGITS.weight_bytes(arch)


def test_a_block_table_adds_up_and_says_what_it_lacks() -> None:
    part = narrowed_by(DIGITS, only_largest(DIGITS))
    table = {layer_key(layer): 0.25 for layer in DIGITS.layers(DIGITS.largest())}
    score = BlockTableScore(part, table, "board", fixed_ms=1.0)
    assert score.of(DIGITS.largest()) == 1.0 + 0.25 * len(DIGITS.layers(DIGITS.largest()))
    with pytest.raises(ScoreError, match="expected a network of space"):
        score.of(DIGITS.smallest())
    with pytest.raises(ScoreError, match=r"every layer of space digits, got none for .* of them"):
        BlockTableScore(DIGITS, table, "board")  # at once, not when a search meets the layer


def test_another_block_table_has_other_answers(tmp_path: Path) -> None:
    one, two = (dict.fromkeys(layer_keys(DIGITS), ms) for ms in (0.25, 0.5))
    with Study.open(place(tmp_path / "study.sqlite"), IDENTITY) as study:
        for table, fixed_ms in ((one, 0.0), (two, 0.0), (one, 1.0)):
            score = BlockTableScore(DIGITS, table, "board", fixed_ms)
            assert Cached(score, study.scores, "w").of(ARCHS[0]) == score.of(ARCHS[0])


@pytest.mark.parametrize("name", PRESETS)
def test_a_table_of_the_layers_of_a_space_knows_all_its_networks(name: str) -> None:
    space = preset(name, channels=3, classes=10)
    score = BlockTableScore(space, dict.fromkeys(layer_keys(space), 1.0), "board")
    rng = random.Random(0)
    drawn = [space.sample(rng) for _ in range(200)]
    drawn += [space.sample_by_size(rng) for _ in range(200)]
    for arch in (space.smallest(), space.largest(), *drawn):
        assert score.of(arch) == len(space.layers(arch))
    least = layer_keys(space) - {layer_key(space.layers(drawn[0])[0])}
    with pytest.raises(ScoreError, match="got none for 1 of them"):
        BlockTableScore(space, dict.fromkeys(least, 1.0), "board")


def test_expensive_scores_are_asked_about_what_cheap_ones_leave() -> None:
    slow, macs = Slow(), MacsScore(DIGITS)
    most = sorted(macs.of(arch) for arch in ARCHS)[9]
    left, asked = shortlisted(ARCHS, [(slow, 1e9), (macs, most)])
    assert asked == {"macs": 30, "slow": 10}
    assert [arch.id for arch in left] == slow.asked
    assert all(macs.of(arch) <= most for arch in left)
