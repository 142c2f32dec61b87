"""`edgenas space` and `edgenas train --space`, called in this process."""

from pathlib import Path

import pytest

from edgenas.campaign.rundir import RunDir
from edgenas.campaign.training import open_run
from edgenas.site.authority import now_utc
from edgenas.site.folder import SiteFolder, SiteSettings
from edgenas.space import PRESETS
from edgenas.space.space_file import read_space_file
from tests.edgenas.cli.conftest import Calls

pytestmark = pytest.mark.timeout(600)  # trains in this process
FLAGS = ("--recipe", "digits-quick", "--epochs", "0.25")


def test_a_preset_is_shown_as_a_file_that_is_a_space(edgenas: Calls, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(edgenas("space", "show", "digits"), encoding="utf-8")
    assert read_space_file(file) == PRESETS["digits"]
    assert edgenas("space", "show", file) == file.read_text(encoding="utf-8")
    assert "space show digits" in edgenas.error("space", "show", "digit")


@pytest.mark.slow
def test_a_space_of_ones_own_is_trained_and_kept(
    edgenas: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file, run = tmp_path / "mine.toml", RunDir(tmp_path / "own")
    text = edgenas("space", "show", "digits").replace("stems = [8, 16]", "stems = [8, 24]")
    file.write_text(text, encoding="utf-8")
    edgenas("train", *FLAGS, "--space", file, "--out", run.path)
    file.unlink()
    checkpoint, data = open_run(run)  # knows the size of its images without the file
    assert checkpoint.space.stems == (8, 24)
    assert checkpoint.space.classes == len(data.classes) == 10

    other = edgenas.error("train", *FLAGS, "--out", run.path)
    assert "expected the run that began there" in other
    assert "space file" in other
    run.space.write_text(edgenas("space", "show", "digits"), encoding="utf-8")
    assert "put that file back" in edgenas.error("export", run.path, "--arch", "smallest")


def test_what_cannot_be_evolved_is_said_before_anything_is_done(
    run: RunDir, edgenas: Calls, tmp_path: Path
) -> None:
    out = tmp_path / "evolved"
    words = ("space", "evolve", run.path, "--out", out)
    assert "one --device and a --broker" in edgenas.error(*words, "--device", "pi4")
    assert "expected one of quick, standard" in edgenas.error(*words, "--level", "slow")
    assert "expected rows >= 1, got 0" in edgenas.error(*words, "--rows", "0")
    assert "expected steps > 0, got 0" in edgenas.error(*words, "--steps", "0")
    assert "edgenas train" in edgenas.error("space", "evolve", tmp_path / "none", "--out", out)
    site = SiteFolder(tmp_path / "site")
    site.prepare(SiteSettings(("127.0.0.1",), user="root"), now_utc())
    plain = ("--device", "pi4", "--broker", "mqtt://127.0.0.1:1", "--tls", site.path)
    assert "expected mqtts:// where certificates" in edgenas.error(*words, *plain)
    assert not out.exists()
    assert "invalid" in edgenas.usage(*words, "--latency-ms", "fast")
