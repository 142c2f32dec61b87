"""Exports one real INT8 candidate with golden inputs and outputs, for devices that have no torch.

Runs in the host's environment: `python -m tests.devices.make_candidate FOLDER`. Running the bytes
is left to `test_installed`, in environments that could not have made them.
"""

import sys
import tempfile
from pathlib import Path

import torch

from edgenas.export.run_bytes import run_codes
from edgenas.model.images import to_codes
from tests.edgenas.export.trained import train_digits

GOLDEN_IMAGES = 4


def main(folder: Path) -> None:
    """Write `candidate.tflite`, `inputs` and `outputs` into `folder`."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        trained = train_digits(Path(scratch) / "run")
        exported = trained.exporter(Path(scratch) / "exports").export(trained.space.smallest())
        model, resolution = exported.path.read_bytes(), exported.arch.resolution
    inputs = to_codes(trained.unseen[:GOLDEN_IMAGES], resolution)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "candidate.tflite").write_bytes(model)
    (folder / "inputs").write_bytes(inputs.tobytes())
    (folder / "outputs").write_bytes(run_codes(model, inputs).tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
