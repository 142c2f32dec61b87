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


MIB = 1 << 20


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([], {}),
        (["b=1ms"], {"b": (1.0, None)}),
        (["b=1ms", "5ms,8MiB"], {"a": (5.0, 8 * MIB), "b": (1.0, 8 * MIB)}),
        (["5ms", "8MiB"], {"a": (5.0, 8 * MIB), "b": (5.0, 8 * MIB)}),
        (["8MiB", "b=1MiB", "b=2ms"], {"a": (None, 8 * MIB), "b": (2.0, MIB)}),
        (["b=1ms,1MiB", "5ms"], {"a": (5.0, None), "b": (1.0, MIB)}),
    ],
)
def test_a_limit_of_ones_own_replaces_only_that_for_all(
    given: list[str], wanted: dict[str, tuple[float | None, int | None]]
) -> None:
    assert limits(chosen_budgets(given, ["a", "b"])) == wanted


def test_where_each_limit_came_from_is_told() -> None:
    found = chosen_budgets(["8ms", "20MB", "b=5ms", "c=1ms,1MB"], ["a", "b", "c"])
    assert found["a"].reason == "given: 8ms,20MB"
    assert found["b"].reason == "given: 5ms; peak memory 19.07 MiB (given: 8ms,20MB)"
    assert found["c"].reason == "given: 1ms,1MB"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["5ms", "6ms"], "limits for all devices: .*got 5ms and 6ms"),
        (["5ms,1MB", "a=1ms", "1MiB"], "limits for all devices: .*got 5ms,1MB and 1MiB"),
        (["5ms", "a=1ms", "a=2ms"], "limits for a: .*got 1ms and 2ms"),
    ],
)
def test_two_limits_of_one_kind_for_the_same_devices_are_refused(
    given: list[str], said: str
) -> None:
    with pytest.raises(CampaignError, match=said):
        chosen_budgets(given, ["a", "b"])


def test_a_budget_of_nobody_is_refused() -> None:
    with pytest.raises(CampaignError, match=r"one of the devices a, b, got 'c'"):
        chosen_budgets(["c=5ms"], ["a", "b"])


@pytest.mark.parametrize(
    "text", ["", "a=", "5", "5 parsecs", "5ms,6ms", "0ms", "-5ms", "a=5ms;8MiB"]
)
def test_limits_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(BudgetError, match="expected"):
        chosen_budgets([text], ["a"])
