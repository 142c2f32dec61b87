"""Short training runs on the digits, in this process and in a child of their own.

`python -m tests.edgenas.train.runs FOLDER CHECKPOINT_EVERY NAME` is that child, and runs for
longer: it prints each step that it has done. Nothing here checks anything.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from edgenas.data.digits import read_digits
from edgenas.data.split import Split
from edgenas.space.space import ArchSpace, StageSpace
from edgenas.train.checkpoint import Checkpoint
from edgenas.train.loop import StepReport, train
from edgenas.train.recipe import Recipe

ROOT = Path(__file__).parents[3]
SPACE = ArchSpace(
    name="tiny",
    channels=1,
    classes=10,
    resolutions=(8, 9),
    stems=(8,),
    stages=(StageSpace((16, 24), (1, 2), (3, 5), (2,), stride=2),),
    heads=(32,),
)
# 16 steps, float at first, with everything that a resumed run could get wrong.
RECIPE = Recipe(
    epochs=2, batch=32, rate=0.1, float_share=0.3, random_subnets=1, shift=0.13, flip=True, seed=3
)
LONG = RECIPE.override(epochs=12)  # 96 steps: not done before a signal arrives
# As long, and with everything that remembers: sampler, clipping, average, what was good.
RICH = LONG.override(
    sampler="elasticvit", teachers=("average",), average=0.95, clip="median", mixup=0.3,
    cutout=0.2, divergence="alpha", dropout=0.1, dropout_for="size", check_every=5,
)  # fmt: skip
RECIPES = {"long": LONG, "rich": RICH}
DATA = "digits, 256 images"


@cache
def digits() -> Split:
    """The digits that are not for testing."""
    return read_digits().train


def run(
    folder: Path,
    recipe: Recipe = RECIPE,
    *,
    space: ArchSpace = SPACE,
    images: int = 256,
    data: str = DATA,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_note: Callable[[str], None] = lambda text: None,
) -> Checkpoint:
    """Train on the first `images` digits."""
    split = digits()
    return train(
        space, split.images[:images], split.labels[:images], recipe, folder, data,
        on_step=on_step, on_note=on_note,
    )  # fmt: skip


def equal(one: object, two: object) -> bool:
    """Whether nested states are equal, tensors bit for bit (NaN equals NaN)."""
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return torch.equal(one.nan_to_num(7e7), two.nan_to_num(7e7))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(map(equal, one, two))
    return one == two


def start_child(folder: Path, checkpoint_every: int, name: str = "long") -> subprocess.Popen[str]:
    """A long run in a process of its own."""
    module = "tests.edgenas.train.runs"
    command = [sys.executable, "-m", module, str(folder), str(checkpoint_every), name]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_step(child: subprocess.Popen[str], step: int) -> int:
    """Read until the child has done `step` steps; the last step it told."""
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= step:
            return int(line)
    assert child.stderr is not None
    raise AssertionError(f"the child ended before step {step}: {child.stderr.read()[-2000:]}")


def _child(folder: str, checkpoint_every: str, name: str) -> None:
    torch.set_num_threads(1)
    recipe = RECIPES[name].override(checkpoint_every=int(checkpoint_every))
    run(Path(folder), recipe, on_step=lambda report: print(report.step, flush=True))


if __name__ == "__main__":
    _child(*sys.argv[1:])
