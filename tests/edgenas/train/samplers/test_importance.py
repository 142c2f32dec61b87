"""Choices and rows drawn by gradient norm: start uniform, sum to 1, lower the variance."""

import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edgenas.data.digits import read_digits
from edgenas.model.images import to_input
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace, StageSpace
from edgenas.train.samplers import RowImportance, build_sampler, row_scores
from edgenas.train.samplers.genes import genes, indices
from edgenas.train.samplers.importance import PathImportance
from tests.edgenas.train.samplers.settings import SPACE, lessened, outcome, setting

GENES = {gene.name: gene for gene in genes(SPACE)}


def _told(proposal: PathImportance, space: ArchSpace, steps: range) -> None:
    for step in steps:
        proposal.refresh(step)
        for arch in proposal.propose(space, random.Random(step), step, 3):
            proposal.tell(step, arch, *outcome(step, arch, space))


def test_probabilities_start_uniform_and_always_sum_to_one() -> None:
    proposal = PathImportance(setting())
    _told(proposal, SPACE, range(10))
    for gene in GENES.values():
        assert proposal.probabilities(gene) == pytest.approx(
            [1 / len(gene.choices)] * len(gene.choices)
        )
    _told(proposal, SPACE, range(10, 60))
    for gene in GENES.values():
        chances = proposal.probabilities(gene)
        assert sum(chances) == pytest.approx(1)
        assert min(chances) > 0


def test_probabilities_follow_the_formula() -> None:
    """With t the share of the epochs that are over: p = t n / sum(n) + (1 - t) / |O|."""
    proposal = PathImportance(setting())
    small, large = lessened(SPACE, "stem.stem"), SPACE.largest()
    for arch, norm in ((small, 1.0), (large, 3.0)):
        proposal.tell(0, arch, 0.0, {"stem": norm})
    for epoch in range(1, 6):
        proposal.refresh(10 * epoch)
        t = epoch / 6
        expected = [t * 0.25 + (1 - t) / 2, t * 0.75 + (1 - t) / 2]
        assert proposal.probabilities(GENES["stem.stem"]) == pytest.approx(expected)


def test_what_is_told_counts_from_the_next_epoch_on() -> None:
    proposal = PathImportance(setting())
    proposal.refresh(30)
    proposal.tell(30, SPACE.largest(), 0.0, {"stem": 3.0})
    proposal.tell(31, lessened(SPACE, "stem.stem"), 0.0, {"stem": 1.0})
    proposal.refresh(39)
    assert proposal.probabilities(GENES["stem.stem"]) == [0.5, 0.5]
    proposal.refresh(40)
    assert proposal.probabilities(GENES["stem.stem"])[1] > 0.6


def test_a_choice_without_weights_stays_uniform() -> None:
    proposal = PathImportance(setting())
    _told(proposal, SPACE, range(60))
    assert proposal.probabilities(GENES["resolution"]) == [0.5, 0.5]


def test_a_choice_that_was_never_drawn_counts_like_the_average() -> None:
    proposal = PathImportance(setting())
    gene = GENES["s1.b0.kernel"]
    for _ in range(3):
        proposal.tell(0, SPACE.largest(), 0.0, {"s1.b0.depthwise": 2.0})
    proposal.refresh(50)
    assert proposal.probabilities(gene) == pytest.approx([1 / 3] * 3)


def test_norms_of_no_gradient_at_all_leave_draws_uniform() -> None:
    proposal = PathImportance(setting())
    layers = {layer.name: 0.0 for layer in SPACE.layers(SPACE.largest())}
    proposal.tell(0, SPACE.largest(), 0.0, layers)
    proposal.refresh(50)
    assert proposal.probabilities(GENES["stem.stem"]) == [0.5, 0.5]


def test_draws_follow_the_probabilities() -> None:
    proposal = PathImportance(setting())
    proposal.tell(0, SPACE.largest(), 0.0, {"head": 9.0})
    proposal.tell(0, lessened(SPACE, "head.head"), 0.0, {"head": 1.0})
    proposal.refresh(50)
    heads = Counter(arch.head for arch in proposal.propose(SPACE, random.Random(0), 50, 3000))
    expected = proposal.probabilities(GENES["head.head"])[1]
    assert heads[32] / 3000 == pytest.approx(expected, abs=0.03)
    assert expected > 0.8


def test_it_asks_for_norms_and_runs_one_subnet_a_step() -> None:
    sampler = build_sampler("pada", replace(setting(), random_subnets=4))
    assert sampler.wants_norms
    assert [len(sampler.draw(step)) for step in range(20)] == [1] * 20
    assert not build_sampler("uniform", setting()).wants_norms
    assert build_sampler("pada", replace(setting(), rows=0)).rows is None


# --- the variance of real gradients ------------------------------------------------------------

TINY = ArchSpace(
    name="tiny",
    channels=1,
    classes=10,
    resolutions=(8,),
    stems=(8, 16),
    stages=(StageSpace((8, 24), (1, 2), (3, 5), (1, 3), stride=2),),
    heads=(16, 64),
)


def _gradient(net: Supernet, arch: Arch) -> tuple[float, Mapping[str, float]]:
    """Squared norm of a subnet's whole gradient on some digits, and norms by layer."""
    split = read_digits().train
    net.zero_grad(set_to_none=True)
    logits = net(to_input(split.images[:64], 8), arch, numerics=Numerics.FLOAT)
    F.cross_entropy(logits, torch.from_numpy(split.labels[:64])).backward()
    grads = {
        layer.name: net.module(layer).get_parameter("weight").grad
        for layer in TINY.layers(arch)
        if layer.weighted
    }
    norms = {name: float(grad.norm()) for name, grad in grads.items() if grad is not None}
    return sum(norm**2 for norm in norms.values()), norms


def test_the_measured_variance_of_the_gradient_is_below_uniform() -> None:
    """Second moment of the unbiased estimate (u/p) g: sum of u^2 |g|^2 / p over all subnets.

    Both estimates have the same mean, so the lower moment is the lower variance.
    """
    torch.manual_seed(0)
    net, rng = Supernet(TINY).train(), random.Random(0)
    proposal = PathImportance(setting(TINY, steps=60))
    for step in range(60):
        proposal.refresh(step)
        (arch,) = proposal.propose(TINY, rng, step, 1)
        proposal.tell(step, arch, 0.0, _gradient(net, arch)[1])
    archs = {TINY.sample(rng) for _ in range(60)}
    uniform = weighted = 0.0
    for arch in archs:
        squared, _ = _gradient(net, arch)
        taken = indices(TINY, arch)
        u = math.prod(1 / len(gene.choices) for gene in taken)
        p = math.prod(proposal.probabilities(gene)[index] for gene, index in taken.items())
        uniform += u * squared
        weighted += u * u / p * squared
    assert weighted < uniform


# --- rows --------------------------------------------------------------------------------------


def test_scores_are_the_norms_of_the_gradient_at_the_logits() -> None:
    torch.manual_seed(0)
    logits = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(4, (7,))
    F.cross_entropy(logits, labels, reduction="sum").backward()
    assert logits.grad is not None
    np.testing.assert_allclose(row_scores(logits, labels), logits.grad.norm(dim=1).numpy())


def test_rows_start_uniform_and_follow_the_formula() -> None:
    rows = RowImportance(4, epochs=10, seed=0)
    assert rows.probabilities(0) == pytest.approx([0.25] * 4)
    rows.tell(np.arange(4), np.array([0.0, 1.0, 1.0, 2.0]))
    rows.order(0)
    assert rows.probabilities(0) == pytest.approx([0.25] * 4)
    rows.order(5)
    assert rows.probabilities(5) == pytest.approx([0.125, 0.25, 0.25, 0.375])


def test_rows_are_drawn_with_replacement_as_often_as_they_should() -> None:
    rows = RowImportance(4000, epochs=10, seed=0)
    scores = np.where(np.arange(4000) < 1000, 1.4, 0.2)
    rows.tell(np.arange(4000), scores)
    order = rows.order(9)
    assert order.shape == (4000,)
    assert len(np.unique(order)) < 3500
    expected = rows.probabilities(9)[:1000].sum()
    assert (order < 1000).mean() == pytest.approx(expected, abs=0.03)
    assert expected > 0.6


def test_the_order_of_an_epoch_stays_while_scores_are_told() -> None:
    rows = RowImportance(50, epochs=10, seed=0)
    rows.tell(np.arange(50), np.arange(50) / 50)
    before = rows.order(3)
    rows.tell(np.arange(50), np.arange(50)[::-1] / 50)
    assert np.array_equal(rows.order(3), before)
    assert not np.array_equal(rows.probabilities(3), RowImportance(50, 10, 0).probabilities(3))
    assert not np.array_equal(rows.order(4), before)


def test_rows_never_told_count_like_the_average() -> None:
    rows = RowImportance(4, epochs=10, seed=0)
    rows.tell(np.array([0, 1]), np.array([0.5, 1.5]))
    rows.order(5)
    assert rows.probabilities(5) == pytest.approx([0.1875, 0.3125, 0.25, 0.25])


def test_the_variance_over_rows_is_below_uniform() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(500) ** 3
    rows = RowImportance(500, epochs=10, seed=0)
    rows.tell(np.arange(500), scores)
    rows.order(9)
    weighted = (scores**2 / rows.probabilities(9)).sum() / 500**2
    assert weighted < (scores**2).mean()


def test_a_last_batch_of_zeros() -> None:
    rows = RowImportance(4, epochs=10, seed=0)
    rows.tell(np.arange(4), np.zeros(4))
    rows.order(9)
    assert rows.probabilities(9) == pytest.approx([0.25] * 4)
