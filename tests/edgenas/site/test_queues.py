"""What the mosquitto of `edgenas broker init` keeps for a host that is away, up to where."""

import random
from pathlib import Path

from edgenas.site.access import SiteAccess
from edgenas.site.mosquitto import QUEUED_BYTES, Place, configuration
from firmware_bridge.wire.backoff import Backoff
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import RESULT_CAP_BYTES
from tests.edgenas.site.sites import NEEDS_MOSQUITTO, Client, Site, eventually

TOPICS = Topics("lab")
BOUND_BYTES, RESULT_BYTES, RESULTS = 200_000, 10_000, 60
DEVICES, OUTSTANDING = 1000, 2


def test_the_bound_is_what_a_thousand_devices_may_have_under_way() -> None:
    text = configuration(Place(Path("/x"), 8883, "", "mosquitto"))
    assert f"max_queued_bytes {QUEUED_BYTES}\n" in text
    assert QUEUED_BYTES >= DEVICES * OUTSTANDING * RESULT_CAP_BYTES


def _host(site: Site) -> Client:
    """A host whose session outlasts its connection, as that of `FleetHost` does."""
    context = SiteAccess(site.folder.path).host()
    link = MqttLink(site.url, "host", tls=context, backoff=Backoff(random.Random(), 0.02, 0.1))
    return Client(link)


@NEEDS_MOSQUITTO
def test_a_device_fills_the_queue_of_an_absent_host_up_to_its_bound(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    path = site.folder.broker / "mosquitto.conf"
    path.write_text(path.read_text().replace(str(QUEUED_BYTES), str(BOUND_BYTES)))
    site.start()
    try:
        _host(site).open(*TOPICS.host_filters()).link.close()
        board = site.client("board-1", site.device("board-1").context()).open()
        echo = site.client("board-1b", site.device("board-1b").context()).open(
            TOPICS.resync("board-1b")
        )
        for number in range(RESULTS):
            topic = TOPICS.result("board-1", f"{number:032x}")
            board.link.publish(topic, bytes(RESULT_BYTES))
        eventually(lambda: len(board.link.outgoing) == 0)
        board.link.close()  # after what was sent is acknowledged
        host = _host(site).open(*TOPICS.host_filters())
        host.link.publish(TOPICS.resync("board-1b"), b"")
        assert echo.next_topic() == TOPICS.resync("board-1b")
        echo.link.publish(TOPICS.facts("board-1b"), b"the last one")
        came = list(iter(host.next_topic, TOPICS.facts("board-1b")))
        host.link.close()
    finally:
        site.stop()
    assert "being dropped for client host" in site.log.read_text()
    assert came == [TOPICS.result("board-1", f"{number:032x}") for number in range(len(came))]
    assert BOUND_BYTES // RESULT_BYTES <= len(came) <= BOUND_BYTES // RESULT_BYTES + 1
