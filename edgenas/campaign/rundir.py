"""The run folder: which step keeps what where. Every command reads and writes the same layout.

checkpoint.pt, metrics.jsonl   train
tensorboard/                   train: the metrics as TensorBoard reads them
space.toml                     train: the space, where it is no preset
shrunk.toml                    train: what of the space is left, where the recipe shrinks it
good.pt                        train: where it goes back to, until it has ended
cost.json                      train: the latencies that --cost STUDY is made of
run.json                       train: data set and preset, for the later steps
keys/                          train: the release keys, for devices must know them from the start
exports/                       export, search: bytes by (checkpoint, arch)
devices.json                   search: how devices and finalists are measured
study.sqlite                   search: every trial and measurement
picks.json                     pick
shipments.json                 ship
fleet.sqlite, shelf/           the host's side of the fleet, rollouts included; with a database file
                               elsewhere, both are there
heads/                         fleet merge-heads: what devices have learnt, and the merged heads
test.json                      report: the one reading of the test split
report.json, report.html       report
devices/, phases.json          demo: its daemons' state and logs; wall time of its phases
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgenas.campaign.errors import RunFolderError
from edgenas.whole_file import write_whole

FORMAT = "edgenas-run/1"


@dataclass(frozen=True)
class RunCard:
    """What the later steps must know of the training step.

    Attributes:
        data: name of the data set, or path of an image folder.
        data_root: folder of its files; None where it ships with a library.
        preset: name of the space.
        seed: of splits, weights and search.
        command: command line that made the run.
        only: which part of the preset is trained; empty for all of it.
        weights: digest of the first weights and what else decided them; empty for chance.
        weights_file: where they came from.
        space: digest of `space.toml`; empty for the preset.
    """

    data: str
    data_root: str | None
    preset: str
    seed: int
    command: str = ""
    only: str = ""
    weights: str = ""
    weights_file: str = ""
    space: str = ""


class RunDir:
    """Paths of one run folder, and its small JSON files.

    Args:
        path: the folder; made when something is first written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.card = path / "run.json"
        self.checkpoint = path / "checkpoint.pt"
        self.space = path / "space.toml"
        self.shrunk = path / "shrunk.toml"
        self.cost = path / "cost.json"
        self.exports = path / "exports"
        self.study = path / "study.sqlite"
        self.setups = path / "devices.json"
        self.picks = path / "picks.json"
        self.shipments = path / "shipments.json"
        self.keys = path / "keys"
        self.fleet = path / "fleet.sqlite"
        self.shelf = path / "shelf"
        self.heads = path / "heads"
        self.devices = path / "devices"
        self.report_json = path / "report.json"
        self.report_html = path / "report.html"

    def write_card(self, card: RunCard) -> None:
        """Keep what the later steps must know."""
        write_json(self.card, {"format": FORMAT, **asdict(card)})

    def read_card(self) -> RunCard:
        """Read it back.

        Raises:
            RunFolderError: the folder holds no run, or one of another version.
        """
        body = read_json(self.card, "edgenas train")
        found = body.pop("format", None) if isinstance(body, dict) else None
        if found != FORMAT:
            raise RunFolderError(
                f"{self.path}/run.json: expected format {FORMAT}, got {found!r}; delete the "
                f"file and repeat the `edgenas train` command: it goes on from the checkpoint"
            )
        try:
            return RunCard(**body)
        except TypeError as error:
            raise RunFolderError(
                f"{self.path}/run.json: expected the fields of a run, got {error}; delete the "
                f"file and repeat the `edgenas train` command: it goes on from the checkpoint"
            ) from error


def write_json(path: Path, body: Any) -> None:
    """Write a JSON file atomically and durably.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    write_text(path, json.dumps(body, indent=1))


def write_text(path: Path, text: str) -> None:
    """Write a file atomically and durably.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except OSError as error:
        raise RunFolderError(
            f"{path}: expected a writable folder with room, got {error}; choose another --out or "
            f"free disk space, then repeat the command: what is already there is kept"
        ) from error


def read_json(path: Path, written_by: str) -> Any:
    """Read a JSON file that `written_by` writes.

    Raises:
        RunFolderError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunFolderError(
            f"expected {path}, found none; run `{written_by}` on this folder first"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(
            f"{path}: expected JSON written by `{written_by}`, got {error}; run it again"
        ) from error
