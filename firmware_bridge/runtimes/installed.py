"""Finds the runtime that is wanted and installed: the one place that imports a runtime.

Importing one may kill the process (a wheel built for a newer CPU dies by SIGILL), so a device does
this in a child only, which says beforehand what it is about to import.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any

from firmware_bridge.runtimes.choice import FileFormat, Offer, offers_for
from firmware_bridge.runtimes.errors import ModelRefusedError, RuntimeMissingError, reason_of
from firmware_bridge.runtimes.model import Runtime
from firmware_bridge.runtimes.onnx import OnnxRuntime
from firmware_bridge.runtimes.tflite import TfliteRuntime

_WANTED = {
    "tflite": "a TFLite runtime (ai-edge-litert, or tflite-runtime on 32-bit boards)",
    "onnx": "an ONNX runtime (onnxruntime)",
    None: "a TFLite runtime (ai-edge-litert, tflite-runtime) or an ONNX runtime (onnxruntime)",
}


def find_runtime(
    file_format: FileFormat | None = None,
    chosen: str | None = None,
    about_to_import: Callable[[str], None] = lambda name: None,
) -> Runtime:
    """Imports the first runtime that may run such a file.

    Args:
        file_format: Of the file; None for no file in particular.
        chosen: The one runtime that may be used, None for any.
        about_to_import: Told the runtime's name before each attempt.

    Raises:
        RuntimeMissingError: None can be imported.
        ModelRefusedError: The chosen runtime runs other files.
    """
    offers = offers_for(file_format, chosen)
    if not offers:
        raise ModelRefusedError(
            f"expected a file for {chosen}, the runtime chosen on this device, got .{file_format}; "
            "give it the other format or let the file decide (unset EDGENAS_RUNTIME)"
        )
    reasons = []
    for offer in offers:
        about_to_import(offer.name)
        try:
            module = importlib.import_module(offer.module)
        except (ImportError, OSError, AttributeError) as error:
            reasons.append(f"{offer.name}: {reason_of(error)}")
            continue
        return _runtime(offer, module)
    wanted = f"the chosen runtime {chosen}" if chosen else _WANTED[file_format]
    extra = "onnx" if all(offer.file_format == "onnx" for offer in offers) else "device"
    raise RuntimeMissingError(wanted, reasons, extra)


def _runtime(offer: Offer, module: Any) -> Runtime:
    if offer.file_format == "onnx":
        return OnnxRuntime(str(module.__version__), module, offer.delegate)
    return TfliteRuntime(offer.name, _version_of(offer.name), module)


def _version_of(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
