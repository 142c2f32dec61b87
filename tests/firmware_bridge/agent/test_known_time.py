"""Which clock may let a release expire: synchronised, and not behind what was known already."""

from pathlib import Path

import pytest

from firmware_bridge.agent.known_time import EVERY_S, KnownTime, trusted
from firmware_bridge.store.journal import Journal


@pytest.mark.parametrize(
    ("now_s", "synced", "known_s", "built_s", "expected"),
    [
        (100.0, True, 0.0, 50.0, True),
        (100.0, False, 0.0, 50.0, False),
        (100.0, True, 101.0, 50.0, False),
        (49.0, True, 0.0, 50.0, False),
    ],
)
def test_a_clock_is_believed_only_if_nothing_speaks_against_it(
    now_s: float, synced: bool, known_s: float, built_s: float, expected: bool
) -> None:
    assert trusted(now_s, synced, known_s, built_s) is expected


def test_the_hour_is_noted_and_outlives_a_restart_into_the_past(tmp_path: Path) -> None:
    now_s, synced = 1e9, True

    def known(journal: Journal) -> KnownTime:
        return KnownTime(
            journal.last_time_s,
            journal.set_last_time_s,
            lambda: synced,
            lambda: now_s,
            built_wall_s=0.0,
        )

    journal = Journal(tmp_path / "journal.sqlite")
    time = known(journal)
    time.tick()
    now_s += EVERY_S - 1
    time.tick()
    assert journal.last_time_s() == 1e9
    now_s += 1
    time.tick()
    assert journal.last_time_s() == 1e9 + EVERY_S
    synced, now_s = False, 2e9  # nobody vouches for it: it is not noted
    time.tick()
    journal.close()
    journal = Journal(tmp_path / "journal.sqlite")
    synced, now_s = True, 1e9
    assert not known(journal).trusted()
    now_s = 1e9 + EVERY_S
    assert known(journal).trusted()
    journal.close()


def test_this_software_is_not_older_than_the_present() -> None:
    believed = KnownTime(lambda: 0.0, lambda wall_s: None, lambda: True)
    assert believed.trusted()
    doubted = KnownTime(lambda: 0.0, lambda wall_s: None, lambda: True, lambda: 1e9)
    assert not doubted.trusted()
