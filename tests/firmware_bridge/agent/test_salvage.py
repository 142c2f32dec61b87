"""A journal that a memory card has damaged: the model keeps running, and nothing older comes in."""

import time
from contextlib import closing
from pathlib import Path

import pytest

from firmware_bridge.agent.salvage import DAMAGED_NAME, open_journal
from firmware_bridge.slots import CURRENT, PREVIOUS, Slots
from firmware_bridge.store.database import JournalDamagedError
from firmware_bridge.store.journal import Journal
from firmware_bridge.wire.memory import MemoryBroker
from firmware_bridge.wire.messages import DeployReport
from tests.firmware_bridge.agent.boards import ProcessBoard, ThreadBoard, settings_in
from tests.firmware_bridge.agent.conftest import StartBoard
from tests.firmware_bridge.agent.host_double import DEADLINE_S, HostDouble
from tests.firmware_bridge.agent.releases import make_signer, some_weights
from tests.firmware_bridge.agent.test_restoring import recover
from tests.firmware_bridge.bench import tiny_model


def overwrite(journal: Path) -> None:
    """No database any more."""
    journal.write_bytes(b"\xff" * journal.stat().st_size)


def cut(journal: Path) -> None:
    """Pages are missing, as after a file system check."""
    journal.write_bytes(journal.read_bytes()[:4096])


def scribble(journal: Path) -> None:
    """Rubbish where the tables are; the head is whole."""
    content = bytearray(journal.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    journal.write_bytes(bytes(content))


DAMAGES = [overwrite, cut, scribble]


def journal_with_a_slot(folder: Path) -> Path:
    with closing(Journal(folder / "journal.sqlite")) as journal:
        journal.slots.update("main", committed="a" * 64, counter=8)
    return folder / "journal.sqlite"


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_from_other_trouble(damage: object, tmp_path: Path) -> None:
    path = journal_with_a_slot(tmp_path)
    assert callable(damage)
    damage(path)
    with pytest.raises(JournalDamagedError, match="whole journal"):
        Journal(path)


def test_a_whole_journal_is_opened_as_it_is(tmp_path: Path) -> None:
    journal_with_a_slot(tmp_path)
    journal, told = open_journal(tmp_path, Slots(tmp_path, tmp_path / "run"))
    with closing(journal):
        assert (journal.slots.get("main").counter, told) == (8, None)
    assert not (tmp_path / DAMAGED_NAME).exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_model_stays_and_an_older_release_is_refused(
    damage: object,
    broker: MemoryBroker,
    host: HostDouble,
    start_board: StartBoard,
    tmp_path: Path,
) -> None:
    signer = make_signer(host, tmp_path)
    board = start_board(verify_keys=(signer.key_file,))
    for rev, counter in ((1, 2), (2, 6)):
        wish = signer.wish(signer.manifest(rev, counter), rev)
        host.send_wish(wish)
        host.result(str(wish.deployment))
    before = host.state(lambda state: state.slots["main"].phase == "IDLE")
    board.stop()
    assert callable(damage)
    damage(tmp_path / "state" / "journal.sqlite")

    reborn = ThreadBoard(broker, settings_in(tmp_path, verify_keys=(signer.key_file,)))
    after = host.state(lambda state: state.online and "set aside" in (state.error or ""))
    assert after.install_id != before.install_id
    assert after.slots["main"].active == signer.manifest(2, 6).bundle_id()
    assert after.slots["main"].counter == 6
    current = tmp_path / "state" / "slots" / "main" / "current" / "model.tflite"
    assert current.read_bytes() == tiny_model.dense(some_weights(2))
    assert (tmp_path / "state" / DAMAGED_NAME).exists()
    old = signer.wish(signer.manifest(3, 4), 3)
    host.send_wish(old)
    report = host.result(str(old.deployment))
    assert isinstance(report, DeployReport)
    reborn.stop()
    assert report.code == "old_counter"


def installed(folder: Path) -> Path:
    """A device that runs one of its two bundles, and whose journal is damaged; the journal."""
    slots = Slots(folder, folder / "run")
    for counter, bundle in enumerate(("a" * 64, "b" * 64), start=1):
        (folder / "model").write_bytes(bundle[:1].encode())
        slots.install(bundle, {"model": folder / "model"}, b"no manifest")
        slots.point("main", PREVIOUS if counter == 1 else CURRENT, bundle)
    path = journal_with_a_slot(folder)
    overwrite(path)
    return path


def check_kept(folder: Path) -> None:
    with closing(Journal(folder / "journal.sqlite")) as journal:
        row = journal.slots.get("main")
        assert (row.committed, row.previous) == ("b" * 64, "a" * 64)
    assert {entry.name for entry in (folder / "bundles").iterdir()} == {"a" * 64, "b" * 64}


def test_a_power_cut_on_the_way_costs_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "counting").mkdir()
    installed(tmp_path / "counting")
    log = tmp_path / "moments"
    assert recover(tmp_path / "counting", f"log:{log}").returncode == 0
    moments = log.read_text().splitlines()
    assert any("set aside" in moment for moment in moments)
    assert any("move to journal.sqlite" in moment for moment in moments)
    for moment in range(1, len(moments) + 1):
        state = tmp_path / str(moment)
        state.mkdir()
        installed(state)
        assert recover(state, f"kill:{moment}").returncode == -9
        assert recover(state).returncode == 0
        check_kept(state)


def test_a_journal_that_is_gone_is_begun_anew_from_what_is_installed(tmp_path: Path) -> None:
    installed(tmp_path).unlink()
    (tmp_path / "journal.sqlite-wal").write_bytes(b"of the old one")
    done = recover(tmp_path)
    assert (done.returncode, "got none" in done.stdout) == (0, True)
    check_kept(tmp_path)


def test_nothing_is_made_up_where_nothing_was(tmp_path: Path) -> None:
    assert "got none" not in recover(tmp_path).stdout
    assert not list(tmp_path.iterdir())


def test_a_damaged_journal_tells_what_to_do(tmp_path: Path) -> None:
    overwrite(journal_with_a_slot(tmp_path))
    with pytest.raises(JournalDamagedError, match="edgenas-device recover"):
        Journal(tmp_path / "journal.sqlite")


def test_recover_mends_it_ahead_of_the_daemon(tmp_path: Path) -> None:
    overwrite(journal_with_a_slot(tmp_path))
    done = recover(tmp_path)
    assert (done.returncode, "set aside" in done.stdout) == (0, True)
    assert "set aside" not in recover(tmp_path).stdout


def test_the_process_starts_over_a_damaged_journal(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    overwrite(journal_with_a_slot(state))
    board = ProcessBoard("mqtt://127.0.0.1:1", tmp_path)  # nobody answers there
    deadline = time.monotonic() + DEADLINE_S
    while not (state / DAMAGED_NAME).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    assert board.stop() == 0
    with closing(Journal(state / "journal.sqlite")) as journal:
        assert journal.count_start() == 2
