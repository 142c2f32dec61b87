"""Which runtimes there are, and which of them may run a file.

A file's own format decides, among what is installed, unless someone chose: ``EDGENAS_RUNTIME``
names one runtime, and then that one runs or nothing does. Reading the format out of a file is left
to ``bench.container``, importing to ``installed``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Literal

from firmware_bridge.runtimes.errors import RuntimeUnknownError

RUNTIME_VARIABLE = "EDGENAS_RUNTIME"

FileFormat = Literal["tflite", "onnx"]


@dataclass(frozen=True)
class Offer:
    """One runtime that edgenas can drive.

    Attributes:
        name: What an operator chooses.
        file_format: The files that it runs.
        module: What is imported.
        delegate: What has to take the model over, None for the runtime's own choice.
    """

    name: str
    file_format: FileFormat
    module: str
    delegate: str | None = None

    @property
    def needs_choosing(self) -> bool:
        """Whether it is used only where someone names it."""
        return self.delegate is not None


OFFERS = (
    Offer("ai-edge-litert", "tflite", "ai_edge_litert.interpreter"),
    Offer("tflite-runtime", "tflite", "tflite_runtime.interpreter"),
    Offer("onnxruntime", "onnx", "onnxruntime"),
    Offer("onnxruntime-cuda", "onnx", "onnxruntime", "cuda"),
    Offer("onnxruntime-tensorrt", "onnx", "onnxruntime", "tensorrt"),
)
RUNTIME_NAMES = tuple(offer.name for offer in OFFERS)


def chosen_runtime(environ: Mapping[str, str]) -> str | None:
    """The runtime that ``EDGENAS_RUNTIME`` names, None if it is unset or empty.

    Raises:
        RuntimeUnknownError: There is none of that name.
    """
    name = environ.get(RUNTIME_VARIABLE, "").strip()
    if name and name not in RUNTIME_NAMES:
        raise RuntimeUnknownError(RUNTIME_VARIABLE, RUNTIME_NAMES, name)
    return name or None


def add_runtime_argument(parser: argparse.ArgumentParser) -> None:
    """Declares ``--runtime``."""
    parser.add_argument(
        "--runtime",
        choices=RUNTIME_NAMES,
        help=f"the runtime that models run on, or none does ({RUNTIME_VARIABLE}; default: "
        "whichever is installed for the file's format)",
    )


def choose_runtime(name: str | None, environ: MutableMapping[str, str]) -> None:
    """Hands a choice on to the child processes, which find it in their environment."""
    if name is not None:
        environ[RUNTIME_VARIABLE] = name


def offers_for(file_format: FileFormat | None, chosen: str | None) -> tuple[Offer, ...]:
    """The runtimes to try for such a file, the preferred one first.

    Args:
        file_format: Of the file; None for no file in particular.
        chosen: The one runtime that may be used, None for any.

    Returns:
        Nothing if the chosen runtime runs other files.
    """
    return tuple(
        offer
        for offer in OFFERS
        if file_format in (None, offer.file_format)
        and (offer.name == chosen if chosen else not offer.needs_choosing)
    )


def runs_only(runtime_label: str | None) -> FileFormat | None:
    """The format that a device must be given, from the runtime that its facts name.

    Args:
        runtime_label: Such as ``onnxruntime 1.22.0 cpu``; None if it has told none.

    Returns:
        None if the label is unknown, which says nothing about formats.
    """
    name = (runtime_label or "").partition(" ")[0]
    return next((offer.file_format for offer in OFFERS if offer.name == name), None)
