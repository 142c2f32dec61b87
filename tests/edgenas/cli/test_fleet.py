"""`edgenas fleet` in this process: listing, labels, groups, requests, revoking, forgetting."""

import contextlib
import json
from pathlib import Path

import pytest

from edgenas.campaign.rundir import RunDir
from edgenas.cli.fleet import duration
from edgenas.cli.main import main
from edgenas.fleet import enrolment_server
from edgenas.fleet.device_log import Sighting
from edgenas.fleet.enrolment import Mode
from edgenas.fleet.enrolment_desk import EnrolmentDesk, Terms
from edgenas.fleet.forgetting import clear_topics
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.keys import ensure_keys
from edgenas.site.authority import now_utc
from edgenas.site.folder import SiteFolder, SiteSettings
from firmware_bridge.certificates import ensure_key, signing_request
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.enrolment import EnrolRequest
from firmware_bridge.wire.memory import MemoryBroker, MemoryLink
from firmware_bridge.wire.messages import Facts
from firmware_bridge.wire.topics import Topics
from tests.edgenas.fleet.conftest import eventually

WAIT_S = 60.0


class Office:
    """A folder with an authority and a fleet's database, and the commands on it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.site = SiteFolder(folder / "site")
        self.site.prepare(SiteSettings(("127.0.0.1",), user="root"), now_utc())
        self.database = self.site.path / "fleet.sqlite"
        self._folder, self._capsys = folder, capsys

    def __call__(self, *words: str, code: int = 0) -> str:
        assert main(["fleet", *words, "--tls", str(self.site.path)]) == code
        out, err = self._capsys.readouterr()
        return out if code == 0 else out + err

    def journal(self) -> contextlib.closing[FleetJournal]:
        return contextlib.closing(FleetJournal(self.database))

    def seen(self, name: str, ram_mib: int, runtime: str = "ai-edge-litert 2.1.2") -> None:
        """A device that a host has heard of."""
        facts = Facts(
            profile="raspberry-pi-4",
            fingerprint={"arch": "aarch64", "runtime": runtime},
            ram_bytes=ram_mib << 20,
            disk_free_bytes=1 << 33,
            measure=True,
            can_verify=True,
        )
        with self.journal() as journal:
            journal.bind("lab")
            journal.devices.add_sighting(Sighting(name, "4d" * 16, 1, "9f" * 16, "birth"), 1)
            journal.devices.add_facts(name, encode(facts), 1)

    def asks(self, name: str, mode: Mode = Mode.TOKEN, serial: str = "") -> None:
        """A board that has asked to be let in."""
        key = self._folder / f"{name}-{serial}.key"
        ensure_key(key)
        with self.journal() as journal:
            journal.bind("lab")
            desk = EnrolmentDesk(journal, self.site)
            _, secret = desk.invite(Terms("lab", "generic", mode, 1, 600))
            csr = signing_request(key, name)
            desk.answer(
                EnrolRequest(
                    secret=secret, device_id=name, board=serial, csr=csr, facts={"os": "debian"}
                )
            )

    def listed(self, *words: str) -> list[str]:
        return [row["id"] for row in json.loads(self("list", *words, "--json"))]


@pytest.fixture
def office(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Office:
    for name in ("EDGENAS_DATABASE", "EDGENAS_TLS", "EDGENAS_BROKER"):
        monkeypatch.delenv(name, raising=False)
    return Office(tmp_path, capsys)


def test_devices_are_listed_labelled_and_grouped(office: Office) -> None:
    office.seen("pi4-1", 1024)
    office.seen("pi4-2", 4096)
    office.asks("pi5-1", serial="s1")
    assert office.listed() == ["pi4-1", "pi4-2", "pi5-1"]
    assert office.listed("memory>=2GiB") == ["pi4-2"]
    assert "2 devices picked, 2 changed: pi4-1, pi4-2" in office("tag", "pi4-*", "lab", "north")
    assert "1 devices picked, 1 changed" in office("untag", "pi4-1", "north")
    assert office.listed("tag:north") == ["pi4-2"]
    assert "kiosks: tag:lab memory<2GiB\n  pi4-1" in office(
        "group", "kiosks", "tag:lab memory<2GiB"
    )
    assert office.listed("group:kiosks") == ["pi4-1"]
    assert "kiosks" in office("group")
    assert "kiosks" not in office("group", "kiosks", "--remove")
    assert "one of the groups (none yet)" in office("list", "group:kiosks", code=1)
    table = office("list")
    for word in ("pi4-2", "4,096", "lab north", "until"):
        assert word in table
    shown = office("show", "pi4-2")
    assert "tags:" in shown
    assert "device.tagged" in shown
    assert "last seen online" in shown
    assert json.loads(office("show", "pi5-1", "--json"))["certificate"].startswith("until ")


def test_what_cannot_be_is_said(office: Office) -> None:
    office.seen("pi4-1", 1024)
    assert "one of the facts" in office("list", "colour=red", code=1)
    assert "1 to 40 characters" in office("tag", "pi4-1", "Not A Tag", code=1)
    assert "0 devices picked" in office("tag", "pi9-*", "lab", code=1)
    assert "edgenas fleet list" in office("show", "pi9-1", code=1)
    assert "contain themselves" in office("group", "a", "group:a", code=1)
    assert office("group") == "", "what was refused was not saved"
    assert "no selector beside --remove" in office("group", "--remove", code=1)
    assert "edgenas fleet list" in office("revoke", "pi4-1", code=1)
    assert main(["fleet", "list"]) == 1


def test_a_wrong_word_is_one_line_of_what_was_expected(office: Office, tmp_path: Path) -> None:
    office.seen("pi4-1", 1024)
    latin = tmp_path / "serials.txt"
    latin.write_bytes("Küche-1\n".encode("latin-1"))
    invite = ("invite", "--fleet", "lab", "--listen", "127.0.0.1:0")
    said = {
        "(UTF-8) of serial numbers": (*invite, "--mode", "pre-authorised", "--serials", str(latin)),
        "--uses: expected 1 to 1,000,000": (*invite, "--uses", str(1 << 64)),
        "USER:PASSWORD@HOST:PORT/NAME": ("list", "--database", "postgresql://u@h:port/x"),
        "u@[bad; write an IPv6": ("list", "--database", "postgresql://u@[bad"),
        "expected a term": ("list", "!" * 1500 + "A/B"),
    }
    for expected, words in said.items():
        (line,) = office(*words, code=1).splitlines()
        assert line.startswith("error: "), line
        assert expected in line
    assert office.listed("!" * 1500 + "pi4-1") == ["pi4-1"]


def test_a_folder_that_is_not_there_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    assert main(["fleet", "list", "--run", str(gone)]) == 1
    assert f"expected a folder at {gone}" in capsys.readouterr().err
    assert main(["fleet", "invite", "--tls", str(gone)]) == 1
    assert "edgenas broker init" in capsys.readouterr().err
    assert not gone.exists()


def test_a_person_sees_who_asks_and_decides(office: Office) -> None:
    assert "no board has asked yet" in office("requests")
    office.asks("pi4-1", Mode.ASK, "s1")
    office.asks("pi4-2", Mode.ASK, "s2")
    said = office("requests")
    assert "waiting (a person has to accept it): pi4-1" in said
    assert "board s1" in said
    assert "os debian" in said
    accepted = office("accept", "pi4-1", "--note", "the hall")
    assert "pi4-1 is let in" in accepted
    assert "asks again, until\n2" in accepted
    assert "pi4-2 is turned away" in office("refuse", "pi4-2")
    decided = {
        row["device_id"]: row["decision"] for row in json.loads(office("requests", "--json"))
    }
    assert decided == {"pi4-1": "accepted", "pi4-2": "refused"}
    assert "waiting: none" in office("accept", "pi4-2", code=1)


def test_revoked_then_forgotten_then_seen_again(office: Office) -> None:
    office.asks("pi4-1", serial="s1")
    office.seen("pi4-1", 1024)
    office("tag", "pi4-1", "lab")
    assert "has one; run `edgenas fleet revoke pi4-1` first" in office("forget", "pi4-1", code=1)
    said = office("revoke", "pi4-1", "--why", "stolen")
    assert "1 certificates ended" in said
    assert "no broker runs from" in said
    assert "revoked" in office("list")
    assert "pi4-1 is forgotten" in office("forget", "pi4-1")
    assert office.listed() == []
    assert "edgenas fleet list" in office("forget", "pi4-1", code=1)
    office.seen("pi4-1", 2048)
    (row,) = json.loads(office("list", "--json"))
    assert (row["memory_bytes"], row["tags"]) == (2 << 30, [])
    with office.journal() as journal:
        actions = [entry.action for entry in journal.audit.entries()]
    assert actions[-4:] == [
        *("device.tagged", "device.revoked", "device.untagged", "device.forgotten"),
    ]
    assert main(["audit", "verify", "--database", str(office.database)]) == 0


def test_where_the_broker_cannot_be_asked_nothing_is_forgotten(office: Office) -> None:
    office.seen("pi4-1", 1024)
    plain = ("forget", "pi4-1", "--broker", "mqtt://127.0.0.1:1")
    assert "expected mqtts:// where certificates" in office(*plain, code=1)
    assert office.listed() == ["pi4-1"]


def test_forgetting_clears_what_the_broker_keeps() -> None:
    broker, topics, heard = MemoryBroker(), Topics("lab"), list[object]()
    device, host, later = (MemoryLink(broker, name) for name in ("pi4-1", "host", "later"))
    for link in (device, host):
        link.open(lambda _: None)
        link.wait_connected(WAIT_S)
    device.publish(topics.state("pi4-1"), b"x", retain=True)
    host.publish(topics.wish("pi4-1", "main"), b"x", retain=True)
    host.publish(topics.wish("pi4-2", "main"), b"x", retain=True)
    clear_topics(host, "lab", "pi4-1")
    later.subscribe("edgenas/#")
    later.open(heard.append)
    later.wait_connected(WAIT_S)
    eventually(lambda: any(getattr(event, "topic", "") for event in heard))
    for link in (device, host, later):
        link.close()
    assert [getattr(event, "topic", "") for event in heard if hasattr(event, "topic")] == [
        topics.wish("pi4-2", "main"),
    ]


def test_an_invitation_is_served_by_one_process_while_it_is_open(
    office: Office,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ("invite", "--fleet", "lab", "--listen", "127.0.0.1:0", "--ttl", "30m")
    assert "expected --serial" in office(*words, "--mode", "pre-authorised", code=1)
    assert "ADDRESS:PORT" in office("invite", "--listen", "nonsense", code=1)
    with office.site.sole_server():
        run = RunDir(tmp_path / "run")
        ensure_keys(run.keys)
        said = office(*words, "--run", str(run.path), "--database", str(office.database))
        assert "edgenas-device enroll edgenas1-" in said
        with office.journal() as journal:
            (invite,) = journal.enrolments.unexpired_invites(0)
        assert list(invite.verify_keys) == [
            (run.keys / name).read_text("ascii") for name in ("signing.pub", "spare.pub")
        ]
        assert main(["fleet", *words, "--tls", str(office.site.path)]) == 0
        told = capsys.readouterr()
        assert "edgenas-device enroll edgenas1-" in told.out
        assert "names no release key" in told.err
        assert invite.invite_id not in told.err
        assert "another `edgenas fleet invite` serves it" in said
    monkeypatch.setattr(enrolment_server, "LINGER_S", 0.0)
    monkeypatch.setattr(EnrolmentDesk, "open_invites", lambda _: [])
    assert "nobody is invited any more" in office(*words, "--reopen")
    with office.journal() as journal:
        assert [e.action for e in journal.audit.entries()] == ["device.invited"] * 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604800)]
)
def test_times_have_a_unit(text: str, seconds: float) -> None:
    assert duration(text) == seconds
    for wrong in ("", "1", "1y", "-1h", "1h30m"):
        with pytest.raises(ValueError):  # noqa: PT011
            duration(wrong)
