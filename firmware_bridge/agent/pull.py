"""Pulls one blob from the host, chunk by chunk, into the store; runs on the worker thread.

Leaves the order of requests to `window`, the bytes to the store, and what a failure means to the
caller.
"""

import errno
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.agent.mailbox import Chunk, Mailbox
from firmware_bridge.agent.window import Window
from firmware_bridge.store.blobs import BlobStore
from firmware_bridge.store.partial import PartialBlob
from firmware_bridge.wire.blobs import REASK_AFTER_S
from firmware_bridge.wire.errors import (
    BlobCorruptError,
    BlobNotAllowedError,
    BlobNotFoundError,
    BlobStalledError,
    NoSpaceError,
    StoreError,
)
from firmware_bridge.wire.messages import BlobRefused, BlobRequest
from firmware_bridge.wire.values import BlobRef

POLL_S = 0.2
_FULL = (errno.ENOSPC, errno.EDQUOT)

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Puller:
    """What every transfer needs.

    Attributes:
        store: Where blobs go.
        mailbox: Where chunks come in.
        ask: Publishes a request.
        check: Raises if the work should stop: cancelled, or past its deadline.
        silence_s: Seconds of silence before asking again.
        clock: Monotonic seconds.
        online: Whether there is a connection; without one, silence says nothing about the host.
    """

    store: BlobStore
    mailbox: Mailbox
    ask: Callable[[BlobRequest], None]
    check: Callable[[], None]
    silence_s: float = REASK_AFTER_S
    clock: Callable[[], float] = time.monotonic
    online: Callable[[], bool] = lambda: True

    def pull(self, ref: BlobRef, keep: Collection[str], progress: Progress) -> Path:
        """Return the verified file, transferring only what is missing.

        Args:
            ref: What to pull.
            keep: Digests that must not make room for it.
            progress: Told the bytes present after every chunk.

        Raises:
            NoSpaceError: It does not fit.
            BlobNotFoundError: The host does not have it.
            BlobNotAllowedError: The host may not send it to this device.
            BlobStalledError: The host went silent.
            BlobCorruptError: Two transfers in a row gave other bytes than the digest names.
        """
        if self.store.has(ref):
            return self.store.path(ref.sha256)
        try:
            return self._transfer(ref, keep, progress)
        except BlobCorruptError:
            return self._transfer(ref, keep, progress)

    def _transfer(self, ref: BlobRef, keep: Collection[str], progress: Progress) -> Path:
        self.mailbox.open(ref.sha256)
        try:
            partial = self.store.begin(ref, keep)
            try:
                self._fill(partial, progress)
                return partial.finish()
            finally:
                partial.close()
        except OSError as error:
            kind = NoSpaceError if error.errno in _FULL else StoreError
            raise kind(f"expected to store blob {ref.sha256}, got {error}") from error
        finally:
            self.mailbox.close()

    def _fill(self, partial: PartialBlob, progress: Progress) -> None:
        window = Window(partial.map, self.clock(), self.silence_s)
        while not partial.map.complete:
            self.check()
            if not self.online():
                window.lost_connection(self.clock())
            while (request := window.next_request(self.clock())) is not None:
                self.ask(BlobRequest(digest=partial.ref.sha256, first=request[0], want=request[1]))
            if window.stalled:
                raise BlobStalledError(
                    partial.ref.sha256,
                    f"expected chunks, got none in {self.silence_s:g} s, many times over; "
                    "check that the host runs, then send the job again",
                )
            item = self.mailbox.take(min(window.next_moment_s() - self.clock(), POLL_S))
            if isinstance(item, BlobRefused):
                _obey(item, partial.ref.sha256, window, self.clock())
            elif isinstance(item, Chunk) and partial.write(item.offset, item.data):
                window.arrived(item.offset, self.clock())
                progress(partial.map.bytes_done)


def _obey(refused: BlobRefused, digest: str, window: Window, now_s: float) -> None:
    if refused.code == "NOT_FOUND":
        raise BlobNotFoundError(digest, "the host does not have it; add the file at the host")
    if refused.code == "WAIT":
        window.told_to_wait(refused.wait_ms, now_s)
        return
    raise BlobNotAllowedError(
        digest, f"the host refused with {refused.code}; name it in a job or wish for this device"
    )
