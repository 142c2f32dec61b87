"""From an architecture to a candidate: its bytes, and the accuracy of those bytes.

The accuracy is that of the exported file on the search split, never of another quantiser, and is
kept beside the export. The test split does not come near this module.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edgenas.data import Split
from edgenas.export.exporter import Exported, Exporter
from edgenas.export.run_bytes import accuracy, run_codes
from edgenas.model.images import Codes, to_codes
from edgenas.space.arch import Arch, Resolution
from firmware_bridge.runtimes.choice import FileFormat

GOLDEN_IMAGES = 4


@dataclass(frozen=True)
class Probe:
    """Golden inputs and what the host's runtime answers to them.

    Attributes:
        inputs: INT8 input codes [n, h, w, c].
        outputs: INT8 logit codes [n, classes].
    """

    inputs: Codes
    outputs: Codes


@dataclass(frozen=True)
class Candidate:
    """An architecture with everything that the host knows of it.

    Attributes:
        exported: its bytes.
        accuracy: share of search images that the bytes get right.
        macs: multiply-accumulates of one inference.
        probe: golden inputs and outputs.
    """

    exported: Exported
    accuracy: float
    macs: int
    probe: Probe

    @property
    def arch(self) -> Arch:
        """What it is."""
        return self.exported.arch


class Scorer:
    """Exports and scores architectures of one supernet.

    Args:
        exporter: of the supernet.
        search: search split.
        data: fingerprint of the data set; an accuracy is kept under it.
    """

    def __init__(self, exporter: Exporter, search: Split, data: str) -> None:
        self.exporter, self.search, self.data = exporter, search, data
        self._codes: dict[Resolution, Codes] = {}

    def candidate(self, arch: Arch, file_format: FileFormat = "tflite") -> Candidate:
        """Export and score `arch`; free the second time.

        Args:
            arch: the architecture.
            file_format: what the device's runtime reads.

        Raises:
            ArchError: the architecture is not in the space.
            ExportError: its bytes are not the network.
        """
        exported = self.exporter.export(arch, file_format)
        model = exported.path.read_bytes()
        inputs = self._search_codes(arch.resolution)[:GOLDEN_IMAGES]
        probe = Probe(inputs, run_codes(model, inputs, file_format=file_format))
        share = self._accuracy(exported, model)
        return Candidate(exported, share, self.exporter.net.space.macs(arch), probe)

    def _accuracy(self, exported: Exported, model: bytes) -> float:
        kept = exported.path.with_name(f"accuracy-{self.data[:16]}.json")
        found = _read_accuracy(kept, exported.sha256)
        if found is not None:
            return found
        codes = self._search_codes(exported.arch.resolution)
        outputs = run_codes(model, codes, file_format=exported.file_format)
        share = accuracy(outputs, self.search.labels)
        kept.write_text(json.dumps({"sha256": exported.sha256, "accuracy": share}), "utf-8")
        return share

    def _search_codes(self, resolution: Resolution) -> Codes:
        if resolution not in self._codes:
            self._codes[resolution] = to_codes(self.search.images, resolution)
        return self._codes[resolution]


def _read_accuracy(path: Path, sha256: str) -> float | None:
    try:
        body = json.loads(path.read_text("utf-8"))
        return float(body["accuracy"]) if body["sha256"] == sha256 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
