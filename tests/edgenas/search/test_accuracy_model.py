"""Accuracy models: gradients by differences, what is free is learnt, the better order is used."""

import random
from dataclasses import replace

import numpy as np
import pytest

from edgenas.search.accuracy_model import AccuracyModel, learn_accuracy, learn_ranked, left_out
from edgenas.search.features import Features, Rows
from edgenas.search.perceptron import Adam, Perceptron
from edgenas.search.ranking import Ranker, fit_ranker, kendall, pretrained, rank_loss
from edgenas.search.regressors import Process
from edgenas.search.surrogate import stratified
from edgenas.space import Arch
from tests.edgenas.search.analytic import DIGITS, accuracy

FEATURES = Features(DIGITS)
KNOWN = list(stratified(DIGITS, 40, random.Random(3)))
UNSEEN = [DIGITS.sample_by_size(random.Random(f"unseen/{i}")) for i in range(200)]
TRUE = np.array([accuracy(DIGITS, arch) for arch in UNSEEN])


def test_gradients_are_those_of_differences() -> None:
    rng = np.random.default_rng(0)
    fresh = Perceptron.fresh(4, 6, 1, rng)  # whose biases of 0 lie on the edges of its ReLUs
    net = Perceptron(tuple((w, rng.normal(size=b.shape)) for w, b in fresh.layers))
    rows, targets = rng.normal(size=(7, 4)), rng.normal(size=7)

    def loss(predictions: Rows) -> tuple[float, Rows]:
        return rank_loss(predictions, targets)

    _, gradients = net.gradients(rows, loss)
    for number, layer in enumerate(net.layers):
        for part, values in enumerate(layer):
            for place in list(np.ndindex(values.shape))[:5]:
                moved = []
                for step in (1e-6, -1e-6):
                    changed = [list(map(np.copy, one)) for one in net.layers]
                    changed[number][part][place] += step
                    other = Perceptron(tuple((w, b) for w, b in changed))
                    moved.append(loss(other(rows))[0])
                slope = (moved[0] - moved[1]) / 2e-6
                assert gradients[number][part][place] == pytest.approx(slope, abs=1e-6)


def test_the_loss_of_the_right_order_is_least() -> None:
    targets = np.array([-1.5, -0.5, 0.5, 1.5])
    right = rank_loss(targets[:, None], targets)[0]
    for order in ([0, 1, 3, 2], [1, 0, 2, 3], [3, 2, 1, 0]):
        assert rank_loss(targets[order][:, None], targets)[0] > right
    assert rank_loss(targets[::-1][:, None], targets)[0] > 1.5


def test_tau_by_hand() -> None:
    assert kendall(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0])) == 1
    assert kendall(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])) == -1
    assert kendall(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])) == pytest.approx(1 / 3)
    tied = kendall(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    assert tied == pytest.approx(2 / np.sqrt(2 * 3))
    assert kendall(np.array([0.0, 0.0, 0.0]), np.array([0.0, 1.0, 2.0])) == 0


def test_adam_finds_a_line_and_leaves_the_encoder_alone_where_it_is_told_to() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(64, 3))
    targets = rows @ np.array([1.0, -2.0, 0.5])

    def loss(predictions: Rows) -> tuple[float, Rows]:
        error = predictions[:, 0] - targets
        return float((error**2).mean()), 2 * error[:, None] / len(error)

    trainer = Adam(Perceptron.fresh(3, 16, 1, rng), 0.01)
    before = trainer.net
    first = trainer.step(rows, loss, head_only=True)
    assert all(
        (a[0] == b[0]).all() for a, b in zip(before.layers[:2], trainer.net.layers[:2], strict=True)
    )
    assert (before.layers[2][0] != trainer.net.layers[2][0]).all()
    for _ in range(400):
        last = trainer.step(rows, loss)
    assert last < 0.02 * first


def test_what_is_free_is_learnt_once() -> None:
    found = pretrained(DIGITS)
    assert found.error < 0.2  # of the spread of each figure
    assert pretrained(replace(DIGITS)) is found


def test_the_ranker_orders_and_knows_what_it_does_not_know() -> None:
    goodness = -np.log(1.005 - np.array([accuracy(DIGITS, arch) for arch in KNOWN]))
    model = learn_ranked(FEATURES, KNOWN, goodness)
    assert isinstance(model.estimate, Ranker)
    assert kendall(model.predict(UNSEEN), TRUE) > 0.85
    assert model.held_out_tau > 0.8
    assert ((model.predict(UNSEEN) >= 0) & (model.predict(UNSEEN) <= 1)).all()
    assert (model.optimistic(UNSEEN) > model.predict(UNSEEN)).all()
    inside = abs(model.estimate.predict(FEATURES.choices(UNSEEN)) + np.log(1.005 - TRUE))
    _, deviation = model.estimate.spread(FEATURES.choices(UNSEEN))
    assert 0.4 < float(np.mean(inside <= deviation)) <= 1.0
    again = fit_ranker(DIGITS, FEATURES.choices(KNOWN), goodness)
    assert (
        again.predict(FEATURES.choices(UNSEEN)) == model.estimate.predict(FEATURES.choices(UNSEEN))
    ).all()


def test_equal_accuracies_are_predicted_as_such() -> None:
    ranker = fit_ranker(DIGITS, FEATURES.choices(KNOWN), np.full(len(KNOWN), 2.0))
    assert ranker.predict(FEATURES.choices(UNSEEN)) == pytest.approx(2.0)


def learnt(count: int, noise: float) -> AccuracyModel:
    rng = random.Random(5)
    known = list(stratified(DIGITS, count, random.Random(3)))
    values = [min(0.99, accuracy(DIGITS, arch) + rng.gauss(0, noise)) for arch in known]
    return learn_accuracy(FEATURES, known, values)


def test_the_kind_that_orders_better_what_was_left_out_is_used() -> None:
    smooth = learnt(60, 0.0)
    assert isinstance(smooth.estimate, Process)
    assert smooth.held_out_tau > 0.9
    for count in (12, 101):  # too few to compare, more than need it
        unasked = learnt(count, 0.1)
        assert isinstance(unasked.estimate, Process)
        assert np.isnan(unasked.held_out_tau)
    noisy = learnt(40, 0.1)
    known: list[Arch] = list(stratified(DIGITS, 40, random.Random(3)))
    rng = random.Random(5)
    values = [min(0.99, accuracy(DIGITS, arch) + rng.gauss(0, 0.1)) for arch in known]
    goodness = -np.log(1.005 - np.array(values))
    ranked = learn_ranked(FEATURES, known, goodness)
    assert noisy.held_out_tau >= ranked.held_out_tau
    assert isinstance(noisy.estimate, Ranker) == (noisy.held_out_tau == ranked.held_out_tau)


def test_left_out_rows_teach_nothing() -> None:
    class Remembering:
        def __init__(self, rows: Rows) -> None:
            self.rows = rows

        def predict(self, rows: Rows) -> Rows:
            known = {tuple(row) for row in self.rows}
            return np.array([float(tuple(row) in known) for row in rows])

        def spread(self, rows: Rows) -> tuple[Rows, Rows]:
            return self.predict(rows), np.zeros(len(rows))

    rows: Rows = np.random.default_rng(0).normal(size=(12, 2))
    assert (left_out(rows, rows[:, 0], lambda x, y: Remembering(x)) == 0).all()
