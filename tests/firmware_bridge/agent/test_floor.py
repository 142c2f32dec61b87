"""Release counters that a board was told at its enrolment raise the journal's, and no more."""

from contextlib import closing
from pathlib import Path

from firmware_bridge.agent.floor import COUNTERS_PATH, raise_counters
from firmware_bridge.store.journal import Journal
from firmware_bridge.wire.counters import SlotCounter, encode_counters


def told(folder: Path, *counters: SlotCounter) -> None:
    (folder / COUNTERS_PATH).parent.mkdir(exist_ok=True)
    (folder / COUNTERS_PATH).write_bytes(encode_counters(counters))


def test_counters_only_go_up(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        assert raise_counters(journal, tmp_path) is None, "most boards were told nothing"
        assert journal.slots.all() == []
        journal.slots.update("ears", counter=9, manifest_sha256="9" * 64)
        told(
            tmp_path,
            SlotCounter(slot="main", counter=4, manifest_sha256="4" * 64),
            SlotCounter(slot="ears", counter=8, manifest_sha256="8" * 64),
        )
        for _ in range(2):
            assert raise_counters(journal, tmp_path) is None
            found = {row.name: (row.counter, row.manifest_sha256) for row in journal.slots.all()}
            assert found == {"main": (4, "4" * 64), "ears": (9, "9" * 64)}
        assert journal.slots.get("main").committed is None
        told(tmp_path, SlotCounter(slot="ears", counter=11))
        raise_counters(journal, tmp_path)
        assert journal.slots.get("ears").manifest_sha256 is None, "only greater ones may come"


def test_a_file_that_cannot_be_used_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / COUNTERS_PATH).parent.mkdir()
    for content in (b"", b"[]", b"x" * 10_000, b'{"counters": [{"slot": "main"}]}'):
        (tmp_path / COUNTERS_PATH).write_bytes(content)
        with closing(Journal(tmp_path / "journal.sqlite")) as journal:
            said = raise_counters(journal, tmp_path)
            assert said is not None
            assert "enrol this board again" in said
            assert journal.slots.all() == []
