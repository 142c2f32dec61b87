"""The one reading of the test split: accuracy of the shipped bytes, and of the trained network.

Runs after everything has been decided. The figures are kept in the run folder, so that writing the
report again does not read the test split again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.rundir import RunDir, read_json, write_json
from edgenas.campaign.scoring import Scorer
from edgenas.data import ImageData, Split
from edgenas.export.exporter import Exported, Exporter
from edgenas.export.run_bytes import accuracy, run_codes
from edgenas.model.images import batch_size, input_batches, to_codes
from edgenas.space.arch import Arch
from firmware_bridge.runtimes.choice import FileFormat

Key = tuple[str, FileFormat]


@dataclass(frozen=True)
class FinalFigures:
    """Accuracies of one network on the whole test split.

    Attributes:
        arch_id: the network.
        sha256: digest of its bytes.
        images: size of the test split.
        fake_quant: of the supernet itself, fake-quantised and calibrated for this subnet.
        bytes: of the exported file.
        file_format: kind of that file.
    """

    arch_id: str
    sha256: str
    images: int
    fake_quant: float
    bytes: float
    file_format: FileFormat = "tflite"


def final_figures(
    run: RunDir,
    scorer: Scorer,
    data: ImageData,
    wanted: Iterable[tuple[Arch, FileFormat]],
) -> dict[Key, FinalFigures]:
    """Figures by architecture id and file format; the test split is read only if one is missing."""
    known = _read(run)
    exported = {(arch.id, kind): scorer.exporter.export(arch, kind) for arch, kind in wanted}
    missing = {
        key: each
        for key, each in exported.items()
        if key not in known or known[key].sha256 != each.sha256
    }
    if missing:
        split = data.read_test()
        for key, each in missing.items():
            known[key] = _figures(scorer, each, split)
        write_json(run.path / "test.json", [asdict(figures) for figures in known.values()])
    return {key: known[key] for key in exported}


def _figures(scorer: Scorer, exported: Exported, split: Split) -> FinalFigures:
    arch, kind = exported.arch, exported.file_format
    codes = to_codes(split.images, arch.resolution)
    outputs = run_codes(exported.path.read_bytes(), codes, file_format=kind)
    fake = fake_quant_accuracy(scorer.exporter, arch, split)
    shipped = accuracy(outputs, split.labels)
    return FinalFigures(arch.id, exported.sha256, len(split), fake, shipped, kind)


@torch.no_grad()
def fake_quant_accuracy(exporter: Exporter, arch: Arch, split: Split) -> float:
    """Share of a split that the supernet gets right as `arch`, calibrated for it."""
    net, calibration = exporter.net, exporter.calibration(arch)
    answers = [
        net(x, arch, calibration=calibration).argmax(1).numpy()
        for x in input_batches(split.images, arch.resolution, batch_size(arch.resolution))
    ]
    return float((np.concatenate(answers) == split.labels).mean())


def _read(run: RunDir) -> dict[Key, FinalFigures]:
    if not (run.path / "test.json").exists():
        return {}
    body = read_json(run.path / "test.json", "edgenas report")
    try:
        found = [FinalFigures(**item) for item in body]
        return {(figures.arch_id, figures.file_format): figures for figures in found}
    except (KeyError, TypeError) as error:
        raise RunFolderError(
            f"{run.path}/test.json: expected what `edgenas report` writes, got {error!r}; restore "
            f"it from a copy, or delete it to have the test split read once more"
        ) from error
