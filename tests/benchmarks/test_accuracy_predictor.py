"""The predictor's benchmark on accuracies that follow from the networks, and on noise."""

import random

from benchmarks import accuracy_predictor as benchmark
from benchmarks.subnets import spread
from edgenas.search.features import Features
from edgenas.space.presets import PRESETS

SPACE = PRESETS["digits"]
FEATURES = Features(SPACE)


def test_what_follows_from_the_network_is_predicted_and_noise_is_not() -> None:
    archs = spread(SPACE, 90, 0)
    largest = SPACE.macs(SPACE.largest())
    lawful = {arch: 0.5 + 0.4 * (SPACE.macs(arch) / largest) ** 0.5 for arch in archs}
    rng = random.Random(1)
    noise = {arch: rng.uniform(0.5, 0.9) for arch in archs}
    assert benchmark.predicted_tau(FEATURES, lawful, 50, seed=0) > 0.85
    assert abs(benchmark.predicted_tau(FEATURES, noise, 50, seed=0)) < 0.4


def test_the_figures_tell_the_goal_and_what_images_allow() -> None:
    halves = [(0.1 * n, 0.1 * n + 0.01 * (n % 3)) for n in range(9)]
    figures = benchmark.figures_of([0.8, 0.9], halves, {50: [0.7, 0.8], 100: [0.91, 0.95, 0.5]})
    at_goal = next(figure for figure in figures if "at 100" in figure.name)
    assert (at_goal.value, at_goal.met) == (0.91, True)
    assert "informational" not in at_goal.name
    assert all("informational" in each.name for each in figures if each is not at_goal)
