"""What a broker lets a device say and hear is shown by saying and hearing it, on a real broker."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge.doctor import rights
from firmware_bridge.doctor.finding import Finding
from firmware_bridge.doctor.rights import Heard, Identity, check_broker, judge_packets, judge_rights
from firmware_bridge.wire.codec import decode, encode
from firmware_bridge.wire.link import LinkEvent, Received
from firmware_bridge.wire.messages import BlobRefused, BlobRequest, HostState
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.tls import TlsFiles
from firmware_bridge.wire.topics import Topics
from tests.firmware_bridge.doctor.certificates import Authority, mutual_lines
from tests.firmware_bridge.wire.brokers import start_mosquitto

FLEET = "lab"
DEVICE = "board-1"
WHO = Identity(FLEET, DEVICE)
WAIT_S = 30.0
HOST_RULES = """
user host
topic read edgenas/v1/+/up/#
topic write edgenas/v1/+/dn/#
topic write edgenas/v1/+/host/state
"""
MAY_WRITE = "pattern write edgenas/v1/+/up/%u/#\n"
MAY_READ = "pattern read edgenas/v1/+/dn/%u/#\n"
HOST_STATE = "pattern read edgenas/v1/+/host/state\n"
MAY_WRITE_TO_ITSELF = "pattern readwrite edgenas/v1/+/dn/%u/#\n"


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Site:
    """A broker with TLS, an ACL file, and people with certificates."""

    def __init__(self, folder: Path, cleanup: ExitStack, rules: str) -> None:
        self._authority = Authority(folder)
        self._cleanup = cleanup
        server = self._authority.issue("broker", address="127.0.0.1")
        acl = folder / "acl"
        acl.write_text(rules + HOST_RULES)
        acl.chmod(0o644)
        broker = start_mosquitto(folder, 262_144, lines=mutual_lines(server, acl))
        cleanup.callback(broker.stop)
        self.url = f"mqtts://127.0.0.1:{broker.port}"

    def files(self, who: str) -> TlsFiles:
        return self._authority.issue(who)

    def start_host(self) -> None:
        """As much of a host as doctor needs: it says that it is there, and knows no blob."""
        topics = Topics(FLEET)
        link = MqttLink(self.url, "host", tls=self.files("host").context())

        def answer(event: LinkEvent) -> None:
            if not isinstance(event, Received):
                return
            address = topics.parse(event.topic)
            if address is not None and address.family == "blob":
                request = decode(event.payload).message
                assert isinstance(request, BlobRequest)
                refusal = encode(BlobRefused(code="NOT_ALLOWED"))
                link.publish(topics.refuse(address.device, request.digest), refusal)

        link.subscribe(*topics.host_filters())
        link.open(answer)
        self._cleanup.callback(link.close)
        link.wait_connected(WAIT_S)
        state = encode(HostState(online=True, sess=1))
        link.publish(topics.host_state(), state, retain=True)

    def check(self) -> list[Finding]:
        return list(check_broker(self.url, WHO, self.files(DEVICE).context()))


@pytest.mark.parametrize(
    ("rules", "host", "code", "told"),
    [
        (MAY_WRITE + MAY_READ + HOST_STATE, True, "", "may write its own topics and read"),
        (MAY_WRITE + MAY_READ + HOST_STATE, False, "rights-unproven", "no host is online"),
        (MAY_WRITE + HOST_STATE, True, "rights-read", f"dn/{DEVICE}/# arrives, though"),
        (MAY_READ + HOST_STATE, True, "rights-write", f"writes to edgenas/v1/lab/up/{DEVICE}"),
        (MAY_WRITE + MAY_WRITE_TO_ITSELF + HOST_STATE, False, "", "may write its own topics"),
    ],
    ids=["right", "no host", "may not read", "may not write", "may write to itself"],
)
def test_rights_are_told_from_what_happens(
    tmp_path: Path,
    cleanup: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
    rules: str,
    host: bool,
    code: str,
    told: str,
) -> None:
    if code:
        monkeypatch.setattr(rights, "ANSWER_S", 0.5)  # nothing will come
    site = Site(tmp_path, cleanup, rules)
    if host:
        site.start_host()
    packets, found = site.check()
    assert packets.cause == "MQTT 5, packets up to 262144 bytes"
    assert (found.check, found.code) == ("rights", code), found
    assert told in found.cause


def test_a_broker_without_rules_lets_everybody_speak_for_everybody(
    tmp_path: Path, cleanup: ExitStack
) -> None:
    broker = start_mosquitto(tmp_path, None)
    cleanup.callback(broker.stop)
    packets, found = check_broker(f"mqtt://127.0.0.1:{broker.port}", WHO)
    assert packets.status == "ok"
    assert (found.code, found.status) == ("rights-too-wide", "warn")


def test_nothing_is_left_at_the_broker(tmp_path: Path, cleanup: ExitStack) -> None:
    broker = start_mosquitto(tmp_path, None)
    cleanup.callback(broker.stop)
    url = f"mqtt://127.0.0.1:{broker.port}"
    list(check_broker(url, WHO))
    seen: list[LinkEvent] = []
    link = MqttLink(url, "later")
    cleanup.callback(link.close)
    link.subscribe("edgenas/#")
    link.open(seen.append)
    link.wait_connected(WAIT_S)
    link.publish("edgenas/end", b"")
    link.close()
    assert [e.topic for e in seen if isinstance(e, Received) and e.retained] == []


def test_a_broker_that_takes_no_chunk_is_refused(tmp_path: Path, cleanup: ExitStack) -> None:
    broker = start_mosquitto(tmp_path, 60_000)
    cleanup.callback(broker.stop)
    found = next(check_broker(f"mqtt://127.0.0.1:{broker.port}", None))
    assert (found.code, found.status) == ("packet-limit", "fail")
    assert "60000 bytes, a chunk needs 66560" in found.cause
    assert "max_packet_size 262144" in found.fix


def test_a_broker_that_refuses_us_says_why(
    tmp_path: Path, cleanup: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, "CONNECT_S", 1.0)
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    lines = ["allow_anonymous false", f"password_file {passwords}"]
    broker = start_mosquitto(tmp_path, None, lines=lines)
    cleanup.callback(broker.stop)
    (found,) = check_broker(f"mqtt://me:secret@127.0.0.1:{broker.port}", WHO)
    assert (found.code, found.status) == ("mqtt-refused", "fail")
    assert "secret" not in str(found)


def test_a_broker_that_wants_a_certificate_gets_none(
    tmp_path: Path, cleanup: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, "CONNECT_S", 1.0)
    site = Site(tmp_path, cleanup, MAY_WRITE)
    trust = TlsFiles(Path(tmp_path / "test-authority.pem")).context()
    (found,) = check_broker(site.url, WHO, trust)
    assert found.code in ("mqtt-no-answer", "mqtt-refused")
    assert found.fix


def test_without_fleet_and_id_no_rights_are_tried(tmp_path: Path, cleanup: ExitStack) -> None:
    broker = start_mosquitto(tmp_path, None)
    cleanup.callback(broker.stop)
    _, found = check_broker(f"mqtt://127.0.0.1:{broker.port}", None)
    assert (found.code, found.status) == ("identity-unset", "warn")
    (wrong,) = check_broker(f"mqtt://127.0.0.1:{broker.port}", Identity("lab", "Not An Id"))
    assert (wrong.code, wrong.status) == ("mqtt-refused", "fail")


def heard(**changes: object) -> Heard:
    plain = Heard(None, frozenset(), True, False, True, True)
    return replace(plain, **changes)  # type: ignore[arg-type]


STRANGE, OWN, DOWN = (
    f"edgenas/v1/lab/{where}/doctor" for where in ("up/doctor-stranger", "up/board-1", "dn/board-1")
)


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (heard(refused=frozenset({STRANGE, DOWN})), ""),
        (heard(refused=frozenset({STRANGE, DOWN, OWN})), "rights-write"),
        (heard(refused=frozenset({STRANGE, DOWN}), host_answered=False), "rights-read"),
        (heard(refused=frozenset({STRANGE}), host_answered=False, host_online=None), "rights-read"),
        (
            heard(refused=frozenset({STRANGE, DOWN}), host_answered=False, host_online=False),
            "rights-unproven",
        ),
        (heard(refused=frozenset({DOWN})), "rights-too-wide"),
        (heard(says_refusals=False), ""),  # MQTT 3.1.1 refuses nothing aloud
        (heard(says_refusals=False, host_answered=False, host_online=None), "rights-unproven"),
        (heard(says_refusals=False, host_answered=False), "rights-read"),
    ],
)
def test_the_judge_knows_every_case(seen: Heard, code: str) -> None:
    assert judge_rights(seen, WHO).code == code


@pytest.mark.parametrize(("limit", "code"), [(None, ""), (66_560, ""), (66_559, "packet-limit")])
def test_a_packet_must_hold_a_chunk_and_its_header(limit: int | None, code: str) -> None:
    assert judge_packets(heard(packet_bytes=limit)).code == code
