"""How a child speaks to its parent: one JSON object a line, on a descriptor of its own.

Reading the lines is left to ``process``, their content to ``passes``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TextIO


class AnswerLine:
    """Writes to the parent, one JSON object a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def stage(self, **facts: object) -> None:
        """Something worth knowing even if the child dies later."""
        self._send({"stage": facts})

    def done(self, result: Mapping[str, object]) -> None:
        """The result; nothing follows it."""
        self._send({"result": result})

    def failed(self, code: str, detail: str) -> None:
        """Why there is no result; nothing follows it."""
        self._send({"failed": {"code": code, "detail": detail}})

    def _send(self, line: Mapping[str, object]) -> None:
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()
