"""What can go wrong with a model or its runtime, whichever runtime it is.

::

    InterpreterError
    ├── RuntimeUnknownError   someone chose a runtime that does not exist
    ├── RuntimeMissingError   no runtime for such a file is installed for this Python
    ├── RuntimeBrokenError    a runtime is installed but cannot run a known good model
    ├── ModelRefusedError     the runtime refuses this model
    └── InputMismatchError    bytes offered as inputs or outputs do not fit this model
"""

from __future__ import annotations

from collections.abc import Sequence

from firmware_bridge.wire.errors import BridgeError

_REASON_CHARS = 400


class InterpreterError(BridgeError):
    """A model cannot be run here."""


class RuntimeUnknownError(InterpreterError):
    """A setting names a runtime that edgenas does not know.

    Attributes:
        got: The name.
    """

    def __init__(self, setting: str, known: Sequence[str], got: str) -> None:
        super().__init__(f"{setting}: expected one of {', '.join(known)}, got {got!r}")
        self.got = got


class RuntimeMissingError(InterpreterError):
    """No runtime that could run the file can be imported."""

    def __init__(self, wanted: str, reasons: Sequence[str], extra: str = "device") -> None:
        super().__init__(
            f"expected {wanted}, got none: {'; '.join(reasons)}; "
            f"install one with: pip install 'edgenas[{extra}]'"
        )


class RuntimeBrokenError(InterpreterError):
    """The runtime imports but fails on a known good model, as tflite-runtime does with numpy 2."""


class ModelRefusedError(InterpreterError):
    """The runtime refuses to build, allocate or run the model."""


class InputMismatchError(InterpreterError):
    """A blob of inputs or expected outputs has another length than the model's tensors."""

    def __init__(self, what: str, expected_bytes: int, got_bytes: int) -> None:
        super().__init__(
            f"expected {expected_bytes} bytes of {what}, got {got_bytes}; "
            "make the blob from the same model that is being run"
        )
        self.expected_bytes = expected_bytes
        self.got_bytes = got_bytes


def reason_of(error: BaseException) -> str:
    """A foreign error in one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _REASON_CHARS else text[:_REASON_CHARS] + " ..."
