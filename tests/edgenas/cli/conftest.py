"""Fixtures of the command line's tests: a run folder, and the commands called in this process."""

from pathlib import Path

import pytest
import torch

from edgenas.campaign.rundir import RunDir
from edgenas.cli.main import main
from tests.edgenas.campaign.runs import copy_of, trained_run

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run folder; to be copied, not changed."""
    return trained_run(tmp_path_factory)


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A trained run folder of the test's own, beside which the commands are called."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGENAS_MEASURE_LOCK", str(tmp_path / "measure.lock"))
    monkeypatch.delenv("EDGENAS_BROKER", raising=False)
    return copy_of(trained, tmp_path / "run")


class Calls:
    """Calls commands and reads what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object) -> str:
        """Call a command that must succeed; what it printed."""
        code = main([str(word) for word in words])
        out, err = self._capsys.readouterr()
        assert code == 0, err
        return out

    def error(self, *words: object, code: int = 1) -> str:
        """Call a command that must fail with one clear error; its text."""
        assert main([str(word) for word in words]) == code
        _, err = self._capsys.readouterr()
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, err
        assert "Traceback" not in err
        return err[err.index(errors[0]) :].removeprefix("error: ")

    def usage(self, *words: object) -> str:
        """Call a command that argparse must refuse; what it says."""
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        assert caught.value.code == 2
        return self._capsys.readouterr().err


@pytest.fixture
def edgenas(capsys: pytest.CaptureFixture[str]) -> Calls:
    return Calls(capsys)
