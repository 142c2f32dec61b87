"""Heads as sums: any split, any order and any repetition merge to the same bytes; forgetting undoes
learning; the nearest mean is the nearest one."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.heads.nearest import NearestMean
from firmware_bridge.heads.notebook import HAND_OUTS_KEPT, Example, Notebook
from firmware_bridge.wire.errors import InvalidValueError, WireError
from firmware_bridge.wire.heads import (
    ClassSums,
    Contribution,
    MergedHead,
    contribution_of,
    merge,
    minus,
    plus,
    to_text,
)

MODEL = "1a" * 32
FEATURES = st.tuples(*[st.integers(-255, 255)] * 3)
LABELS = st.sampled_from(("cup", "door", "Tür"))


@st.composite
def lessons(draw: st.DrawFn, least: int = 1) -> list[Example]:
    found = draw(st.lists(st.tuples(LABELS, FEATURES), min_size=least, max_size=12))
    return [Example(label, f"{i:064x}", feature) for i, (label, feature) in enumerate(found)]


def notebook(number: int = 0) -> Notebook:
    return Notebook(model=MODEL, learner=f"{number:032x}")


def contribution(examples: list[Example], number: int, rounds: int = 1) -> Contribution:
    """What a board hands out that learns in that many steps, and hands out after each."""
    book = notebook(number)
    for step in range(rounds):
        book = book.learnt(examples[step::rounds], "runtime").handed_out()
    made = book.contribution()
    assert made is not None
    return made


def parts(examples: list[Example], count: int, chance: random.Random) -> list[list[Example]]:
    found: list[list[Example]] = [[] for _ in range(count)]
    for each in examples:
        chance.choice(found).append(each)
    return [part for part in found if part]


@given(lessons(), st.integers(1, 5), st.randoms(use_true_random=False))
def test_merging_is_independent_of_split_order_and_repetition(
    examples: list[Example], boards: int, chance: random.Random
) -> None:
    pooled = merge([contribution(examples, 0)])
    shares = [
        contribution(part, number, chance.randint(1, len(part)))
        for number, part in enumerate(parts(examples, boards, chance), 1)
    ]
    heads = []
    for _ in range(2):
        sent = shares + [chance.choice(shares) for _ in range(chance.randint(0, 4))]
        chance.shuffle(sent)
        heads.append(merge(sent).to_bytes())
    assert heads[0] == heads[1]
    assert MergedHead.from_bytes(heads[0]).classes == pooled.classes


@given(lessons(least=2), st.randoms(use_true_random=False))
def test_a_later_round_replaces_an_earlier_one_whenever_it_comes(
    examples: list[Example], chance: random.Random
) -> None:
    half = len(examples) // 2
    first = notebook().learnt(examples[:half], "r").handed_out()
    last = first.learnt(examples[half:], "r").handed_out()
    rounds = [book.contribution() for book in (first, last)]
    sent = [each for each in rounds if each is not None]
    chance.shuffle(sent)
    assert merge(sent).classes == notebook().learnt(examples, "r").sums


@given(lessons(), lessons())
def test_two_contents_of_one_round_are_refused_in_any_order(
    one: list[Example], other: list[Example]
) -> None:
    pair = [contribution(one, 3), contribution(other, 3)]
    if pair[0].classes == pair[1].classes:
        assert merge(pair) == merge(pair[:1])
        return
    for sent in (pair, pair[::-1]):
        with pytest.raises(InvalidValueError, match="share one identity"):
            merge(sent)


@given(lessons(), st.lists(st.integers(0, 11), max_size=6))
def test_learning_again_changes_nothing(examples: list[Example], again: list[int]) -> None:
    book = notebook().learnt(examples, "r")
    assert book.learnt([examples[i % len(examples)] for i in again], "r") == book
    assert book.handed_out() == book.handed_out().handed_out()


@given(lessons(), st.lists(FEATURES, min_size=1, max_size=5))
def test_forgetting_is_the_inverse_of_learning(
    examples: list[Example], features: list[tuple[int, ...]]
) -> None:
    before = notebook().learnt(examples, "r")
    more = [Example("new", f"{1000 + i:064x}", u) for i, u in enumerate(features)]
    after = before.learnt(more, "r")
    assert after.forgotten("new") == before
    assert minus(after.sums, {"new": after.sums["new"]}) == before.sums


@given(lessons(), lessons())
def test_taking_away_is_the_inverse_of_adding(one: list[Example], other: list[Example]) -> None:
    a, b = notebook().learnt(one, "r").sums, notebook().learnt(other, "r").sums
    assert minus(plus(a, b), b) == a
    assert plus(a, b) == plus(b, a)


@given(lessons(), lessons(), lessons(), st.booleans())
def test_a_board_counts_each_example_once_beside_the_merged_head(
    mine: list[Example], theirs: list[Example], later: list[Example], included: bool
) -> None:
    later = [replace(each, digest=f"{500 + i:064x}") for i, each in enumerate(later)]
    book = notebook(1).learnt(mine, "r").handed_out()
    sent = [contribution(theirs, 2)] + ([contribution(mine, 1)] if included else [])
    merged = merge(sent)
    book = book.learnt(later, "r")
    together, all_counted = book.together(merged)
    assert all_counted
    assert together == plus(notebook(2).learnt(theirs, "r").sums, book.sums)


def test_a_round_that_is_not_remembered_is_not_counted_twice() -> None:
    book, heads = notebook(1), []
    for step in range(HAND_OUTS_KEPT + 1):
        book = book.learnt([Example("cup", f"{step:064x}", (step, 1, 2))], "r").handed_out()
        made = book.contribution()
        assert made is not None
        heads.append(merge([made]))
    assert book.together(heads[-1]) == (book.sums, True)
    assert book.together(heads[1]) == (book.sums, True)
    assert book.together(heads[0]) == (dict(heads[0].classes), False)


def test_a_head_of_another_past_is_used_as_it_is() -> None:
    book = notebook(1).learnt([Example("cup", "0" * 64, (9, 9, 9))], "r").handed_out()
    stranger = MergedHead(
        model=MODEL, dimension=3, classes={"door": ClassSums(1, (1, 2, 3))},
        included={f"{1:032x}": 1},
    )  # fmt: skip
    assert book.together(stranger) == (dict(stranger.classes), False)


def test_forgetting_reaches_the_merged_head_with_the_next_round() -> None:
    cup, door = Example("cup", "0" * 64, (1, 2, 3)), Example("door", "1" * 64, (4, 5, 6))
    book = notebook(1).learnt([cup, door], "r").handed_out()
    first = book.contribution()
    book = book.forgotten("cup").forgotten("door").handed_out()
    last = book.contribution()
    assert first is not None
    assert last is not None
    assert last.round == 2
    assert merge([first, last]).classes == {}


@given(lessons(), FEATURES)
def test_the_nearest_mean_is_the_nearest_one(
    examples: list[Example], feature: tuple[int, ...]
) -> None:
    sums = notebook().learnt(examples, "r").sums

    def distance(name: str) -> Fraction:
        each = sums[name]
        pairs = zip(feature, each.total, strict=True)
        return sum((Fraction(u) - Fraction(total, each.count)) ** 2 for u, total in pairs)  # type: ignore[return-value]

    assert NearestMean(sums).nearest(feature) == min(sorted(sums), key=distance)


def test_nothing_learnt_classifies_nothing() -> None:
    with pytest.raises(InvalidValueError, match="at least one class"):
        NearestMean({})


def test_an_image_of_two_classes_is_refused() -> None:
    book = notebook().learnt([Example("cup", "0" * 64, (1, 2, 3))], "r")
    with pytest.raises(InvalidValueError, match="not in class cup too"):
        book.learnt([Example("door", "0" * 64, (1, 2, 3))], "r")
    with pytest.raises(InvalidValueError, match="learnt here"):
        book.forgotten("door")


@pytest.mark.parametrize("name", ["", " cup", "a" * 65, "a\nb", "\u202ecup"])
def test_class_names_are_printable(name: str) -> None:
    with pytest.raises(InvalidValueError, match="class"):
        notebook().learnt([Example(name, "0" * 64, (1, 2, 3))], "r")


@pytest.mark.parametrize(
    ("count", "total"), [(0, (0,)), (1, (256,)), (2, (-511,)), (2**48, (1,)), (1, ())]
)
def test_sums_that_no_examples_give_are_refused(count: int, total: tuple[int, ...]) -> None:
    with pytest.raises(InvalidValueError):
        ClassSums(count, total)


def test_models_and_dimensions_do_not_mix() -> None:
    one = contribution([Example("cup", "0" * 64, (1, 2, 3))], 1)
    with pytest.raises(InvalidValueError, match="all for one model"):
        merge([one, replace(one, learner="9" * 32, model="2b" * 32)])
    with pytest.raises(InvalidValueError, match="all for one model"):
        merge([])
    with pytest.raises(InvalidValueError, match="4 sums"):
        replace(one, dimension=4)


@given(lessons())
def test_heads_and_contributions_survive_their_files(examples: list[Example]) -> None:
    made = contribution(examples, 1)
    assert contribution_of(to_text(made, "contribution")) == made
    head = merge([made])
    assert MergedHead.from_bytes(head.to_bytes()) == head


@settings(max_examples=200)
@given(lessons(), st.integers(0, 10_000), st.binary(max_size=4))
def test_damaged_heads_are_refused_as_such(
    examples: list[Example], place: int, noise: bytes
) -> None:
    raw = merge([contribution(examples, 1)]).to_bytes()
    place %= len(raw)
    try:
        MergedHead.from_bytes(raw[:place] + noise + raw[place + len(noise) :])
    except WireError:
        return
