"""The pure parts of the benchmarks of training: what is equal, what counts, who has won."""

import json
import random
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest

from benchmarks import cifar10_vs_mlperf_tiny as cifar
from benchmarks import kws, qfa_vs_ptq, samplers, vs_standalone
from benchmarks.hunting import Finalist, Quarry, choose, shortlist
from benchmarks.latency import Beside, typical
from benchmarks.record import Figure
from benchmarks.runs import Run, train_all
from edgenas.campaign.progress import Silent
from edgenas.campaign.starting import Start
from edgenas.campaign.training import load
from edgenas.model.numerics import Numerics
from edgenas.search.trial import Outcome, Trial
from edgenas.space.presets import PRESETS, preset
from edgenas.train.pace import Pace
from edgenas.train.recipe import RecipeError
from edgenas.train.recipe_file import read_recipe_file
from edgenas.train.recipes import RECIPES
from edgenas.train.samplers import SAMPLERS

SPACE = PRESETS["cifar-mixed"]
DEFAULT = samplers.DEFAULT
RNG = random.Random(4)
ARCHS = [SPACE.sample(RNG) for _ in range(6)]


def session(ratio: float, upper: float = 0.0) -> Beside:
    return Beside(ratio, (ratio, upper or ratio), 100, 100, "ok", "some")


def finalist(number: int, accuracy: float, upper: float, size: int = 90) -> Finalist:
    return Finalist(ARCHS[number], accuracy, size, 1, upper - 0.02, upper, (session(upper),))


def figure(figures: list[Figure], name: str) -> Figure:
    (found,) = [each for each in figures if each.name.startswith(name)]
    return found


# --- the hunt ----------------------------------------------------------------------------------


def trial(number: int, accuracy: float, ratio: float, size: int) -> Trial:
    outcome = Outcome(
        accuracy=accuracy, latency_p50_ms=ratio, latency_p95_ms=ratio, p95_upper95_ms=None,
        p50_ci95_ms=(ratio, ratio), peak_memory_bytes=size, model_bytes=size, macs=1,
        sha256="0" * 64, level="quick",
    )  # fmt: skip
    return Trial(number, "peer", "evolution", ARCHS[number]).ended(outcome)


def test_the_shortlist_holds_the_most_accurate_inside_both_limits() -> None:
    quarry = Quarry("peer", Path("peer.tflite"), most_bytes=100)
    trials = [
        trial(0, 0.90, 0.70, 120),  # too large
        trial(1, 0.80, 0.50, 90),
        trial(2, 0.95, 1.30, 90),  # too slow by more than the first is too large
        trial(3, 0.85, 0.97, 100),
        trial(4, 0.99, 0.99, 90),  # inside, but by less than the margin
    ]
    listed = [pair[0].number for pair in shortlist(trials, quarry.limits(), 5)]
    assert listed == [3, 1, 4, 0, 2]
    no_size = Quarry("peer", Path("peer.tflite"), most_bytes=None)
    assert [t.number for t, _ in shortlist(trials, no_size.limits(), 2)] == [0, 3]


def test_the_chosen_one_is_faster_with_confidence_if_any_is() -> None:
    quarry = Quarry("peer", Path("peer.tflite"), most_bytes=100)
    slow, small, best = finalist(0, 0.95, 1.01), finalist(1, 0.80, 0.5), finalist(2, 0.9, 1.0)
    large = finalist(3, 0.99, 0.9, size=101)
    assert choose([slow, small, best, large], quarry) is best
    assert choose([slow, finalist(4, 0.99, 1.2)], quarry) is slow
    assert choose([slow, large], Quarry("peer", Path("p"), None)) is large


def test_a_session_comes_back_from_its_row() -> None:
    row = {"ratio": 0.9, "ci95": [0.8, 1.0], "p50_ns": 1, "reference_p50_ns": 2,
           "verdict": "ok", "runtime": "some"}  # fmt: skip
    assert Beside.from_row(row) == Beside(0.9, (0.8, 1.0), 1, 2, "ok", "some")
    assert typical([session(0.9, 1.1), session(0.7, 0.8), session(0.8, 1.3)]) == (0.8, 1.1)


# --- CIFAR-10 ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracy", "upper", "size", "counts", "won"),
    [
        (0.8698, 0.99, 100, True, True),
        (0.8697, 0.99, 100, True, False),  # no more accurate
        (0.8698, 1.01, 100, True, False),  # not faster with confidence
        (0.8698, 0.99, 101, True, False),  # larger
        (0.8698, 0.99, 101, False, True),  # larger, which is not part of the claim
    ],
)
def test_a_duel_is_won_in_every_respect(
    accuracy: float, upper: float, size: int, counts: bool, won: bool
) -> None:
    duel = cifar.Duel(cifar.SMALL, 0.8697, 100, accuracy, finalist(0, 0.8, upper, size), counts)
    assert duel.won is won
    figures = cifar.duel_figures(duel)
    assert figure(figures, "ic_resnet8: beaten").met is won
    assert any("bytes" in each.name for each in figures) is counts
    if won:
        assert all(each.met for each in figures)


@pytest.mark.parametrize("recipe", [cifar.WHOLE_RECIPE, cifar.PART_RECIPE])
def test_the_recipe_of_a_stage_is_one(recipe: Path) -> None:
    changed = RECIPES["cifar-mixed"].override(**read_recipe_file(recipe))
    assert changed.sampler in SAMPLERS
    assert changed.steps(45_000) > 1_000


def test_the_second_stage_is_a_part_of_the_first() -> None:
    part = Start(cifar.PART).part(SPACE)
    assert 50 <= part.size() <= 200
    for arch in (part.smallest(), part.largest()):
        assert SPACE.check(arch) == arch


# --- samplers ----------------------------------------------------------------------------------


def test_every_method_differs_from_the_others_in_what_makes_it_alone() -> None:
    assert set(samplers.METHOD_OF) <= set(SAMPLERS)
    assert {
        *("uniform", "sandwich", "progressive", "deps", "attentive_best_up", "attentive_worst_up"),
        *("elasticvit", "shiftnas", "pada", "prenas", "sortednet"),
    } <= set(samplers.METHOD_OF)
    base = RECIPES[samplers.PRESET]
    for name in samplers.METHOD_OF:
        made = samplers.recipe_of(name)
        assert made.sampler == name
        same = {field: getattr(base, field) for field in samplers.OF_THE_METHOD}
        assert made.override(**same) == base
    assert samplers.recipe_of("sandwich").teachers == ("largest",)
    assert samplers.recipe_of("progressive").teachers == ("frozen",)
    assert samplers.recipe_of("uniform").teachers == ()
    assert samplers.recipe_of("uniform_in_parts").random_subnets == 4


@pytest.mark.parametrize("passes", [1, 7, 600, 6000])
def test_steps_with_equal_passes(passes: int) -> None:
    assert samplers.equal_steps(passes, lambda steps: steps) == (passes, passes)
    steps, found = samplers.equal_steps(passes, lambda steps: 4 * steps)
    assert found == 4 * steps
    assert abs(found - passes) <= 4

    def two_phases(steps: int) -> int:  # one subnet a step in the first half, four later
        return steps // 2 + 4 * (steps - steps // 2)

    assert abs(samplers.equal_steps(passes, two_phases)[1] - passes) <= max(4, 0.002 * passes)


def sampled(name: str, seed: int, mean: float) -> samplers.Row:
    return samplers.Row(name, seed, 1, 4, 1.0, 8.0, (mean - 0.1, mean + 0.1), mean / 2)


def test_the_default_must_be_the_best_over_all_seeds() -> None:
    rows = [sampled(DEFAULT, 0, 0.8), sampled("pada", 0, 0.7), sampled("deps", 0, 0.81)]
    assert samplers.best_of(rows, 2) == ["deps", DEFAULT]
    figures = samplers.figures_of(rows)
    assert not figure(figures, f"mean accuracy, {DEFAULT}").met
    assert not figure(figures, "mean accuracy, deps").met
    assert figure(figures, "mean accuracy, pada").met
    more = [*rows, sampled("deps", 1, 0.6)]
    figures = samplers.figures_of(more)
    assert figure(figures, f"mean accuracy, {DEFAULT}").met
    assert figure(figures, "mean accuracy, deps (2 seeds)").value == pytest.approx(70.5)
    assert figure(figures, f"worst accuracy, {DEFAULT}").value == pytest.approx(70)


def test_the_default_with_more_passes_beside_the_best_other_one() -> None:
    rows = [sampled(DEFAULT, 0, 0.7), sampled("pada", 0, 0.6), sampled("shiftnas", 0, 0.75)]
    longer = [replace(sampled(DEFAULT, seed, 0.8), passes=9000) for seed in (0, 1)]
    assert samplers.longer_figures(rows, []) == []
    mean, worst, area = samplers.longer_figures(rows, longer)
    assert (mean.name, mean.met) == (f"mean accuracy, {DEFAULT} with 9,000 passes", True)
    assert [mean.value, mean.target] == pytest.approx([80, 75])
    assert [worst.value, worst.target] == pytest.approx([70, 65])
    assert (area.name, area.target) == (f"area under the front, {DEFAULT} with 9,000 passes", 0.375)


# --- against training alone, against quantising afterwards, keyword spotting ---------------------


def test_alone_differs_in_nothing_but_who_runs_and_teaches() -> None:
    recipe = RECIPES["fashion"].override(epochs=3, seed=2)
    single = vs_standalone.alone_recipe(recipe)
    assert (single.sampler, single.random_subnets, single.teachers) == ("uniform", 1, ())
    back = single.override(
        sampler=recipe.sampler, random_subnets=recipe.random_subnets, teachers=recipe.teachers
    )
    assert back == recipe


def test_gap_and_order() -> None:
    pairs = [(0.80, 0.81), (0.85, 0.85), (0.90, 0.88)]
    rows = [vs_standalone.Row(str(n), "", n, *pair, 1.0) for n, pair in enumerate(pairs)]
    figures = vs_standalone.figures_of(rows)
    assert figure(figures, "trained alone above").value == pytest.approx(-1 / 3)
    assert figure(figures, "the same, worst").value == pytest.approx(1.0)
    assert figure(figures, "Kendall's tau").value == 1.0


def test_a_supernet_of_more_steps_is_put_beside_and_decides_nothing() -> None:
    found = [(0.80, 0.81, 0.82), (0.85, 0.85, 0.84), (0.90, 0.88, 0.90)]
    rows = [
        vs_standalone.Row(str(n), "", n, shared, alone, 1.0, longer)
        for n, (shared, alone, longer) in enumerate(found)
    ]
    bare = [replace(row, longer=None) for row in rows]
    whole = vs_standalone.figures_of(rows)
    assert whole[:4] == vs_standalone.figures_of(bare)
    above, tau = whole[4:]
    assert above.value == pytest.approx(-2 / 3)
    assert tau.value == 1.0
    assert all("informational" in each.name for each in whole[4:])


def test_parts_of_a_comparison_add_up_where_they_hold_for_the_same(tmp_path: Path) -> None:
    recipe = RECIPES["fashion"]
    same = vs_standalone.holds_for(recipe, None, "pixels")
    others = [
        vs_standalone.holds_for(recipe.override(epochs=3), None, "pixels"),
        vs_standalone.holds_for(recipe, recipe, "pixels"),
        vs_standalone.holds_for(recipe, None, "other pixels"),
    ]
    row = vs_standalone.Row("a", "small", 1, 0.8, 0.81, 2.0, commit="abc")
    result = tmp_path / "vs_standalone.json"
    assert vs_standalone.on_record(result, same) == {}
    result.write_text(json.dumps({"raw": {"holds_for": same, "rows": [asdict(row)]}}))
    assert vs_standalone.on_record(result, same) == {"a": row}
    assert all(vs_standalone.on_record(result, other) == {} for other in others)


def test_several_are_trained_at_a_time_as_they_would_be_alone(tmp_path: Path) -> None:
    """Complete runs are left alone; what processes of their own write is what this one takes."""
    loading = partial(load, "digits", None, "digits", 0)
    data = loading()
    recipe = RECIPES["digits-quick"].override(epochs=0.4)
    space = preset("digits", channels=data.channels, classes=len(data.classes))
    runs = [Run(f"number {n}", space, recipe.override(seed=n), tmp_path / str(n)) for n in (0, 1)]
    train_all(runs, loading, 2, Silent())
    before = [(run.folder / "checkpoint.pt").stat().st_mtime_ns for run in runs]
    digests = {run.trained(data, Silent()).digest() for run in runs}
    assert len(digests) == 2
    assert [(run.folder / "checkpoint.pt").stat().st_mtime_ns for run in runs] == before


def test_quantised_afterwards_is_in_float_to_the_end() -> None:
    recipe = RECIPES[qfa_vs_ptq.PRESET]
    float_only, nearly = (
        Pace(recipe.override(float_share=share), 50, (28,)) for share in (1.0, 0.999)
    )
    assert {float_only.numerics(step) for step in range(50)} == {Numerics.FLOAT}
    assert nearly.numerics(49) is Numerics.INT8
    with pytest.raises(RecipeError, match="recipe float_share: expected <= 1, got"):
        recipe.override(float_share=1.01)


def test_leads_of_training_in_int8() -> None:
    found = [(0.1, 0.83, 0.80), (0.2, 0.84, 0.83), (0.3, 0.88, 0.88), (0.4, 0.90, 0.91)]
    rows = [
        qfa_vs_ptq.Row(str(n), n, latency, ours, theirs, ())
        for n, (latency, ours, theirs) in enumerate(found)
    ]
    figures = qfa_vs_ptq.figures_of(rows)
    assert figure(figures, "smallest quarter").value == pytest.approx(3.0)
    assert figure(figures, "front of INT8").value == pytest.approx(-1.0)
    assert figure(figures, "all subnets").value == pytest.approx(0.75)
    assert figure(figures, "any subnet").value == pytest.approx(-1.0)


def test_keyword_spotting_stands_beside_its_peer() -> None:
    peer = kws.Peer(1000, 0.9, 0.91, 50)
    row = kws.Row("kws", "largest", "a", 1, 500, 0.95, 0.7, (session(0.7),))
    figures = kws.figures_of([row], peer)
    assert figure(figures, "kws_dscnn: accuracy").value == pytest.approx(90.0)
    assert figure(figures, "kws, largest: bytes").value == 0.5
    assert all(each.met for each in figures)
