"""Who gets what from the mosquitto that `edgenas broker init` set up and `broker run` started."""

import contextlib
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgenas.cli.main import main
from edgenas.fleet.deployment_log import WishRow
from edgenas.fleet.device_log import Sighting
from edgenas.fleet.journal import FleetJournal
from edgenas.site.access import SiteAccess
from edgenas.site.authority import now_utc
from edgenas.site.errors import SiteError
from edgenas.site.folder import SiteFolder
from edgenas.site.running import run
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.messages import State
from firmware_bridge.wire.topics import Topics
from tests.edgenas.site.sites import NEEDS_MOSQUITTO, WAIT_S, Site, connack, eventually
from tests.firmware_bridge.wire.brokers import PROJECT, free_port

pytestmark = NEEDS_MOSQUITTO
TOPICS = Topics("lab")
ACCEPTED = bytes.fromhex("20020000")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("tls") / "site")
    site.start()
    yield site
    assert site.stop() == 0


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    yield running
    for link in running._links:
        link.close()
    running._links.clear()


def test_only_a_certificate_of_this_authority_gets_in(site: Site, tmp_path: Path) -> None:
    assert connack(site.port, site.device("board-1").context()) == ACCEPTED
    assert connack(site.port, None) == b"", "a plain connection"
    ca = site.folder.host / "ca.pem"
    assert connack(site.port, ssl.create_default_context(cafile=ca)) == b"", "no certificate"
    stranger = Site(tmp_path / "other").device("board-1")
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(stranger.files.certificate or "", stranger.files.key)
    assert connack(site.port, context) == b"", "another authority's"


def test_old_tls_is_refused(site: Site) -> None:
    context = site.device("board-1").context()
    with pytest.warns(DeprecationWarning, match="TLS"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLS"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    assert connack(site.port, context) == b""


def test_a_device_neither_reads_nor_writes_what_is_anothers(site: Site) -> None:
    host = site.host().open(*TOPICS.host_filters())
    nosy = site.client("board-1", site.device("board-1").context())
    nosy.open("#", TOPICS.resync("board-2"), TOPICS.state("board-2"), TOPICS.resync("board-1"))
    neighbour = site.client("board-2", site.device("board-2").context())
    neighbour.open(*TOPICS.device_filters("board-2"))

    host.link.publish(TOPICS.resync("board-2"), b"for board-2")
    neighbour.link.publish(TOPICS.state("board-2"), b"by board-2")
    assert neighbour.next_topic() == TOPICS.resync("board-2")
    assert host.next_topic() == TOPICS.state("board-2")
    host.link.publish(TOPICS.resync("board-1"), b"for board-1")
    assert nosy.next_topic() == TOPICS.resync("board-1")  # and nothing before it

    forbidden = (TOPICS.state("board-2"), TOPICS.resync("board-2"), TOPICS.host_state())
    for topic in forbidden:
        nosy.link.publish(topic, b"forged")
    nosy.link.publish(TOPICS.facts("board-1"), b"its own")
    assert host.next_topic() == TOPICS.facts("board-1")
    eventually(lambda: len(nosy.link.refused) == len(forbidden))
    host.link.publish(TOPICS.resync("board-2"), b"again")
    assert neighbour.heard.get(timeout=WAIT_S).payload == b"again"


def test_a_name_is_what_the_certificate_says_not_what_the_client_says(site: Site) -> None:
    host = site.host().open(*TOPICS.host_filters())
    pretender = site.client("host", site.device("board-3").context()).open()
    pretender.link.publish(TOPICS.resync("board-2"), b"forged")
    pretender.link.publish(TOPICS.state("board-3"), b"its own")
    assert host.next_topic() == TOPICS.state("board-3")  # still connected: nobody took its place
    assert list(pretender.link.refused) == [TOPICS.resync("board-2")]


def test_whoever_looks_pushes_nobody_off_and_commands_nothing(site: Site) -> None:
    host = site.host().open(*TOPICS.host_filters())
    viewer = site.client("viewer-1", SiteAccess(site.folder.path).viewer())
    viewer.open(f"{TOPICS.state('board-4')}", f"{TOPICS.facts('board-4')}")
    board = site.client("board-4", site.device("board-4").context()).open()
    board.link.publish(TOPICS.state("board-4"), b"hello")
    assert host.next_topic() == viewer.next_topic() == TOPICS.state("board-4")
    viewer.link.publish(TOPICS.resync("board-4"), b"forged")
    eventually(lambda: list(viewer.link.refused) == [TOPICS.resync("board-4")])
    assert board.heard.empty()


def test_commands_that_look_answer_with_their_certificate(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    host = site.host().open(*TOPICS.host_filters())
    board = site.client("board-7", site.device("board-7").context()).open()
    state = State(online=True, sess=1, install_id="4d" * 16)
    board.link.publish(TOPICS.state("board-7"), encode(state), retain=True)
    assert host.next_topic() == TOPICS.state("board-7")
    words = ["devices", "--broker", site.url, "--fleet", "lab", "--json", "--wait", "0.5"]
    listed: list[str] = []

    def is_listed() -> bool:
        assert main([*words, "--tls", str(site.folder.path)]) == 0
        listed[:] = [row["id"] for row in json.loads(capsys.readouterr().out)]
        return "board-7" in listed

    eventually(is_listed)
    assert main([*words, "--tls", str(site.folder.host)]) == 0, (
        "a copy of the host's part is enough"
    )
    capsys.readouterr()
    host.link.publish(TOPICS.resync("board-7"), b"")
    board.link.publish(TOPICS.facts("board-7"), b"still connected")
    assert host.next_topic() == TOPICS.facts("board-7")


def test_forgetting_pushes_no_host_off(site: Site, tmp_path: Path) -> None:
    """The command clears what is kept of a device while a host is connected and goes on."""
    host, board = site.host().open(*TOPICS.host_filters()), site.device("board-8")
    client = site.client("board-8", board.context()).open()
    said = (TOPICS.state, TOPICS.facts, TOPICS.inventory)
    kept = (*(topic("board-8") for topic in said), TOPICS.head("board-8", "ears"))
    for topic in kept:
        client.link.publish(topic, b"left behind", retain=True)
        while host.next_topic() != topic:
            pass  # what the broker keeps of others comes first
    wishes = [TOPICS.wish("board-8", slot) for slot in ("main", "ears")]
    for topic in wishes:
        host.link.publish(topic, b"wished", retain=True)
    database = tmp_path / "fleet.sqlite"
    with contextlib.closing(FleetJournal(database)) as journal:
        journal.bind("lab")
        journal.devices.add_sighting(Sighting("board-8", "1" * 32, 1, None, "birth"), 1)
        journal.deployments.add_wish(WishRow("board-8", "ears", 1, b"wished"), 1)
    words = ["fleet", "forget", "board-8", "--fleet", "lab", "--broker", site.url]
    assert main([*words, "--database", str(database), "--tls", str(site.folder.host)]) == 0

    for topic in kept:
        assert host.next_topic() == topic, "cleared while it listens"
    assert host.lost == []
    client.link.close()  # two of one name push each other off for ever
    later = site.client("board-8", board.context()).open(*TOPICS.device_filters("board-8"))
    host.link.publish(TOPICS.resync("board-8"), b"")
    assert later.next_topic() == TOPICS.resync("board-8"), "no wish was kept"


def test_whoever_clears_reads_nothing_and_commands_nothing(site: Site) -> None:
    clerk = site.client("clerk", SiteAccess(site.folder.path).clerk())
    clerk.open("edgenas/#")
    board = site.device("board-9")
    site.client("board-9", board.context()).open().link.publish(TOPICS.facts("board-9"), b"facts")
    clerk.link.publish(TOPICS.resync("board-9"), b"forged")
    eventually(lambda: list(clerk.link.refused) == [TOPICS.resync("board-9")])
    assert clerk.heard.empty()


def test_a_folder_from_before_there_was_a_clerk_says_what_to_do(tmp_path: Path) -> None:
    idle = Site(tmp_path / "idle")
    (idle.folder.host / "host_clerk.pem").unlink()
    with pytest.raises(SiteError, match="edgenas broker init"):
        SiteAccess(idle.folder.path).clerk()
    assert idle.folder.prepare(idle.settings, now_utc()).issued == ("host_clerk",)
    assert isinstance(SiteAccess(idle.folder.path).clerk(), ssl.SSLContext)


def test_revoking_shuts_out_the_connected_and_the_returning(site: Site) -> None:
    host = site.host().open(*TOPICS.host_filters())
    lost, kept = site.device("board-5"), site.device("board-6")
    connected = site.client("board-5", lost.context()).open(*TOPICS.device_filters("board-5"))
    assert site.folder.revoke("board-5", [lost.serial], now_utc())

    def is_shut_out() -> bool:
        connected.link.publish(TOPICS.state("board-5"), b"still here")
        return bool(connected.link.refused)

    eventually(is_shut_out)
    eventually(lambda: connack(site.port, lost.context()) == b"")
    assert connack(site.port, kept.context()) == ACCEPTED
    while not host.heard.empty():
        host.heard.get()
    host.link.publish(TOPICS.resync("board-5"), b"a secret")
    connected.link.publish(TOPICS.state("board-5"), b"forged")
    other = site.client("board-6", kept.context()).open(*TOPICS.device_filters("board-6"))
    host.link.publish(TOPICS.resync("board-6"), b"hello")
    assert other.next_topic() == TOPICS.resync("board-6")
    assert connected.heard.empty()

    again = site.device("board-5")  # a new certificate under the old name
    site.folder.admit("board-5", [lost.serial], now_utc())
    back = site.client("board-5", again.context())
    eventually(lambda: connack(site.port, again.context()) == ACCEPTED)
    back.open(*TOPICS.device_filters("board-5"))
    host.link.publish(TOPICS.resync("board-5"), b"welcome")
    assert back.next_topic() == TOPICS.resync("board-5")
    assert connack(site.port, lost.context()) == b""
    assert host.lost == [], "neither revoking nor letting in again disturbs the host"


def test_one_broker_a_folder_and_reload_needs_none(site: Site, tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="stop it first"):
        run(site.folder.broker)
    idle = Site(tmp_path / "idle")
    assert not idle.folder.revoke("board-1", ["1f"], now_utc())
    assert SiteFolder(idle.folder.path).settings == idle.settings


def test_a_port_that_is_taken_ends_it_with_a_message(site: Site, tmp_path: Path) -> None:
    second = Site(tmp_path / "second")
    second.folder.prepare(site.settings, now_utc())
    words = [sys.executable, "-m", "edgenas.cli.main", "broker", "run", str(second.folder.path)]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=WAIT_S, check=False, cwd=PROJECT
    )
    assert done.returncode == 1
    assert "mosquitto ended with status" in done.stderr
    assert free_port() != site.port
