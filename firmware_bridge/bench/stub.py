"""A model of one operator in each file format: the smallest proof that a runtime works here.

One INT8 dense layer (FULLY_CONNECTED, QLinearMatMul), 4 inputs to 4 outputs, identity weights, all
scales 1: whatever goes in comes out. XNNPACK takes it, so running it also pays for the delegate's
one-time memory. Running models is left to ``firmware_bridge.runtimes``.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

from firmware_bridge.runtimes.choice import FileFormat

STUB_MODEL = base64.b64decode(
    "HAAAAFRGTDMAAAAAAAAOABQAEAAMAAgAAAAEAA4AAAAQAAAAQAAAALQBAAADAAAAAgAAACwAAAAMAAAAAAAGAAgA"
    "BAAGAAAABAAAABAAAAABAAAAAAEAAAAAAQAAAAABqP///wEAAAAQAAAADAAUABAADAAIAAQADAAAABAAAABYAAAA"
    "XAAAAGAAAAABAAAAFAAAAAAADgAUAAAAEAAMAAsABAAOAAAAFAAAAAAAAAgQAAAAFAAAAAQABAAEAAAAAQAAAAIA"
    "AAADAAAAAAAAAAEAAAD/////AQAAAAIAAAABAAAAAAAAAAMAAACoAAAAVAAAAAQAAABy////DAAAAAAAAAkkAAAA"
    "ZP///wgAAAAQAAAAAQAAAAAAAAAAAAAAAQAAAAAAgD8CAAAAAQAAAAQAAAAAAA4AFAAQAA8ACAAAAAQADgAAABAA"
    "AAABAAAAAAAACSQAAAC0////CAAAABAAAAABAAAAAAAAAAAAAAABAAAAAACAPwIAAAAEAAAABAAAAAAADgAQAAwA"
    "CwAAAAAABAAOAAAAGAAAAAAAAAkwAAAADAAMAAAAAAAIAAQADAAAAAgAAAAQAAAAAQAAAAAAAAAAAAAAAQAAAAAA"
    "gD8CAAAAAQAAAAQAAAABAAAAEAAAAAwAEAAPAAAACAAEAAwAAAAJAAAABAAAAAAAAAk="
)
"""A complete .tflite file."""

STUB_ONNX = base64.b64decode(
    "CAc6kAEKKgoBeAoBcwoBegoBdwoBcwoBegoBcwoBehIBeSINUUxpbmVhck1hdE11bBIEc3R1YioLEAFCAXNKBAAAgD8q"
    "CBADQgF6SgEAKhsIBAgEEANCAXdKEAEAAAAAAQAAAAABAAAAAAFaEwoBeBIOCgwIAxIICgIIAQoCCARiEwoBeRIOCgwI"
    "AxIICgIIAQoCCARCBAoAEA0="
)
"""A complete .onnx file, IR version 7, operator set 13."""

STUBS: Mapping[FileFormat, bytes] = {"tflite": STUB_MODEL, "onnx": STUB_ONNX}

STUB_INPUT = bytes((0, 1, 0x7F, 0x80))
"""INT8 0, 1, 127, -128; the right output is the same four bytes."""
