"""Small spaces, and supernets whose numbers are as awkward as a trained one's may be.

Training is left to the tests of `edgenas.train`; nothing here checks anything.
"""

import random

import torch
from torch import Tensor

from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch
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


def pictures(space: ArchSpace, resolution: int, count: int, seed: int) -> Tensor:
    """Smooth random images [count, channels, r, r] on the pixel grid in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, space.channels, 4, 4, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, (resolution, resolution), mode="bilinear")
    return torch.round(fine * 255) / 255
