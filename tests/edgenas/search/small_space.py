"""A space small enough to list: every architecture of it, for tests that need the whole truth."""

import itertools
from dataclasses import replace

from edgenas.space import Arch, BlockArch, StageArch, StageSpace
from tests.edgenas.search.analytic import DIGITS

SMALL = replace(
    DIGITS,
    name="small",
    heads=(64,),
    stages=(
        StageSpace((16, 24), (1, 2), (3,), (2, 3), stride=2),
        StageSpace((24, 40), (1, 2), (3, 7), (2, 4), stride=2),
    ),
)


def everything() -> list[Arch]:
    """All 2,880 of them."""
    stages = [_stages(choices) for choices in SMALL.stages]
    others = itertools.product(SMALL.resolutions, SMALL.stems, SMALL.heads)
    return [
        Arch(resolution, stem, chosen, head)
        for resolution, stem, head in others
        for chosen in itertools.product(*stages)
    ]


def _stages(choices: StageSpace) -> list[StageArch]:
    blocks = [BlockArch(*pair) for pair in itertools.product(choices.kernels, choices.expands)]
    return [
        StageArch(width, chosen)
        for width in choices.widths
        for depth in choices.depths
        for chosen in itertools.product(blocks, repeat=depth)
    ]
