"""Commands that talk to devices, in this process: real broker and daemon where one is needed."""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgenas.broker import BrokerThread
from edgenas.campaign.finals import FinalsPlan
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.overhearing import overheard
from edgenas.campaign.picking import pick_all, save_setups
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.shipments import read_shipments
from edgenas.campaign.workbench import workbench
from edgenas.data import ImageData, Split
from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.host import FleetHost
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.local import LocalDeviceSpec, LocalFleet
from edgenas.fleet.shelf import BlobShelf
from edgenas.report import read_report_json
from edgenas.search import SEARCHERS
from edgenas.search.budget import Budget
from firmware_bridge.wire.link import Connected, LinkEvent, Received, Will
from firmware_bridge.wire.mqtt import MqttLink
from tests.edgenas.campaign.test_picking import an_outcome
from tests.edgenas.cli.conftest import Calls

WAIT_S = 60.0  # a safety net
FLEET = "lab"


@pytest.fixture
def broker() -> Iterator[str]:
    with BrokerThread() as running:
        yield running.url


@pytest.fixture
def daemons(broker: str, run: RunDir, tmp_path: Path) -> Iterator[LocalFleet]:
    """One daemon, online."""
    spec = LocalDeviceSpec(
        device_id="dev-a",
        broker_url=broker,
        fleet=FLEET,
        state_dir=tmp_path / "dev-a",
        log_path=tmp_path / "dev-a.log",
        lock_path=tmp_path / "measure.lock",
    )
    with LocalFleet([spec]) as fleet, contextlib.ExitStack() as cleanup:
        fleet.wait_online(a_host(broker, tmp_path / "first", cleanup), WAIT_S)
        cleanup.close()
        yield fleet


def a_host(url: str, folder: Path, cleanup: ExitStack, link: MqttLink | None = None) -> FleetHost:
    folder.mkdir()
    journal = cleanup.enter_context(contextlib.closing(FleetJournal(folder / "fleet.sqlite")))
    link = link or MqttLink(url, f"host-{FLEET}")
    return cleanup.enter_context(FleetHost(link, FLEET, BlobShelf(folder / "shelf"), journal))


class WatchedLink(MqttLink):
    """Remembers whether it was ever cut off."""

    def open(
        self, sink: Callable[[LinkEvent], None], will: Callable[[], Will] | None = None
    ) -> None:
        self.events: list[LinkEvent] = []

        def seen(event: LinkEvent) -> None:
            self.events.append(event)
            sink(event)

        super().open(seen, will)


@pytest.fixture
def test_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows whenever anybody reads a test split."""
    reads: list[str] = []
    plain: Callable[[ImageData], Split] = ImageData.read_test

    def counted(self: ImageData) -> Split:
        reads.append(self.name)
        return plain(self)

    monkeypatch.setattr(ImageData, "read_test", counted)
    return reads


def test_the_test_split_is_read_once(
    run: RunDir, broker: str, daemons: LocalFleet, edgenas: Calls, test_reads: list[str]
) -> None:
    edgenas(
        *("search", run.path, "--broker", broker, "--fleet", FLEET, "--devices", "dev-*"),
        *("--latency-ms", 1000, "--peak-rss-mb", 4000, "--objective", "accuracy,latency"),
        *("--budget", 2, "--random", 1, "--finalists", 1, "--sessions", 1),
        *("--final-level", "quick", "--wait", 3, "--searcher", "surrogate"),
    )
    edgenas("pick", run.path)
    edgenas("export", run.path, "--out", "a.tflite")
    assert test_reads == []
    edgenas("report", run.path)
    first = read_report_json(run.report_json)
    (device,) = first.devices
    assert Counter(c.searcher for c in device.candidates) == {"surrogate": 2, "random": 1}
    assert device.budget.latency_p95_ms == 1000.0
    assert device.budget.peak_memory_bytes == 256 << 20, "no more than its profile has for a model"
    edgenas("report", run.path)
    edgenas("pick", run.path)
    edgenas("report", run.path)
    assert test_reads == ["digits"]
    again = read_report_json(run.report_json)
    assert [device.pick for device in again.devices] == [device.pick for device in first.devices]


def test_a_board_that_is_off_keeps_no_other_one_waiting(
    run: RunDir, broker: str, daemons: LocalFleet, edgenas: Calls
) -> None:
    with workbench(run) as bench:
        setups, finals = [DeviceSetup("dev-a"), DeviceSetup("ghost")], FinalsPlan(1, 1, "quick")
        arch = bench.checkpoint.space.smallest()
        for setup in setups:
            bench.study.set_budget(setup.device_id, Budget(1000.0, None, "given: 1s"))
            (trial,) = bench.study.ask(setup.device_id, "random", [arch])
            bench.study.record(trial.number, an_outcome())
            bench.study.add_session(setup.device_id, arch, an_outcome())
        save_setups(run, bench.study, setups, finals)
        pick_all(run, bench.study, setups, finals)
    said = edgenas.error("ship", run.path, "--broker", broker, "--fleet", FLEET, "--wait", 3)
    assert "missing: ghost (never seen)" in said
    assert set(read_shipments(run)) == {"dev-a"}


def test_a_searcher_that_there_is_not(
    run: RunDir, broker: str, daemons: LocalFleet, edgenas: Calls
) -> None:
    words = ("search", run.path, "--broker", broker, "--fleet", FLEET, "--device", "dev-a")
    said = edgenas.error(*words, "--wait", WAIT_S, "--searcher", "annealing")
    assert all(name in said for name in ("annealing", *SEARCHERS))


def test_settling_is_remembered_by_the_journal_of_a_run(
    run: RunDir, broker: str, daemons: LocalFleet, edgenas: Calls
) -> None:
    words = ("devices", "--broker", broker, "--fleet", FLEET, "--wait", 0, "--settle", "dev-a")
    assert "expected --run beside --settle" in edgenas.error(*words)
    edgenas(*words, "--run", run.path)
    with contextlib.closing(FleetJournal(run.fleet)) as journal:
        actions = [(entry.action, entry.subject) for entry in journal.audit.entries()]
    assert ("device.settled", "dev-a") in actions


def test_devices_that_are_not_there(run: RunDir, broker: str, edgenas: Calls) -> None:
    words = ("search", run.path, "--broker", broker, "--fleet", FLEET, "--wait", 0.2)
    assert "found none online" in edgenas.error(*words)
    assert "'profile=pi*', which none answers" in edgenas.error(*words, "--devices", "profile=pi*")
    both = ("--devices", "*", "--device", "dev-a")
    assert "--devices or --device" in edgenas.error(*words, *both)
    assert "ghost (never seen)" in edgenas.error(*words, "--device", "ghost")
    for word in ("dev-a=0", "dev-a=x", "Not An Id"):
        assert "expected" in edgenas.error(*words, "--device", word)
    assert json.loads(edgenas("devices", "--broker", broker, "--wait", 0, "--json")) == []
    assert "0 devices" in edgenas("devices", "--broker", broker, "--wait", 0)


def test_listing_devices_disturbs_nobody(
    broker: str, daemons: LocalFleet, edgenas: Calls, tmp_path: Path
) -> None:
    with ExitStack() as cleanup:
        link = WatchedLink(broker, f"host-{FLEET}")
        host = a_host(broker, tmp_path / "campaign", cleanup, link)
        daemons.wait_online(host, WAIT_S)
        words = ("devices", "--broker", broker, "--fleet", FLEET, "--wait", 0.3)
        (listed,) = json.loads(edgenas(*words, "--json"))
        assert (listed["id"], listed["online"], listed["measures"]) == ("dev-a", True, True)
        assert listed["ram_bytes"] > 0
        assert "dev-a" in edgenas(*words)
        host.wait_for_devices(["dev-a"], 0.0)
        kinds = {type(event) for event in link.events}
        assert kinds == {Connected, Received}  # the campaign's connection was not taken over
    daemons.stop()
    (view,) = until_one(lambda: overheard(broker, FLEET, 0.1))
    assert not view.online


def until_one(look: Callable[[], list[DeviceView]]) -> list[DeviceView]:
    """Look until the one device is known to be gone."""
    for _ in range(100):
        found = look()
        if len(found) == 1 and not found[0].online:
            break
    return found


def test_the_journal_of_a_run_knows_absent_devices(
    run: RunDir, broker: str, daemons: LocalFleet, edgenas: Calls
) -> None:
    words = ("devices", "--broker", broker, "--fleet", FLEET, "--run", run.path, "--json")
    (listed,) = json.loads(edgenas(*words, "--wait", 1))
    assert listed["online"]
    daemons.stop()
    (listed,) = json.loads(edgenas(*words, "--wait", 0.5))
    assert (listed["id"], listed["online"]) == ("dev-a", False)
