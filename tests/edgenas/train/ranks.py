"""What several processes do together, started by torchrun; each writes what it found as JSON.

`python -m torch.distributed.run --nproc-per-node 2 -m tests.edgenas.train.ranks FOLDER`. In the end
one process fails, as a process may. Nothing here checks anything: test_distributed does.
"""

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import edgenas.train.loop
from edgenas.errors import EdgenasError
from edgenas.model.images import Pixels
from edgenas.model.normalise import normalise
from edgenas.model.peers import ALONE, Peers
from edgenas.space.space import ArchSpace, StageSpace
from edgenas.train.batches import Labels
from edgenas.train.distributed import DistributedError, Place, check_alike, together
from edgenas.train.gradients import average_gradients
from edgenas.train.loop import StepReport, train
from edgenas.train.recipe import Recipe

SPACE = ArchSpace(
    name="tiny",
    channels=1,
    classes=10,
    resolutions=(8, 9),
    stems=(8,),
    stages=(StageSpace((16, 24), (1, 2), (3, 5), (2,), stride=2),),
    heads=(32,),
)
IMAGES = 256
SHORT = Recipe(  # 10 steps: 3 in float, 7 in INT8
    epochs=1.25, batch=32, rate=0.1, float_share=0.3, random_subnets=1, shift=0.13, flip=True,
    seed=3, check_every=5,
)  # fmt: skip
LAST_WORDS = "expected a process to live, got this; look elsewhere"
# Between them everything that looks at a batch, draws by chance or remembers.
VARIANTS: dict[str, Recipe] = {
    "plain": SHORT,
    "augmented": SHORT.override(
        sampler="attentive_worst_up", teachers=("average",), average=0.95, clip="median", mixup=0.3,
        cutout=0.2, divergence="alpha", dropout=0.3, dropout_for="size",
    ),
    "importance": SHORT.override(
        sampler="pada", teachers=("frozen", "largest"), dropout=0.2, label_share=0.5
    ),
    "in parts": SHORT.override(
        sampler="uniform_in_parts", random_subnets=2, batch=64, epochs=2.5, teachers=("average",),
        average=0.9, mixup=0.3, dropout=0.2, dropout_for="all", weights="double_rounding",
    ),
    "judged": SHORT.override(
        sampler="shiftnas", held_out=64, epochs=1.0, activations="lsq_plus",
        weights="double_rounding", teachers=(),
    ),
}  # fmt: skip


@cache
def pictures() -> tuple[Pixels, Labels]:
    """Ten kinds of noisy pictures; made here, for data sets take seconds to be imported."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 256, (10, 9, 9, 1))
    labels = np.arange(IMAGES, dtype=np.int64) % 10
    noisy = kinds[labels] + rng.normal(0, 60, (IMAGES, 9, 9, 1))
    return noisy.clip(0, 255).astype(np.uint8), labels


def run_together(
    folder: Path, recipe: Recipe, peers: Peers = ALONE, **options: Any
) -> dict[str, object]:
    """Train on the pictures; the digest of what was trained, and the steps that were told."""
    told: list[int] = []
    on_step: Callable[[StepReport], None] = options.pop("on_step", lambda report: None)

    def hear(report: StepReport) -> None:
        told.append(report.step)
        on_step(report)

    try:
        final = train(
            SPACE, *pictures(), recipe, folder, options.pop("data", "pictures"), peers=peers,
            on_step=hear, **options,
        )  # fmt: skip
    except (EdgenasError, KeyboardInterrupt, StopError) as error:
        return {"error": type(error).__name__, "text": str(error), "told": told}
    return {"digest": final.digest(), "step": final.step, "told": told}


class StopError(Exception):
    """Ends a run from its caller."""


def stop_after(step: int) -> Callable[[StepReport], None]:
    """End a run from its caller, so that another may go on with it."""

    def stop(report: StepReport) -> None:
        if report.step == step:
            raise StopError

    return stop


# --- what is found -------------------------------------------------------------------------------


def _answers(peers: Peers) -> dict[str, object]:
    own = torch.tensor([[1.0, 5.0], [-2.0, 3.0]]) * (1 + peers.rank)
    return {
        "part": peers.part(torch.arange(5)).tolist(),
        "whole": peers.whole(peers.part(torch.arange(8).view(4, 2))).tolist(),
        "gathered": peers.gathered(own[0]).tolist(),
        "mean": peers.mean(own.t()).tolist(),
        "own": own.tolist(),
        "means": peers.means([1.0 + peers.rank, float("nan")]),
        "extremes": peers.extremes(own).tolist(),
        "told": [peers.told(body).decode() for body in (b"from %d" % peers.rank, b"")],
        "alike": _refusal(lambda: check_alike(peers, "answers", lambda: "same")),
        "unlike": _refusal(lambda: check_alike(peers, "answers", lambda: str(peers.rank))),
    }


def _refusal(check: Callable[[], None]) -> str:
    try:
        check()
    except DistributedError as error:
        return str(error)
    return ""


def _normalised(peers: Peers) -> dict[str, float]:
    """Largest differences between a batch in two parts and the same batch as a whole."""
    generator = torch.Generator().manual_seed(1)
    whole, weight = (
        torch.randn(6, 3, 4, 5, generator=generator, dtype=torch.float64) * 3 + 40 for _ in range(2)
    )
    own = peers.part(whole).contiguous(memory_format=torch.channels_last)
    expected = _gradients(whole, weight, ALONE)
    got = _gradients(own, peers.part(weight), peers)
    got["gamma"], got["beta"] = peers.mean(got["gamma"]), peers.mean(got["beta"])
    for name in ("y", "x"):
        expected[name] = peers.part(expected[name]) * (peers.size if name == "x" else 1)
    return {name: (got[name] - expected[name]).abs().max().item() for name in got}


def _gradients(x: Tensor, weight: Tensor, peers: Peers) -> dict[str, Tensor]:
    """Output and gradients of a mean loss that weighs every element differently."""
    gamma = torch.tensor([0.5, -2.0, 1.5], dtype=torch.float64, requires_grad=True)
    beta = torch.tensor([0.1, 0.2, -0.3], dtype=torch.float64, requires_grad=True)
    x = x.clone().requires_grad_()
    y = normalise(x, gamma, beta, 1e-5, peers)
    ((y * weight).sum() / len(x)).backward()
    gradients = {"x": x.grad, "gamma": gamma.grad, "beta": beta.grad}
    return {"y": y.detach()} | {k: v for k, v in gradients.items() if v is not None}


def _drifting(folder: Path, peers: Peers) -> dict[str, object]:
    """One process moves its weights by a little something of its own."""

    def averaged(parameters: Any, among: Peers) -> None:
        every = list(parameters)
        average_gradients(every, among)
        if peers.rank == 1:
            every[0].grad.mul_(1 + 1e-6)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edgenas.train.loop, "average_gradients", averaged)
        return run_together(folder, SHORT, peers)


def _interrupted(folder: Path, peers: Peers) -> dict[str, object]:
    """SIGINT, twice, to the process that does not keep the run."""

    def interrupt(report: StepReport) -> None:
        if (report.step, peers.rank) == (4, 1):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    return run_together(folder, SHORT.override(checkpoint_every=100), peers, on_step=interrupt)


def _findings(root: Path, peers: Peers) -> Mapping[str, object]:
    """All of it; each process has a folder of its own, as if it were on another machine."""

    def at(name: str) -> Path:
        return root / name / str(peers.rank)

    diverging = SHORT.override(epochs=4, rate=1e6, warmup=0.0, rollbacks=1)
    odd = SHORT.override(batch=33)
    return {
        "answers": _answers(peers),
        "normalised": _normalised(peers),
        **{name: run_together(at(name), recipe, peers) for name, recipe in VARIANTS.items()},
        "stopped": run_together(at("stopped"), SHORT, peers, on_step=stop_after(6)),
        "taken over": run_together(at("taken over"), SHORT, peers),
        "diverging": run_together(at("diverging"), diverging, peers),
        "drifting": _drifting(at("drifting"), peers),
        "interrupted": _interrupted(at("interrupted"), peers),
        "odd batch": run_together(at("odd batch"), odd, peers),
        "other data": run_together(at("other data"), SHORT, peers, data=f"of {peers.rank}"),
    }


def _main(root: Path) -> int:
    torch.set_num_threads(1)
    place = Place.from_environment(os.environ)
    try:
        with together(place) as peers:
            found = _findings(root, peers)
            text = json.dumps({"place": dataclasses.asdict(place), **found})
            (root / f"found-{place.rank}.json").write_text(text, "utf-8")
            if peers.rank == 1:
                raise DistributedError(LAST_WORDS)
            peers.means([0.0])  # is never answered
    except EdgenasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
