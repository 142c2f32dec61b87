"""A small neural network in plain arrays: two hidden layers, Adam, any loss with a gradient.

The search has no training library, and networks of a few hundred rows need none. What it learns is
said in `edgenas.search.ranking`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgenas.search.features import Rows

Loss = Callable[[Rows], tuple[float, Rows]]
"""Loss of predictions [n, outputs], and its gradient of the same shape."""
_BETAS = (0.9, 0.999)
_EPS = 1e-8


@dataclass(frozen=True)
class Perceptron:
    """Weights and biases: two hidden layers with ReLU (the encoder), then a linear head.

    Attributes:
        layers: (weight [inputs, outputs], bias [outputs]) of each of the three.
    """

    layers: tuple[tuple[Rows, Rows], ...]

    @staticmethod
    def fresh(inputs: int, hidden: int, outputs: int, rng: np.random.Generator) -> Perceptron:
        """Random weights, of a size that keeps the spread of a ReLU network (He et al. 2015)."""
        sizes = (inputs, hidden, hidden, outputs)
        return Perceptron(
            tuple(
                (rng.normal(0, np.sqrt(2 / a), (a, b)), np.zeros(b))
                for a, b in itertools.pairwise(sizes)
            )
        )

    def with_fresh_head(self, outputs: int, rng: np.random.Generator) -> Perceptron:
        """The same encoder below a head that knows nothing."""
        hidden = self.layers[-1][0].shape[0]
        head = (rng.normal(0, np.sqrt(1 / hidden), (hidden, outputs)), np.zeros(outputs))
        return Perceptron((*self.layers[:-1], head))

    def __call__(self, rows: Rows) -> Rows:
        """Predictions [n, outputs] of rows [n, inputs]."""
        return self._forward(rows)[-1]

    def gradients(self, rows: Rows, loss: Loss) -> tuple[float, list[tuple[Rows, Rows]]]:
        """The loss, and its gradients by weight and bias of each layer."""
        tensors = self._forward(rows)
        value, upstream = loss(tensors[-1])
        found: list[tuple[Rows, Rows]] = []
        for number in range(len(self.layers) - 1, -1, -1):
            below = tensors[number]
            found.append((below.T @ upstream, upstream.sum(axis=0)))
            if number:
                upstream = (upstream @ self.layers[number][0].T) * (below > 0)
        return value, found[::-1]

    def _forward(self, rows: Rows) -> list[Rows]:
        """The rows, then what each layer makes of them."""
        tensors = [rows]
        for number, (weight, bias) in enumerate(self.layers):
            made = tensors[-1] @ weight + bias
            tensors.append(made if number == len(self.layers) - 1 else np.maximum(made, 0.0))
        return tensors


class Adam:
    """Kingma and Ba 2015, with decoupled weight decay.

    Args:
        net: what is trained.
        rate: of every layer.
        decay: share of a weight that is lost a step, times the rate.
    """

    def __init__(self, net: Perceptron, rate: float, decay: float = 0.0) -> None:
        self.net, self.rate, self.decay = net, rate, decay
        self._mean = [(np.zeros_like(w), np.zeros_like(b)) for w, b in net.layers]
        self._square = [(np.zeros_like(w), np.zeros_like(b)) for w, b in net.layers]
        self._steps = 0

    def step(self, rows: Rows, loss: Loss, *, head_only: bool = False) -> float:
        """One step on these rows; the loss before it."""
        value, gradients = self.net.gradients(rows, loss)
        self._steps += 1
        first = len(gradients) - 1 if head_only else 0
        layers = list(self.net.layers)
        for number in range(first, len(layers)):
            layers[number] = self._moved(number, gradients[number])
        self.net = replace(self.net, layers=tuple(layers))
        return value

    def _moved(self, number: int, gradients: tuple[Rows, Rows]) -> tuple[Rows, Rows]:
        moved = []
        for part, (value, gradient) in enumerate(
            zip(self.net.layers[number], gradients, strict=True)
        ):
            mean, square = self._mean[number][part], self._square[number][part]
            mean += (1 - _BETAS[0]) * (gradient - mean)
            square += (1 - _BETAS[1]) * (gradient * gradient - square)
            by_mean = mean / (1 - _BETAS[0] ** self._steps)
            by_square = square / (1 - _BETAS[1] ** self._steps)
            kept = value * (1 - self.rate * self.decay)
            moved.append(kept - self.rate * by_mean / (np.sqrt(by_square) + _EPS))
        return moved[0], moved[1]
