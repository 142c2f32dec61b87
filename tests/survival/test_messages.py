"""Messages that are duplicate, reordered, late, malformed, oversized, or none of our business."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from edgenas.fleet.jobs import MeasureSpec, build_job
from firmware_bridge.bench.stub import STUB_MODEL
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.errors import PacketLimitError
from firmware_bridge.wire.messages import Ack, CancelJob
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import new_id
from tests.survival.site import FLEET, WAIT_S, Daemon, Site, Work, until

TOPICS = Topics(FLEET)


@pytest.fixture
def stranger(site: Site) -> Iterator[MqttLink]:
    """Somebody who publishes to the device's topics."""
    link = MqttLink(site.url, f"stranger-{new_id()[:8]}", session_expiry_s=0)
    link.open(lambda event: None)
    link.wait_connected(WAIT_S)
    yield link
    link.close()


def dropped(site: Site, daemon: Daemon) -> str:
    view = site.view(daemon)
    return (view.state.error or "") if view and view.state else ""


def test_duplicates_and_reordered_words_about_one_job(site: Site, stranger: MqttLink) -> None:
    daemon = site.daemon()
    daemon.start()
    site.wait_online(daemon)
    early = new_id()  # taken back before it came
    spec = MeasureSpec(label="s", model=site.shelf.add_bytes(STUB_MODEL), level="quick")
    request = encode(build_job(spec, site.shelf))
    stranger.publish(TOPICS.job(daemon.device_id, early), encode(CancelJob()))
    stranger.publish(TOPICS.job(daemon.device_id, early), request)
    job = site.submit(daemon)
    for _ in range(5):
        stranger.publish(TOPICS.job(daemon.device_id, job), request)
        stranger.publish(TOPICS.ack(daemon.device_id, job), encode(Ack(attempt=7, rev=7)))
    assert site.outcome(job, daemon).measurement is not None
    for _ in range(5):  # and once more after its end
        stranger.publish(TOPICS.job(daemon.device_id, job), request)
    until(lambda: any(work == early for _, work, _ in site.strays()), "the early one", daemon)
    stranger.publish(TOPICS.ack(daemon.device_id, new_id()), encode(Ack(attempt=1, rev=1)))
    site.check_settled(daemon, Work([job]))


def test_unsound_messages_of_every_sort(site: Site, stranger: MqttLink) -> None:
    daemon = site.daemon()
    daemon.start()
    site.wait_online(daemon)
    device = daemon.device_id
    unsound = [b"", b"{", b"\xff\x00", b"[" * 3000, b'{"v":1,"kind":"measure_job","body":{}}']
    unsound += [b'{"v":99,"kind":"resync","body":{}}', b" " * 200_000, b'{"v":1,"kind":[],"t":0}']
    topics = [TOPICS.job(device, new_id()), TOPICS.wish(device, "main"), TOPICS.host_state()]
    topics += [TOPICS.resync(device), TOPICS.ack(device, new_id()), TOPICS.refuse(device, "0" * 64)]
    for topic in topics:
        for payload in unsound:
            if topic != TOPICS.host_state() or payload:
                stranger.publish(topic, payload)
    for offset in (0, 1, 65_536, 1 << 40):
        stranger.publish(TOPICS.chunk(device, "0" * 64, offset), bytes(70_000), qos=0)
    stranger.publish(TOPICS.chunk(device, "0" * 64, 0), bytes(200_000))
    with suppress(PacketLimitError):  # more than a device lets in; a broker may refuse it first
        stranger.publish(TOPICS.job(device, new_id()), bytes(600_000))
    until(lambda: "dropped " in dropped(site, daemon), "a word about what was dropped", daemon)
    site.check_settled(daemon, site.work(daemon))


@pytest.mark.survival
def test_a_flood_does_not_keep_the_work_from_being_done(site: Site, stranger: MqttLink) -> None:
    daemon = site.daemon()
    daemon.start()
    site.wait_online(daemon)
    work = site.work(daemon)
    for number in range(3000):
        chunk = TOPICS.chunk(daemon.device_id, "1" * 64, 65_536 * number)
        stranger.publish(chunk, bytes(60_000), qos=0)
        stranger.publish(TOPICS.job(daemon.device_id, new_id()), b"{")
    site.check_settled(daemon, work)
