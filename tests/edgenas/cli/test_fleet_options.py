"""Options that name devices, threads and budgets: read whole, or refused with the word."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgenas.campaign.errors import CampaignError
from edgenas.cli.fleet_options import chosen_budgets, chosen_setups
from edgenas.fleet.errors import DevicesMissingError
from edgenas.search.budget import Budget
from edgenas.search.errors import BudgetError
from firmware_bridge.wire.errors import BridgeError
from tests.edgenas.fleet.conftest import WAIT_S, Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with ExitStack() as cleanup:
        yield Lab(tmp_path, cleanup)


def test_named_devices_get_their_threads(lab: Lab) -> None:
    for device in ("aaa", "bbb", "ccc"):
        lab.twin(device)
    setups = chosen_setups(["bbb=4", "aaa"], lab.host(), WAIT_S)
    assert [(setup.device_id, setup.threads) for setup in setups] == [("bbb", 4), ("aaa", 1)]


def test_without_names_everybody_who_measures_takes_part(lab: Lab) -> None:
    host = lab.host()
    with pytest.raises(CampaignError, match=r"found none online; start `edgenas-device run`"):
        chosen_setups([], host, 0.0)
    for device in ("aaa", "bbb"):
        lab.twin(device)
    host.wait_for_devices(["aaa", "bbb"], WAIT_S)
    assert [setup.device_id for setup in chosen_setups([], host, 0.0)] == ["aaa", "bbb"]


def test_a_device_that_does_not_come_is_named(lab: Lab) -> None:
    lab.twin("aaa")
    with pytest.raises(DevicesMissingError, match=r"missing: ghost \(never seen\); online: aaa"):
        chosen_setups(["aaa", "ghost"], lab.host(), 0.2)


@pytest.mark.parametrize("word", ["a=", "a=0", "a=-1", "a=two", "a=1.5", "a=²", "a=1=2"])
def test_threads_are_a_whole_number(lab: Lab, word: str) -> None:
    with pytest.raises(CampaignError, match="expected ID=THREADS"):
        chosen_setups([word], lab.host(), 0.0)


@pytest.mark.parametrize("word", ["", "=2", "Not An Id", "a/b", "+", "#"])
def test_ids_are_checked(lab: Lab, word: str) -> None:
    with pytest.raises(BridgeError):
        chosen_setups([word], lab.host(), 0.0)


def test_a_device_is_named_once(lab: Lab) -> None:
    with pytest.raises(CampaignError, match="expected each device once, got a"):
        chosen_setups(["a", "b", "a=2"], lab.host(), 0.0)


def limits(found: dict[str, Budget]) -> dict[str, tuple[float | None, int | None]]:
    return {name: (b.latency_p95_ms, b.peak_memory_bytes) for name, b in found.items()}


def test_a_budget_of_ones_own_wins_over_that_for_all() -> None:
    given = ["b=1ms", "5ms,8MiB"]
    assert limits(chosen_budgets(given, ["a", "b"])) == {"a": (5.0, 8 << 20), "b": (1.0, None)}
    assert chosen_budgets([], ["a", "b"]) == {}
    assert limits(chosen_budgets(["b=1ms"], ["a", "b"])) == {"b": (1.0, None)}


def test_a_budget_of_nobody_is_refused() -> None:
    with pytest.raises(CampaignError, match=r"one of the devices a, b, got 'c'"):
        chosen_budgets(["c=5ms"], ["a", "b"])


@pytest.mark.parametrize(
    "text", ["", "a=", "5", "5 parsecs", "5ms,6ms", "0ms", "-5ms", "a=5ms;8MiB"]
)
def test_limits_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(BudgetError, match="expected"):
        chosen_budgets([text], ["a"])
