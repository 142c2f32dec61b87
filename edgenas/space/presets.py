"""The spaces that ship with edgenas, by name; channels and classes come from the data.

Sizes and costs are in docs/spaces.md.
"""

from __future__ import annotations

from dataclasses import replace

from edgenas.space.arch import ArchError
from edgenas.space.space import ArchSpace, StageSpace

PRESETS: dict[str, ArchSpace] = {
    # 8x8 digits, enlarged: the elastic resolution matters although the originals are tiny.
    "digits": ArchSpace(
        name="digits",
        channels=1,
        classes=10,
        resolutions=(8, 12, 16),
        stems=(8, 16),
        stages=(
            StageSpace((16, 24), (1, 2), (3, 5), (2, 3), stride=2),
            StageSpace((24, 32, 40), (1, 2, 3), (3, 5, 7), (2, 3, 4), stride=2),
        ),
        heads=(64, 96),
    ),
    "fashion": ArchSpace(
        name="fashion",
        channels=1,
        classes=10,
        resolutions=(20, 24, 28),
        stems=(8, 16),
        stages=(
            StageSpace((8, 16), (1, 2), (3, 5), (2, 3), stride=1),
            StageSpace((24, 32), (1, 2, 3), (3, 5, 7), (2, 3, 4), stride=2),
            StageSpace((40, 48, 64), (1, 2), (3, 5, 7), (2, 3, 4), stride=2),
        ),
        heads=(96, 128),
        stem_stride=2,
    ),
    "cifar": ArchSpace(
        name="cifar",
        channels=3,
        classes=10,
        resolutions=(24, 28, 32),
        stems=(16, 24),
        stages=(
            StageSpace((16, 24), (1, 2), (3, 5), (2, 3), stride=1),
            StageSpace((24, 32, 40), (2, 3, 4), (3, 5, 7), (3, 4, 6), stride=2),
            StageSpace((48, 64, 80), (2, 3, 4), (3, 5, 7), (3, 4, 6), stride=2),
            StageSpace((96, 112, 128), (1, 2, 3), (3, 5, 7), (3, 4, 6), stride=2),
        ),
        heads=(192, 256),
    ),
    # Dense convolutions where maps are large, depthwise ones where channels are many.
    "cifar-mixed": ArchSpace(
        name="cifar-mixed",
        channels=3,
        classes=10,
        resolutions=(24, 28, 32),
        stems=(8, 16),
        stages=(
            StageSpace((8, 16, 24), (1, 2), (3,), (1,), stride=1, block="resnet"),
            StageSpace((24, 32, 48), (1, 2), (3,), (1,), stride=2, block="resnet"),
            StageSpace((48, 64, 80), (1, 2), (3, 5), (2, 3, 4), stride=2),
            StageSpace((64, 80, 96), (1, 2), (3, 5), (2, 3, 4), stride=1),
        ),
        heads=(96, 128),
    ),
    # One second of sound: the stem makes channels of all bands, kernels run along time.
    "kws": ArchSpace(
        name="kws",
        channels=1,
        classes=12,
        resolutions=((25, 40), (33, 40), (49, 40)),
        stems=(16, 24, 32),
        stages=(
            StageSpace((24, 32, 48), (1, 2), (3, 5, 9), (1,), 2, "resnet", "time"),
            StageSpace((32, 48, 64), (1, 2, 3), (5, 7, 9), (2, 3, 4), 2, "mbconv", "time"),
            StageSpace((48, 64, 80), (1, 2), (5, 7, 9), (2, 3, 4), 2, "mbconv", "time"),
        ),
        heads=(96, 128),
        stem_axes="time",
    ),
    "mobile": ArchSpace(
        name="mobile",
        channels=3,
        classes=10,
        resolutions=(96, 112, 128),
        stems=(16, 24),
        stages=(
            StageSpace((16, 24), (1, 2), (3, 5), (2, 3), stride=1),
            StageSpace((24, 32), (2, 3), (3, 5, 7), (3, 4, 6), stride=2),
            StageSpace((40, 48), (2, 3, 4), (3, 5, 7), (3, 4, 6), stride=2),
            StageSpace((80, 96), (2, 3, 4), (3, 5, 7), (3, 4, 6), stride=2),
            StageSpace((112, 128), (2, 3, 4), (3, 5, 7), (3, 4, 6), stride=1),
            StageSpace((160, 192), (1, 2, 3), (3, 5, 7), (3, 4, 6), stride=2),
        ),
        heads=(320, 480),
        stem_stride=2,
    ),
}
PRESETS["kws-mfcc"] = replace(
    PRESETS["kws"], name="kws-mfcc", resolutions=((25, 10), (33, 10), (49, 10))
)


def preset(name: str, *, channels: int, classes: int) -> ArchSpace:
    """The named preset, for images of `channels` channels in `classes` classes.

    Raises:
        ArchError: no preset has this name.
    """
    if name not in PRESETS:
        raise ArchError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return replace(PRESETS[name], channels=channels, classes=classes)
