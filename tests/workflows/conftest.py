"""Fixtures of the workflows; all of them need a TFLite runtime and the converter."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from edgenas.campaign.rundir import RunDir
from tests.edgenas.campaign.runs import copy_of, trained_run
from tests.workflows.sites import Commands, Site, site_of

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run folder; to be copied, not changed."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        pytest.skip("no TFLite runtime is installed")
    return trained_run(tmp_path_factory)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> RunDir:
    """A trained run folder of the test's own."""
    return copy_of(trained, tmp_path / "run")


@pytest.fixture
def edgenas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The commands, called in the folder that holds the run folder."""
    commands = Commands(tmp_path)
    monkeypatch.setenv("EDGENAS_MEASURE_LOCK", str(commands.lock))  # for what runs in this process
    return commands


@pytest.fixture
def site(run: RunDir, edgenas: Commands) -> Iterator[Site]:
    with site_of(run, edgenas.lock) as opened:
        yield opened
