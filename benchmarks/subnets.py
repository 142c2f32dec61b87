"""Which subnets a comparison looks at, one of them as a space of its own, and how good they are."""

from __future__ import annotations

import random
from dataclasses import replace

from benchmarks.kept import Kept
from edgenas.campaign.final_test import fake_quant_accuracy
from edgenas.data import Split
from edgenas.export.exporter import Exporter
from edgenas.search.evolution import first_archs
from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace
from edgenas.space.stage import StageSpace


def spread(space: ArchSpace, count: int, seed: int) -> list[Arch]:
    """The smallest, the largest and others evenly spread over the costs, by ascending MACs."""
    chosen = first_archs(space, count, random.Random(f"spread/{seed}"))
    return sorted(chosen, key=lambda arch: (space.macs(arch), arch.id))


def alone(space: ArchSpace, arch: Arch) -> ArchSpace:
    """A space that holds the same network and no other one.

    Blocks of a stage may differ, and a stage of one choice cannot say so; so every block becomes a
    stage. Layers have other names then, and are otherwise the same.
    """
    stages = [
        StageSpace(
            (stage.width,), (1,), (block.kernel,), (block.expand,),
            form.stride if number == 0 else 1, form.block, form.axes,
        )
        for stage, form in zip(arch.stages, space.stages, strict=True)
        for number, block in enumerate(stage.blocks)
    ]  # fmt: skip
    return replace(
        space,
        name=f"{space.name}-{arch.id}",
        resolutions=(arch.resolution,),
        stems=(arch.stem,),
        stages=tuple(stages),
        heads=(arch.head,),
    )


def calibrated_accuracy(exporter: Exporter, arch: Arch, split: Split, kept: Kept) -> float:
    """Share of a split that a subnet gets right, fake-quantised and calibrated for it.

    That is the accuracy of its bytes, code by code (`python -m benchmarks.export`), and needs none.
    """
    key = f"{exporter.folder.name} {arch.id} {len(split)}"
    row = kept.row(key, lambda: {"accuracy": fake_quant_accuracy(exporter, arch, split)})
    return float(row["accuracy"])
