"""The daily budget of candidates: counted over restarts, and never in the way of a release."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgenas.fleet.allowance import BUDGET_BYTES, DAY_MS, NOTED_BYTES, Allowance
from edgenas.fleet.clock import SystemClock
from edgenas.fleet.journal import FleetJournal
from tests.databases import place
from tests.edgenas.fleet.conftest import WAIT_S, Lab, outcome_of
from tests.edgenas.fleet.test_shipping import release_of, trusting_twin

BUDGET = 10 * NOTED_BYTES


class Calendar:
    """A clock whose date is set by hand."""

    def __init__(self) -> None:
        self.now_ms = DAY_MS

    def monotonic_s(self) -> float:
        return 0.0

    def wall_ms(self) -> int:
        return self.now_ms


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FleetJournal]:
    with closing(FleetJournal(place(tmp_path / "fleet.sqlite"))) as opened:
        yield opened


def test_a_device_has_its_bytes_once_in_24_hours(journal: FleetJournal) -> None:
    calendar = Calendar()
    budget = Allowance(journal.devices, calendar, BUDGET)
    budget.spend("dev-1", BUDGET - 1)
    assert not budget.used_up("dev-1")
    budget.spend("dev-1", 1)
    assert budget.used_up("dev-1")
    assert not budget.used_up("dev-2")
    calendar.now_ms += DAY_MS + 1
    assert not budget.used_up("dev-1")


def test_small_pieces_add_up_and_a_restart_forgets_little(journal: FleetJournal) -> None:
    calendar = Calendar()
    budget = Allowance(journal.devices, calendar, BUDGET)
    for _ in range(BUDGET // 1000 + 1):
        budget.spend("dev-1", 1000)
    assert budget.used_up("dev-1")
    later = Allowance(journal.devices, calendar, BUDGET - NOTED_BYTES)
    assert later.used_up("dev-1")


def test_a_device_that_has_had_its_bytes_gets_no_candidate_but_a_release(lab: Lab) -> None:
    host, twin = lab.host(), trusting_twin(lab)
    host.submit("dev-1", lab.spec(1))
    assert outcome_of(host).measurement is not None
    lab.journal.devices.add_served("dev-1", BUDGET_BYTES, SystemClock().wall_ms())
    job_id = host.submit("dev-1", lab.spec(2))
    refused = outcome_of(host)
    assert refused.job_id == job_id
    assert refused.failure is not None
    assert (refused.failure.code, refused.failure.retryable) == ("OVER_BUDGET", True)
    assert "tomorrow" in refused.failure.detail
    assert lab.model(2).sha256 not in twin.disk.blobs
    shipped = host.offer("dev-1", "main", release_of(lab, 2, seed=3))
    ended = host.wait_deployment(shipped, WAIT_S)
    assert ended is not None
    assert ended.succeeded
