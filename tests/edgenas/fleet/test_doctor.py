"""A board's doctor gets its answer from a real host: rights are proved, nothing is left behind."""

from pathlib import Path

from edgenas.broker import BrokerThread
from edgenas.fleet.host import FleetHost
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.shelf import BlobShelf
from firmware_bridge.doctor.rights import Conversation, Identity, check_broker
from firmware_bridge.wire.mqtt import MqttLink

WHO = Identity("lab", "board-1")


def test_a_host_refuses_what_doctor_asks_for(tmp_path: Path) -> None:
    journal = FleetJournal(tmp_path / "fleet.sqlite")
    with BrokerThread() as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        host = FleetHost(MqttLink(url, "host-lab"), "lab", BlobShelf(tmp_path / "shelf"), journal)
        with host:
            heard = Conversation(url, WHO, None).hold()
            codes = [finding.code for finding in check_broker(url, WHO)]
            assert (heard.host_online, heard.host_answered) == (True, True)
            assert codes == ["", "rights-too-wide"]  # this broker has no rules
            assert host.devices() == []
    journal.close()
