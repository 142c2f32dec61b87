"""Renews this board's certificate when two thirds of its life are over, for the key that it has.

What needs cryptography is done by a child process, on the worker; the new certificate replaces the
old one in one step, and is used from the next connection on. Leaves judging the request to the
host, and reading certificates to `firmware_bridge.certificates`.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from firmware_bridge.agent.children import ask_child
from firmware_bridge.certificates import Lifetime
from firmware_bridge.store.durable import replace_file
from firmware_bridge.wire.errors import StoreError
from firmware_bridge.wire.tls import TlsFiles

_log = logging.getLogger(__name__)

LOOK_S, ASK_AGAIN_S = 86_400.0, 3600.0
SOON_S = 30 * 86_400.0


@dataclass(frozen=True)
class Looked:
    """What a look at the certificate has shown, or a new one that was put in its place.

    Attributes:
        lifetime: When it holds.
        csr: A signing request for the next one, None if this one is new.
    """

    lifetime: Lifetime
    csr: str | None


class Renewal:
    """The certificate of one daemon. Everything but the tasks is for the main loop.

    Attributes:
        trouble: What an operator should know about the certificate, None for nothing.
    """

    name = "certificate"

    def __init__(
        self,
        files: TlsFiles,
        device_id: str,
        argv: Sequence[str],
        use: Callable[[ssl.SSLContext], None],
        ask: Callable[[str], None],
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            files: Authority, certificate and key, all of them named.
            device_id: The name in the certificate.
            argv: How to start Python.
            use: Given the settings that hold the new certificate.
            ask: Sends a signing request (PEM), when it is time for one.
            wall_s: What the clock says, seconds since 1970.
        """
        self._files = files
        self._device_id = device_id
        self._argv = tuple(argv)
        self._use = use
        self._ask = ask
        self._wall_s = wall_s
        self._look_s = 0.0
        self._offered: str | None = None
        self.trouble: str | None = None

    def offer(self, pem: str) -> None:
        """The host has sent a certificate; it is looked at by the next task."""
        self._offered = pem

    def next_task(self, now_s: float) -> Callable[[], Looked] | None:
        """What the worker should do now (`now_s` is monotonic), None for nothing."""
        if self._offered is not None:
            offered, self._offered = self._offered, None
            return partial(self._take, offered)
        if now_s < self._look_s:
            return None
        self._look_s = now_s + ASK_AGAIN_S  # also after a task that fails
        return self._look

    def finished(self, value: object, error: BaseException | None, now_s: float) -> None:
        """Take the end of a task in, and ask for a new certificate if it is time."""
        if not isinstance(value, Looked):
            self.trouble = f"certificate: {error}"
            return
        wall_s = self._wall_s()
        left_s = value.lifetime.ends_s - wall_s
        self.trouble = None
        if left_s < SOON_S:
            days = max(0, round(left_s / 86_400))
            self.trouble = f"the certificate ends in {days} days; run `edgenas fleet serve`"
        due = wall_s >= value.lifetime.renew_s
        self._look_s = now_s + (ASK_AGAIN_S if due else LOOK_S)
        if due and value.csr is not None:
            self._ask(value.csr)

    def _look(self) -> Looked:
        answer = self._child("look", b"")
        return Looked(_lifetime(answer), str(answer["csr"]))

    def _take(self, pem: str) -> Looked:
        """Check a certificate from the host and put it in the place of the old one.

        Raises:
            StoreError: It is not for this key and name, not newer, or cannot be kept.
        """
        assert self._files.certificate is not None
        lifetime = _lifetime(self._child("check", pem.encode()))
        before = _lifetime(self._child("look", b""))
        if lifetime.ends_s <= before.ends_s:
            return Looked(before, None)
        if not os.access(self._files.certificate.parent, os.W_OK):
            raise StoreError(
                f"expected to write {self._files.certificate}, may not; enrol the board with a "
                "token, which keeps the certificate where the daemon can renew it"
            )
        try:
            replace_file(self._files.certificate, pem.encode())
        except OSError as error:
            raise StoreError(f"expected to keep the new certificate, got {error}") from error
        context = self._files.context()
        assert context is not None
        self._use(context)
        _log.info("a new certificate, used from the next connection on")
        return Looked(lifetime, None)

    def _child(self, task: str, given: bytes) -> dict[str, object]:
        files = (self._files.certificate, self._files.key, self._files.ca)
        words = ("firmware_bridge.certificates", task, *map(str, files), self._device_id)
        return ask_child(self._argv, words, given)


def _lifetime(answer: dict[str, object]) -> Lifetime:
    begins_s, ends_s = answer["begins_s"], answer["ends_s"]
    assert isinstance(begins_s, float)
    assert isinstance(ends_s, float)
    return Lifetime(begins_s, ends_s)
