"""What `edgenas search --help` says of searchers, held against the registry."""

import argparse
import random
from dataclasses import replace

import pytest

from edgenas.campaign.errors import CampaignError
from edgenas.cli.fleet_options import chosen_budgets
from edgenas.cli.main import parser
from edgenas.cli.search_options import (
    check_limited,
    searched_space,
    wanted_finals,
    wanted_limits,
    wanted_trials,
)
from edgenas.search import SEARCHERS
from edgenas.search.budget import Budget
from edgenas.search.limited import OFA, SPOS
from edgenas.search.trial import Trial
from edgenas.space import PRESETS, Arch, ArchError
from edgenas.space.listed import ListedSpace, listed
from tests.edgenas.campaign.test_picking import an_outcome


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
        (("--searcher", "random"), {"random": 24}),
        (("--searcher", "random", "--trials", "7", "--random", "0"), {"random": 7}),
        (("--objective", "accuracy"), {"spos": 24, "random": 12}),
        (("--objective", "accuracy", "--budget", "45"), {"spos": 45, "random": 0}),
        (("--objective", "accuracy", "--budget", "46"), {"ofa": 46, "random": 0}),
        (("--searcher", "ofa", "--trials", "31", "--random", "0"), {"ofa": 31, "random": 0}),
        (("--searcher", "ofa", "--trials", "0"), {"ofa": 0, "random": 12}),
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
        (("--objective", "accuracy", "--trials", "16"), "more than 16 candidates, got 16"),
        (("--searcher", "ofa"), "more than 30 candidates, got 24.*--trials 60"),
        (("--searcher", "random", "--random", "3"), "expected no --random beside it, got 3"),
        (("--budget", "5", "--budget", "6"), "expected one number of measurements"),
        (("--budget", "5", "--trials", "6"), "expected one number of measurements"),
    ],
)
def test_options_that_contradict_each_other(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(CampaignError, match=said):
        wanted_trials(parsed(*words))


def test_what_looks_for_accuracy_alone_by_default_heeds_the_limits() -> None:
    """Of the default trials the last are chosen, by models and limits; draws cannot know them."""
    space = PRESETS["digits"]
    args = parsed("--objective", "accuracy", "--random", "0")
    ((name, trials),) = ((n, count) for n, count in wanted_trials(args).items() if count)
    most = space.macs(space.largest()) // 3
    proposed = [
        [space.macs(arch) for arch in proposals(name, trials, Budget(limit_ms))]
        for limit_ms in (1e6, most / 1e6)
    ]
    alike = [a == b for a, b in zip(*proposed, strict=True)]
    assert not all(alike), "a limit changes what is proposed"
    late = [macs for macs, same in zip(proposed[1], alike, strict=True) if not same]
    assert sum(macs <= most for macs in late) >= 0.7 * len(late)


def proposals(name: str, trials: int, budget: Budget) -> list[Arch]:
    """What a searcher proposes on a device that takes 1 ms for a million multiply-accumulates."""
    space, found = PRESETS["digits"], list[Arch]()
    least = space.macs(space.smallest()) / 2
    searcher = SEARCHERS[name](space, device="a", seed=0, budget=budget)
    for number in range(1, trials + 1):
        (arch,) = searcher.ask()
        macs = space.macs(arch)
        outcome = replace(
            an_outcome(), accuracy=1 - least / macs, latency_p50_ms=macs / 1e6,
            latency_p95_ms=macs / 1e6, p95_upper95_ms=macs / 1e6, macs=macs,
        )  # fmt: skip
        searcher.tell(Trial(number, "a", name, arch).ended(outcome))
        found.append(arch)
    return found


def test_limits_in_words_and_in_numbers() -> None:
    args = parsed("--latency-ms", "8", "--peak-rss-mb", "20", "--budget", "64", "--budget", "a=1ms")
    found = chosen_budgets(wanted_limits(args), ["a", "b"])
    assert (found["a"].latency_p95_ms, found["a"].peak_memory_bytes) == (1.0, 20_000_000)
    assert (found["b"].latency_p95_ms, found["b"].peak_memory_bytes) == (8.0, 20_000_000)
    assert found["b"].reason == "given: 8ms,20MB"
    both = chosen_budgets(wanted_limits(parsed("--latency-ms", "8", "--budget", "20MB")), ["a"])
    assert (both["a"].latency_p95_ms, both["a"].peak_memory_bytes) == (8.0, 20_000_000)
    twice = wanted_limits(parsed("--latency-ms", "8", "--budget", "5ms"))
    with pytest.raises(CampaignError, match="got 5ms and 8ms; leave one out"):
        chosen_budgets(twice, ["a"])
    assert wanted_limits(parsed("--budget", "3")) == []


@pytest.mark.parametrize(
    ("words", "sessions", "most"),
    [
        ((), 3, 8),
        (("--sessions", "10"), 10, 10),
        (("--sessions", "3", "--most-sessions", "3"), 3, 3),
        (("--most-sessions", "12"), 3, 12),
    ],
)
def test_how_often_finalists_are_measured(words: tuple[str, ...], sessions: int, most: int) -> None:
    plan = wanted_finals(parsed(*words))
    assert (plan.sessions, plan.most_sessions) == (sessions, most)


def test_fewer_sessions_in_doubt_than_without_are_refused() -> None:
    with pytest.raises(CampaignError, match=r"--most-sessions 5: expected at least the 6"):
        wanted_finals(parsed("--sessions", "6", "--most-sessions", "5"))


def test_the_help_knows_from_when_on_a_searcher_acts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["search", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"below {OFA.first + 2 * OFA.round} trials; its first {SPOS.first} are random" in said
    assert f"its first {OFA.first} are)" in said


def test_accuracy_alone_wants_a_limit() -> None:
    args = parsed("--objective", "accuracy")
    check_limited(args, [Budget(5.0)])
    with pytest.raises(CampaignError, match="give --latency-ms"):
        check_limited(args, [Budget(5.0), Budget()])
    check_limited(parsed(), [Budget()])
