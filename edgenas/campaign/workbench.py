"""A run folder opened for work: supernet, data, scorer and study together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgenas.campaign.measurer import Measurer
from edgenas.campaign.rundir import RunCard, RunDir
from edgenas.campaign.scoring import Scorer
from edgenas.campaign.training import open_run, scorer_of
from edgenas.data import ImageData
from edgenas.fleet.host import FleetHost
from edgenas.search.records import StudyIdentity
from edgenas.search.study import Study
from edgenas.space.space import ArchSpace
from edgenas.train.checkpoint import Checkpoint
from edgenas.train.trained import searchable_space
from firmware_bridge.machine_lock import MachineLock, default_lock_path


@dataclass(frozen=True)
class Workbench:
    """What every step after training works with."""

    run: RunDir
    card: RunCard
    checkpoint: Checkpoint
    data: ImageData
    scorer: Scorer
    study: Study

    @property
    def space(self) -> ArchSpace:
        """Where candidates come from: what was trained."""
        return searchable_space(self.checkpoint)

    def measurer(self, host: FleetHost, alive: Callable[[], None] = lambda: None) -> Measurer:
        """Measures this run's candidates on the devices of `host`."""
        campaign = f"{self.checkpoint.digest()}/{self.card.seed}"
        lock = MachineLock(default_lock_path(os.environ))
        return Measurer(host, self.scorer, campaign, lock, alive)


@contextmanager
def workbench(run: RunDir) -> Iterator[Workbench]:
    """Open a trained run.

    Raises:
        RunFolderError: training has not ended.
        CheckpointError, DataError, StudyError: a file is missing, damaged or of another run.
    """
    checkpoint, data = open_run(run)
    card = run.read_card()
    identity = StudyIdentity(
        checkpoint.digest(), checkpoint.space.name, data.fingerprint, {"search": card.seed}
    )
    with Study.open(run.study, identity) as study:
        scorer = scorer_of(run, checkpoint, data)
        yield Workbench(run, card, checkpoint, data, scorer, study)
