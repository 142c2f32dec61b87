"""Small JSON files of a run folder: atomic to write, and never trusted when read."""

import json
from pathlib import Path

import pytest

from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.rundir import RunCard, RunDir, read_json, write_json
from edgenas.campaign.shipments import Shipment, read_shipments, save_shipments
from edgenas.campaign.steps import Phases
from tests.edgenas.train.quota import file_size_limit

CARD = RunCard("digits", None, "digits", 3, "edgenas train --seed 3")
SHIPMENT = Shipment("dev-1", "a" * 64, "b" * 64, 2, "SUCCEEDED", "", "b" * 64, None, 1)


def test_the_card_comes_back(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "new")
    run.write_card(CARD)
    assert run.read_card() == CARD


def test_a_folder_without_training_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"run.json, found none; run `edgenas train`"):
        RunDir(tmp_path).read_card()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        '{"format": "edgenas-run/9"}',
        '{"format": "edgenas-run/1"}',
        '{"format": "edgenas-run/1", "data": "digits", "colour": "red"}',
    ],
)
def test_a_damaged_card_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"run.json: expected"):
        RunDir(tmp_path).read_card()


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    write_json(path, {"value": 1})
    with file_size_limit(100), pytest.raises(RunFolderError, match="free disk space"):
        write_json(path, {"value": "x" * 1000})
    assert read_json(path, "a test") == {"value": 1}


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "kept.json", tmp_path / "file" / "deeper" / "kept.json"):
        with pytest.raises(RunFolderError, match="expected a writable folder"):
            write_json(path, {})
        with pytest.raises(RunFolderError, match="file"):
            read_json(path, "edgenas search")


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "kept.json").mkdir()
    with pytest.raises(RunFolderError, match=r"kept.json: expected JSON written by `edgenas pick`"):
        read_json(tmp_path / "kept.json", "edgenas pick")


def test_shipments_come_back(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert read_shipments(run) == {}
    save_shipments(run, [SHIPMENT])
    assert read_shipments(run) == {"dev-1": SHIPMENT}


@pytest.mark.parametrize("text", ["5", "[5]", "[{}]", '{"a": 1}', '[{"device_id": "dev-1"}]'])
def test_damaged_shipments_are_named(tmp_path: Path, text: str) -> None:
    RunDir(tmp_path).shipments.write_text(text)
    with pytest.raises(RunFolderError, match=r"shipments.json: expected"):
        read_shipments(RunDir(tmp_path))


def test_phases_add_up_over_interruptions(tmp_path: Path) -> None:
    with Phases(RunDir(tmp_path)).phase("search"):
        pass
    before = json.loads((tmp_path / "phases.json").read_text())
    with pytest.raises(KeyboardInterrupt), Phases(RunDir(tmp_path)).phase("search"):
        raise KeyboardInterrupt
    after = Phases(RunDir(tmp_path)).seconds
    assert after.keys() == before.keys() == {"search"}
    assert after["search"] > before["search"] > 0


@pytest.mark.parametrize("text", ["[]", '{"search": "long"}', '{"search": null}'])
def test_damaged_phases_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "phases.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"phases.json: expected seconds"):
        Phases(RunDir(tmp_path))
