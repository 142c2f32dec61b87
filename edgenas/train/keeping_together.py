"""The files of a run that several processes train: the first one keeps them, the others listen.

Checkpoints travel as the bytes of their file, so machines need no common disk and nothing but
tensors and plain values is ever loaded. When each is written is `edgenas.train.keeping`'s.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from edgenas.model.peers import Peers
from edgenas.train.checkpoint import Checkpoint, load_checkpoint
from edgenas.train.keeping import Keeper
from edgenas.train.metrics import StepReport


def keeper_of(peers: Peers, folder: Path, every: int, batch: int) -> Keeper:
    """The keeper of this process's run.

    Args:
        peers: that train it.
        folder: of the run.
        every: steps between checkpoints.
        batch: images a step.
    """
    if peers.alone:
        return Keeper(folder, every, batch)
    kind = TellingKeeper if peers.rank == 0 else Listener
    return kind(peers, folder, every, batch)


class TellingKeeper(Keeper):
    """Keeps the run, and tells the others each checkpoint that it reads."""

    def __init__(self, peers: Peers, folder: Path, every: int, batch: int) -> None:
        super().__init__(folder, every, batch)
        self.peers = peers

    def found(self) -> Checkpoint | None:
        """The checkpoint that the folder holds."""
        return self._told(super().found(), self.path)

    def good(self, step: int) -> Checkpoint | None:
        """The last good checkpoint up to `step`."""
        return self._told(super().good(step), self.good_path)

    def last(self) -> Checkpoint:
        """The checkpoint at the end."""
        self.peers.told(self.path.read_bytes())
        return super().last()

    def _told(self, found: Checkpoint | None, path: Path) -> Checkpoint | None:
        self.peers.told(path.read_bytes() if found is not None else b"")
        return found


class Listener(Keeper):
    """Keeps nothing; learns from the first process what there is."""

    def __init__(self, peers: Peers, folder: Path, every: int, batch: int) -> None:
        super().__init__(folder, every, batch)
        self.peers = peers

    def found(self) -> Checkpoint | None:
        """What the first process has found."""
        return self._heard()

    def good(self, step: int) -> Checkpoint | None:
        """What the first process would go back to."""
        return self._heard()

    def last(self) -> Checkpoint:
        """What the first process has at the end."""
        heard = self._heard()
        assert heard is not None  # it has just written it
        return heard

    def _heard(self) -> Checkpoint | None:
        content = self.peers.told(b"")
        if not content:
            return None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / self.path.name
            path.write_bytes(content)
            return load_checkpoint(path)

    def begin(self, step: int) -> None:
        """Nothing."""

    def save(self, step: int, make: Callable[[], Checkpoint], *, durable: bool) -> None:
        """Nothing."""

    def save_good(self, checkpoint: Checkpoint) -> None:
        """Nothing."""

    def go_back(self, checkpoint: Checkpoint) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""

    def record(self, report: StepReport) -> None:
        """Nothing."""
