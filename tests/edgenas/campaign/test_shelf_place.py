"""Which shelf a host has: the one beside the database, whichever run folder it works for."""

from pathlib import Path

from edgenas.campaign.fleet_session import shelf_for
from edgenas.campaign.rundir import RunDir
from edgenas.fleet.shelf import BlobShelf


def test_hosts_on_one_database_file_have_one_shelf(tmp_path: Path) -> None:
    one, two = RunDir(tmp_path / "run1"), RunDir(tmp_path / "site" / "host-state")
    database = tmp_path / "site" / "fleet.sqlite"
    kept_before = BlobShelf(one.shelf).add_bytes(b"of an earlier version")
    shipped = shelf_for(one, database).add_bytes(b"model")
    serving = shelf_for(two, f"sqlite:///{database}")
    assert serving.read(shipped.sha256, 0, 9) == b"model"
    assert serving.size_of(kept_before.sha256) == kept_before.size_bytes
    assert not two.shelf.exists()


def test_a_run_folder_with_its_own_database_keeps_its_shelf(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    ref = shelf_for(run, None).add_bytes(b"model")
    assert (run.shelf / ref.sha256).is_file()


def test_a_database_on_a_server_has_no_shelf_beside_it(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    ref = shelf_for(run, "postgresql://edgenas@db.example/fleet").add_bytes(b"model")
    assert (run.shelf / ref.sha256).is_file()
