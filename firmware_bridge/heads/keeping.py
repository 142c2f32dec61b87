"""Keeps a notebook in the state directory, and the hand-out that the daemon publishes.

    heads/<model digest>.json   one notebook a model: going back to an older model finds its classes
    heads/<slot>.handout        the message that `learn --hand-out` has left for the daemon

Both are replaced as a whole, so that a kill at any moment leaves the old file or the new one.
Leaves what is in a notebook to ``notebook``.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.heads.notebook import Notebook
from firmware_bridge.heads.places import HAND_OUT_SUFFIX, HEADS_NAME
from firmware_bridge.store.durable import replace_file
from firmware_bridge.wire.errors import StoreError
from firmware_bridge.wire.jsontext import parse
from firmware_bridge.wire.shape import plain, read
from firmware_bridge.wire.values import MIB, new_id

NOTEBOOK_CAP_BYTES = 64 * MIB


@dataclass(frozen=True)
class HeadStore:
    """The notebooks of one board.

    Attributes:
        state_dir: The daemon's state directory.
    """

    state_dir: Path

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self.state_dir / HEADS_NAME

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other commands from changing a notebook meanwhile; waits for them.

        Raises:
            StoreError: The folder cannot be made or written to.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"expected to write below {self.state_dir}, got {error}; run this as the user "
                "that the daemon runs as, or pass its --state-dir"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def load(self, model: str) -> Notebook:
        """The notebook for a model; a new one if there is none.

        Raises:
            StoreError: It cannot be read.
            WireError: It is damaged.
        """
        path = self._path(model)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return Notebook(model=model, learner=new_id())
        except OSError as error:
            raise StoreError(f"{path}: expected a notebook to read, got {error}") from error
        return read(Notebook, parse(raw, NOTEBOOK_CAP_BYTES, str(path)), "notebook", "notebook")

    def save(self, notebook: Notebook) -> None:
        """Replace the file of a notebook.

        Raises:
            StoreError: No room, or not writable; the old file is still there.
        """
        raw = json.dumps(plain(notebook), separators=(",", ":")).encode()
        self._replace(self._path(notebook.model), raw)

    def leave_hand_out(self, slot: str, message: bytes) -> None:
        """Put down what the daemon shall publish for a slot.

        Raises:
            StoreError: No room, or not writable.
        """
        self._replace(self.folder / f"{slot}{HAND_OUT_SUFFIX}", message)

    def _path(self, model: str) -> Path:
        return self.folder / f"{model}.json"

    def _replace(self, path: Path, raw: bytes) -> None:
        try:
            replace_file(path, raw)
        except OSError as error:
            raise StoreError(
                f"{path}: expected to write {len(raw)} B, got {error}; free disk space and repeat "
                "the command: what was learnt before is still there"
            ) from error
