"""What the cost bins of a training are made of: `edgenas train --cost`.

Multiply-accumulates, bytes, or the latency of a device, predicted from what an earlier search of
the same space measured there. Those figures are copied into the run folder, so that the run goes on
as it began although the study grows or is gone. What bins are for is `edgenas.train.samplers`';
the prediction is `edgenas.search.cost_model`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgenas.campaign.errors import CampaignError, RunFolderError
from edgenas.campaign.rundir import RunDir, read_json, write_json
from edgenas.search.cost_model import MIN_ROWS, learn_cost
from edgenas.search.features import Features
from edgenas.search.study import Study
from edgenas.search.trial import Trial
from edgenas.space.arch import Arch, ArchError
from edgenas.space.narrowing import SUFFIX
from edgenas.space.space import ArchSpace
from edgenas.train.cost import NamedCost

FORMAT = "edgenas-cost/1"
MACS, BYTES = "macs", "bytes"


@dataclass(frozen=True)
class Latencies:
    """What is known of the latency of a device.

    Attributes:
        asked: `--cost` that they were read for, its path made absolute.
        device: its id.
        rows: networks and their median latencies in ms, by the id of the network.
    """

    asked: str
    device: str
    rows: tuple[tuple[Arch, float], ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the device and the figures: equal ones make equal bins."""
        figures = [[arch.to_dict(), ms] for arch, ms in self.rows]
        text = json.dumps([self.device, figures], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def cost(self, space: ArchSpace) -> NamedCost:
        """The predicted median latency in ms of any network of `space`."""
        features, archs = Features(space), [arch for arch, _ in self.rows]
        costs = [ms for _, ms in self.rows]
        model = learn_cost(features, archs, costs, features.time_columns)
        known: dict[Arch, float] = {}  # draws of a bin come back to the same networks

        def predicted(arch: Arch) -> float:
            if arch not in known:
                known[arch] = float(model.predict([arch])[0])
            return known[arch]

        return NamedCost(f"latency of {self.device} {self.digest}", predicted)


@dataclass(frozen=True)
class ChosenCost:
    """What `--cost` stands for.

    Attributes:
        cost: hand it to `edgenas.train.loop.train`.
        latencies: to be kept in the run folder; None where cost is arithmetic.
    """

    cost: NamedCost
    latencies: Latencies | None = None

    def keep(self, run: RunDir) -> None:
        """Write down what the bins of a run that begins are made of."""
        if self.latencies is None:
            run.cost.unlink(missing_ok=True)  # of a run whose checkpoint is gone
            return
        body = {
            "format": FORMAT,
            "asked": self.latencies.asked,
            "device": self.latencies.device,
            "unit": "ms",
            "rows": [[arch.to_dict(), ms] for arch, ms in self.latencies.rows],
        }
        write_json(run.cost, body)


def chosen_cost(text: str, space: ArchSpace, run: RunDir) -> ChosenCost:
    """The cost that `--cost` names.

    Args:
        text: `macs`, `bytes`, or `STUDY[=DEVICE]`: the study of an earlier search of the space.
        space: that is trained.
        run: whose copy goes before the study once the run has begun.

    Raises:
        CampaignError: no such study, one of another space, or too few figures of the device.
        StudyError: the study cannot be used.
        RunFolderError: the copy in the run folder is damaged.
    """
    if text == MACS:
        return ChosenCost(NamedCost(MACS, lambda arch: float(space.macs(arch))))
    if text == BYTES:
        return ChosenCost(NamedCost(BYTES, lambda arch: float(space.weight_bytes(arch))))
    name, _, device = text.rpartition("=") if "=" in text else (text, "", "")
    asked = f"{Path(name).resolve()}={device}"
    kept = _kept(run) if run.checkpoint.exists() and run.cost.exists() else None
    found = kept if kept is not None and kept.asked == asked else None
    latencies = found or _read_study(Path(name), device, asked, space)
    return ChosenCost(latencies.cost(space), latencies)


def _read_study(path: Path, device: str, asked: str, space: ArchSpace) -> Latencies:
    if not path.exists():
        raise CampaignError(
            f"--cost: expected {MACS}, {BYTES} or the study.sqlite of an earlier search (=DEVICE), "
            f"got {path}, and there is no such file"
        )
    with Study.read(path) as study:
        of, trials = study.identity.space, study.trials()
    if of.removesuffix(SUFFIX) != space.name.removesuffix(SUFFIX):
        raise CampaignError(
            f"--cost {path}: expected measurements of the space {space.name}, got {of}; name the "
            f"study.sqlite of a run that trained this space"
        )
    known = [trial for trial in trials if trial.value is not None and _admits(space, trial.arch)]
    device = device or _only_device(path, known)
    rows = {t.arch: t.value.latency_p50_ms for t in known if t.device == device and t.value}
    if len(rows) < MIN_ROWS:
        there = ", ".join(sorted({trial.device for trial in known})) or "none"
        raise CampaignError(
            f"--cost {path}: expected at least {MIN_ROWS} networks of space {space.name} that "
            f"device {device} measured, got {len(rows)} (devices there: {there}); let `edgenas "
            f"search` measure more of them there, or name another device"
        )
    ordered = sorted(rows.items(), key=lambda row: row[0].id)
    return Latencies(asked, device, tuple(ordered))


def _only_device(path: Path, known: Sequence[Trial]) -> str:
    devices = sorted({trial.device for trial in known})
    if len(devices) != 1:
        raise CampaignError(
            f"--cost {path}: expected measurements of one device, or its name, got "
            f"{', '.join(devices) or 'no measurements'}; write --cost {path}=DEVICE"
        )
    return devices[0]


def _admits(space: ArchSpace, arch: Arch) -> bool:
    try:
        space.check(arch)
    except ArchError:
        return False
    return True


def _kept(run: RunDir) -> Latencies:
    body: Any = read_json(run.cost, "edgenas train")
    try:
        if body["format"] != FORMAT:
            raise ValueError(f"format {body['format']!r} instead of {FORMAT}")
        rows = tuple((Arch.from_dict(arch), float(ms)) for arch, ms in body["rows"])
        return Latencies(str(body["asked"]), str(body["device"]), rows)
    except (KeyError, TypeError, ValueError, ArchError) as error:
        raise RunFolderError(
            f"{run.cost}: expected what `edgenas train --cost` keeps there, got {error!r}; delete "
            f"the file and repeat the command with the same study"
        ) from error
