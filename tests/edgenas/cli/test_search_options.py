"""What `edgenas search --help` says of searchers, held against the registry."""

import argparse
import random

import pytest

from edgenas.campaign.errors import CampaignError
from edgenas.cli.fleet_options import chosen_budgets
from edgenas.cli.main import parser
from edgenas.cli.search_options import check_limited, searched_space, wanted_limits, wanted_trials
from edgenas.search import SEARCHERS
from edgenas.search.budget import Budget
from edgenas.search.trial import Trial
from edgenas.space import PRESETS, ArchError
from edgenas.space.listed import ListedSpace, listed


def test_the_help_names_every_searcher(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["search", "--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in SEARCHERS)


def parsed(*words: str) -> argparse.Namespace:
    return parser().parse_args(["search", "run", "--broker", "mqtt://localhost", *words])


@pytest.mark.parametrize(
    ("words", "counts"),
    [
        ((), {"evolution": 24, "random": 12}),
        (("--searcher", "surrogate"), {"surrogate": 24, "random": 12}),
        (("--trials", "64", "--random", "0"), {"surrogate": 64, "random": 0}),
        (("--budget", "64"), {"surrogate": 64, "random": 0}),
        (("--budget", "20", "--random", "5"), {"evolution": 20, "random": 5}),
        (("--budget", "20", "--budget", "5ms"), {"evolution": 20, "random": 0}),
        (("--budget", "9", "--searcher", "random"), {"random": 9}),
        (("--budget", "40", "--objective", "accuracy"), {"ofa": 40, "random": 0}),
        (("--objective", "accuracy", "--searcher", "spos"), {"spos": 24, "random": 12}),
    ],
)
def test_how_many_candidates_of_whom(words: tuple[str, ...], counts: dict[str, int]) -> None:
    assert wanted_trials(parsed(*words)) == counts


def test_a_limit_on_what_has_to_be_sent_leaves_a_part_of_the_space() -> None:
    space, rng = PRESETS["digits"], random.Random(0)
    assert searched_space(parsed(), space, ()) is space
    part = searched_space(parsed("--packed-kib", "16"), space, ())
    drawn = [part.sample(rng) for _ in range(50)]
    assert max(space.packed_bytes(arch) for arch in drawn) <= 16 * 1024
    small, large = Trial(0, "a", "random", drawn[0]), Trial(1, "a", "random", space.largest())
    assert searched_space(parsed("--packed-kib", "16"), space, [small]) == part
    with pytest.raises(CampaignError, match="got 1 that were measured before"):
        searched_space(parsed("--packed-kib", "16"), space, [small, large])
    with pytest.raises(ArchError, match=r"smallest network of digits meets, which takes .*1,024"):
        searched_space(parsed("--packed-kib", "1"), space, ())


def test_of_a_list_only_what_was_trained_is_searched() -> None:
    space, rng = PRESETS["digits"], random.Random(0)
    part = listed(space, [space.sample(rng) for _ in range(20)])
    inside = Trial(0, "a", "random", part.smallest())
    assert searched_space(parsed(), part, [inside]) is part
    with pytest.raises(CampaignError, match=r"networks that were trained, got 1 others"):
        searched_space(parsed(), part, [inside, Trial(1, "a", "random", space.largest())])
    fewer = searched_space(parsed("--packed-kib", "16"), part, [inside])
    assert isinstance(fewer, ListedSpace)
    assert set(fewer.archs) == {a for a in part.archs if space.packed_bytes(a) <= 16 * 1024}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--objective", "energy"), "expected one of accuracy,latency"),
        (("--objective", "accuracy", "--searcher", "linas"), "expected --searcher ofa or spos"),
        (("--budget", "5", "--budget", "6"), "expected one number of measurements"),
        (("--budget", "5", "--trials", "6"), "expected one number of measurements"),
    ],
)
def test_options_that_contradict_each_other(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(CampaignError, match=said):
        wanted_trials(parsed(*words))


def test_limits_in_words_and_in_numbers() -> None:
    args = parsed("--latency-ms", "8", "--peak-rss-mb", "20", "--budget", "64", "--budget", "a=1ms")
    found = chosen_budgets(wanted_limits(args), ["a", "b"])
    assert (found["a"].latency_p95_ms, found["a"].peak_memory_bytes) == (1.0, None)
    assert (found["b"].latency_p95_ms, found["b"].peak_memory_bytes) == (8.0, 20_000_000)
    assert found["b"].reason == "given: 8ms,20MB"
    assert wanted_limits(parsed("--budget", "3")) == []


def test_accuracy_alone_wants_a_limit() -> None:
    args = parsed("--objective", "accuracy")
    check_limited(args, [Budget(5.0)])
    with pytest.raises(CampaignError, match="give --latency-ms"):
        check_limited(args, [Budget(5.0), Budget()])
    check_limited(parsed(), [Budget()])
