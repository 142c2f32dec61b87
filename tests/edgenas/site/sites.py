"""A broker's folder and mosquitto running from it as a user starts it; clients with certificates.

What is tried on them is left to the tests.
"""

from __future__ import annotations

import queue
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgenas.site.access import SiteAccess
from edgenas.site.authority import now_utc
from edgenas.site.folder import SiteFolder, SiteSettings
from firmware_bridge.wire.backoff import Backoff
from firmware_bridge.wire.link import Disconnected, LinkEvent, Received
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.tls import TlsFiles
from tests.firmware_bridge.wire.brokers import PROJECT, free_port

WAIT_S = 60.0
MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
NEEDS_MOSQUITTO = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")

_CONNECT = bytes.fromhex("10 0f 0004 4d515454 04 02 001e 0003 616263")  # MQTT 3.1.1, client abc


class Site:
    """A folder made by `init`; `start` runs its mosquitto through the command line."""

    def __init__(self, path: Path) -> None:
        self.port = free_port()
        self.folder = SiteFolder(path)
        self.settings = SiteSettings(("127.0.0.1", "localhost"), self.port, "127.0.0.1", "root")
        self.folder.prepare(self.settings, now_utc())
        self.url = self.settings.url
        self._process: subprocess.Popen[bytes] | None = None
        self._links: list[MqttLink] = []
        self.log = path / "mosquitto.log"

    def start(self) -> None:
        words = [sys.executable, "-m", "edgenas.cli.main", "broker", "run", str(self.folder.path)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, cwd=PROJECT)
        deadline_s = time.monotonic() + WAIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self._process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline_s, self.log.read_text()
                time.sleep(0.05)

    def stop(self) -> int:
        """Stop clients and broker; the status that the command ended with."""
        for link in self._links:
            link.close()
        self._links.clear()
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        return process.wait(WAIT_S)

    def device(self, name: str) -> Certificate:
        """A certificate from the site's authority, and the key that belongs to it."""
        issued, key = self.folder.authority.issue_with_key(name, now_utc(), 30)
        return Certificate(self.folder, name, issued.pem, key, issued.serial)

    def host(self) -> Client:
        return self.client("host", SiteAccess(self.folder.path).host())

    def client(self, name: str, context: ssl.SSLContext) -> Client:
        soon = Backoff(random.Random(), 0.02, 0.1)  # mosquitto hangs up on who is refused a message
        link = MqttLink(self.url, name, tls=context, session_expiry_s=0, backoff=soon)
        self._links.append(link)
        return Client(link)


class Certificate:
    """A device's certificate on disk."""

    def __init__(self, site: SiteFolder, name: str, pem: bytes, key: bytes, serial: str) -> None:
        self.serial = serial
        folder = site.path / "devices"
        folder.mkdir(exist_ok=True)
        self.files = TlsFiles(site.host / "ca.pem", *_pair(folder, f"{name}-{serial[:8]}"))
        assert self.files.certificate is not None
        assert self.files.key is not None
        self.files.certificate.write_bytes(pem)
        self.files.key.write_bytes(key)

    def context(self) -> ssl.SSLContext:
        context = self.files.context()
        assert context is not None
        return context


def _pair(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.pem", folder / f"{name}.key"


class Client:
    """A link and what came over it."""

    def __init__(self, link: MqttLink) -> None:
        self.link = link
        self.heard: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self.lost: list[Disconnected] = []

    def open(self, *filters: str) -> Client:
        self.link.subscribe(*filters)
        self.link.open(self._take)
        self.link.wait_connected(WAIT_S)
        return self

    def _take(self, event: LinkEvent) -> None:
        if isinstance(event, Received):
            self.heard.put(event)
        elif isinstance(event, Disconnected):
            self.lost.append(event)

    def next_topic(self) -> str:
        """The topic of the next message, which must come."""
        return self.heard.get(timeout=WAIT_S).topic


def connack(port: int, context: ssl.SSLContext | None) -> bytes:
    """What the broker answers to a CONNECT; nothing if it hangs up instead."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as plain:
        try:
            stream = context.wrap_socket(plain, server_hostname="127.0.0.1") if context else plain
            with stream:
                stream.sendall(_CONNECT)
                return stream.recv(4)
        except (ssl.SSLError, ConnectionError):
            return b""


def eventually(so: Callable[[], bool]) -> None:
    """Wait until something is so that another process brings about."""
    deadline_s = time.monotonic() + WAIT_S
    while not so():
        assert time.monotonic() < deadline_s, "it did not come about"
        time.sleep(0.05)
