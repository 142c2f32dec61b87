"""The one reading of the test split: accuracy of the shipped bytes, and of the trained network.

Runs after everything has been decided. The figures are kept in the run folder, so that writing the
report again does not read the test split again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.rundir import RunDir, read_json, write_json
from edgenas.campaign.scoring import Scorer
from edgenas.data import ImageData, Split
from edgenas.export.run_bytes import accuracy, run_codes
from edgenas.model.images import input_batches, to_codes
from edgenas.space.arch import Arch

BATCH = 250


@dataclass(frozen=True)
class FinalFigures:
    """Accuracies of one network on the whole test split.

    Attributes:
        arch_id: the network.
        sha256: digest of its bytes.
        images: size of the test split.
        fake_quant: of the supernet itself, fake-quantised and calibrated for this subnet.
        bytes: of the exported file.
    """

    arch_id: str
    sha256: str
    images: int
    fake_quant: float
    bytes: float


def final_figures(
    run: RunDir, scorer: Scorer, data: ImageData, archs: Sequence[Arch]
) -> dict[str, FinalFigures]:
    """Figures by architecture id; the test split is read only if one is missing."""
    known = _read(run)
    exported = {arch.id: scorer.exporter.export(arch) for arch in archs}
    missing = [
        arch
        for arch in archs
        if arch.id not in known or known[arch.id].sha256 != exported[arch.id].sha256
    ]
    if missing:
        split = data.read_test()
        for arch in missing:
            known[arch.id] = _figures(scorer, arch, split)
        write_json(run.path / "test.json", [asdict(figures) for figures in known.values()])
    return {arch.id: known[arch.id] for arch in archs}


def _figures(scorer: Scorer, arch: Arch, split: Split) -> FinalFigures:
    exported = scorer.exporter.export(arch)
    codes = to_codes(split.images, arch.resolution)
    shipped = accuracy(run_codes(exported.path.read_bytes(), codes), split.labels)
    fake = _fake_quant_accuracy(scorer, arch, split)
    return FinalFigures(arch.id, exported.sha256, len(split), fake, shipped)


@torch.no_grad()
def _fake_quant_accuracy(scorer: Scorer, arch: Arch, split: Split) -> float:
    net, calibration = scorer.exporter.net, scorer.exporter.calibration(arch)
    answers = [
        net(x, arch, calibration=calibration).argmax(1).numpy()
        for x in input_batches(split.images, arch.resolution, BATCH)
    ]
    return float((np.concatenate(answers) == split.labels).mean())


def _read(run: RunDir) -> dict[str, FinalFigures]:
    if not (run.path / "test.json").exists():
        return {}
    body = read_json(run.path / "test.json", "edgenas report")
    try:
        return {item["arch_id"]: FinalFigures(**item) for item in body}
    except (KeyError, TypeError) as error:
        raise RunFolderError(
            f"{run.path}/test.json: expected what `edgenas report` writes, got {error!r}; restore "
            f"it from a copy, or delete it to have the test split read once more"
        ) from error
