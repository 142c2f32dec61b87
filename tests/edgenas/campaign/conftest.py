"""Fixtures of the campaign's tests: a trained run, an open workbench, a fleet of device twins."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from edgenas.campaign.measurer import Measurer
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.scoring import Candidate
from edgenas.campaign.workbench import Workbench, workbench
from edgenas.fleet.host import FleetHost
from firmware_bridge.machine_lock import MachineLock
from tests.edgenas.campaign.runs import copy_of, trained_run
from tests.edgenas.fleet.conftest import Lab

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run folder; to be copied, not changed."""
    return trained_run(tmp_path_factory)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> RunDir:
    """A trained run folder of the test's own."""
    return copy_of(trained, tmp_path / "run")


@pytest.fixture
def bench(run: RunDir) -> Iterator[Workbench]:
    with workbench(run) as opened:
        yield opened


@pytest.fixture
def smallest(bench: Workbench) -> Candidate:
    """The smallest network, exported and scored."""
    return bench.scorer.candidate(bench.checkpoint.space.smallest())


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with ExitStack() as cleanup:
        yield Lab(tmp_path / "lab", cleanup)


class Measuring:
    """Makes measurers of a workbench on hosts of a lab."""

    def __init__(self, bench: Workbench, lock: Path) -> None:
        self.bench, self.lock = bench, MachineLock(lock)

    def __call__(self, host: FleetHost) -> Measurer:
        return Measurer(host, self.bench.scorer, "campaign", self.lock)


@pytest.fixture
def measuring(bench: Workbench, tmp_path: Path) -> Measuring:
    return Measuring(bench, tmp_path / "measure.lock")
