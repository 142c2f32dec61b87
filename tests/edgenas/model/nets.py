"""Small spaces, and supernets whose numbers are as awkward as a trained one's may be.

Training is left to the tests of `edgenas.train`; nothing here checks anything.
"""

import random

import torch
from torch import Tensor

from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch, Resolution, sides
from edgenas.space.space import ArchSpace, StageSpace

# Three channels, odd and even sizes, all kernels, and adds that depend on the widths.
TINY = ArchSpace(
    name="tiny",
    channels=3,
    classes=5,
    resolutions=(9, 12, 15),
    stems=(8, 16),
    stages=(
        StageSpace((8, 16), (1, 2), (3, 5, 7), (1, 2), stride=1),
        StageSpace((16, 24), (1, 2), (3, 5, 7), (2, 3), stride=2),
    ),
    heads=(16, 32),
    stem_stride=2,
)

# Every kind of block, with shortcuts and adds that depend on the widths, as in the stage before.
MIXED = ArchSpace(
    name="mixed",
    channels=3,
    classes=5,
    resolutions=(9, 12, 16),
    stems=(8, 16),
    stages=(
        StageSpace((8, 16), (1, 2), (3, 5), (1, 2), block="resnet"),
        StageSpace((16, 24), (1, 2), (1, 3, 5), (1, 2), stride=2, block="fused"),
        StageSpace((16, 24), (1, 2), (3,), (1,), block="conv"),
        StageSpace((24, 32), (1, 2), (3,), (1,), stride=2, block="resnet"),
        StageSpace((24, 32), (1, 2), (3, 5), (2, 3)),
    ),
    heads=(32,),
)

# Recordings: 10 features of 25 to 49 frames, at once made channels, and kernels along time.
SOUND = ArchSpace(
    name="sound",
    channels=1,
    classes=5,
    resolutions=((25, 10), (33, 10), (49, 10)),
    stems=(8, 16),
    stages=(
        StageSpace((8, 16), (1, 2), (3, 5, 9), (1, 2), stride=2, block="resnet", axes="time"),
        StageSpace((16, 24), (1, 2), (3, 5, 9), (2, 3), stride=2, axes="time"),
        StageSpace((16, 24), (1, 2), (3, 9), (1, 2), block="fused", axes="time"),
    ),
    heads=(32,),
    stem_kernel=5,
    stem_axes="time",
)

# Sides of which neither is the other: square kernels, and ones that leave the width alone.
OBLONG = ArchSpace(
    name="oblong",
    channels=1,
    classes=5,
    resolutions=((13, 8), (25, 10), (49, 11)),
    stems=(8, 16),
    stages=(
        StageSpace((8, 16), (1, 2), (3, 5), (1, 2), stride=2, block="resnet"),
        StageSpace((16, 24), (1, 2), (3, 5, 9), (2, 3), stride=2, axes="time"),
        StageSpace((16, 24), (1, 2), (3, 5), (1,), stride=2, block="conv", axes="time"),
        StageSpace((16, 24), (1, 2), (3, 5), (2, 3)),
    ),
    heads=(32,),
    stem_stride=2,
    stem_kernel=5,
)


def awkward_net(space: ArchSpace, seed: int) -> Supernet:
    """A supernet in evaluation mode: BatchNorm scales of both signs and 0, ranges observed."""
    generator = torch.Generator().manual_seed(seed)
    net = Supernet(space)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            if name.endswith("gamma"):
                parameter.copy_(drawn)
                parameter[seed % len(parameter)] = 0.0
            elif name.endswith(("beta", "bias")):
                parameter.copy_(0.3 * drawn)
            else:
                parameter.copy_(drawn / parameter[0].numel() ** 0.5)
        net.train()
        for arch in sampled(space, 6, seed):
            net(pictures(space, arch.resolution, 8, seed), arch, numerics=Numerics.INT8)
    return net.eval()


def sampled(space: ArchSpace, count: int, seed: int) -> list[Arch]:
    """The largest and the smallest architecture, then uniform draws."""
    rng = random.Random(seed)
    drawn = [space.sample(rng) for _ in range(count - 2)]
    return [space.largest(), space.smallest(), *drawn]


def pictures(space: ArchSpace, resolution: Resolution, count: int, seed: int) -> Tensor:
    """Smooth random images [count, channels, h, w] on the pixel grid in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, space.channels, 4, 4, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, sides(resolution), mode="bilinear")
    return torch.round(fine * 255) / 255
