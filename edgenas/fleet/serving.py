"""Answers devices that pull blobs: stateless chunks by offset, or a refusal with a reason.

Called on the host's inbox thread, so that a transfer never waits for the caller's own work. Who
may have which blob is decided by the desks that know jobs and wishes; the device keeps the window.
"""

import logging

from edgenas.fleet.clock import Clock
from edgenas.fleet.errors import ShelfError
from edgenas.fleet.post import Post
from edgenas.fleet.shelf import BlobShelf
from firmware_bridge.wire.blobs import chunk_offsets
from firmware_bridge.wire.messages import BlobRefused, BlobRequest
from firmware_bridge.wire.values import BlobRef

_log = logging.getLogger(__name__)

MAX_TRANSFERS = 16
WAIT_MS = 1_000
LACKING_MS = 60_000  # for bytes that another process has to bring; devices wait no longer at once
_IDLE_AFTER_S = 2.0


class BlobDesk:
    """Serves chunks from the shelf to at most `MAX_TRANSFERS` transfers at a time."""

    def __init__(self, shelf: BlobShelf, post: Post, clock: Clock) -> None:
        self._shelf = shelf
        self._post = post
        self._clock = clock
        self._active: dict[tuple[str, str], float] = {}
        self._lacking: set[str] = set()

    def has(self, ref: BlobRef) -> bool:
        """Whether a blob can be served here."""
        return self._shelf.size_of(ref.sha256) == ref.size_bytes

    def answer(
        self,
        device_id: str,
        request: BlobRequest,
        allowed: BlobRef | None,
        *,
        wished: bool = False,
    ) -> int:
        """Answer one request; returns how many bytes of the blob were sent.

        Args:
            device_id: Who asks.
            request: What it asks for.
            allowed: The blob as a job or wish of this device names it, None if none does.
            wished: It is a wish that names it. A wish stays in force from process to process, so
                that a device is never told for good that the bytes are not to be had.
        """
        if allowed is None:
            self._refuse(device_id, request.digest, BlobRefused(code="NOT_ALLOWED"))
            return 0
        refusal = self._refusal(device_id, allowed, wished)
        if refusal is not None:
            self._refuse(device_id, request.digest, refusal)
            return 0
        try:
            return self._send(device_id, request, allowed)
        except ShelfError as error:
            _log.error("%s", error)
            self._refuse(device_id, request.digest, self._not_here(allowed, wished))
            return 0

    def _refuse(self, device_id: str, digest: str, refusal: BlobRefused) -> None:
        _log.info("device %s: blob %s: %s", device_id, digest[:12], refusal.code)
        self._post.refuse(device_id, digest, refusal)

    def _refusal(self, device_id: str, allowed: BlobRef, wished: bool) -> BlobRefused | None:
        if not self.has(allowed):
            return self._not_here(allowed, wished)
        if not self._has_room(device_id, allowed.sha256):
            return BlobRefused(code="WAIT", wait_ms=WAIT_MS)
        return None

    def _not_here(self, ref: BlobRef, wished: bool) -> BlobRefused:
        if not wished:
            return BlobRefused(code="NOT_FOUND")
        if ref.sha256 not in self._lacking:
            self._lacking.add(ref.sha256)
            _log.error(
                "expected blob %s, which a wish names, on the shelf, got none; its devices wait: "
                "start a host with the run folder that shipped it",
                ref.sha256,
            )
        return BlobRefused(code="WAIT", wait_ms=LACKING_MS)

    def _has_room(self, device_id: str, digest: str) -> bool:
        now_s = self._clock.monotonic_s()
        self._active = {k: s for k, s in self._active.items() if now_s - s < _IDLE_AFTER_S}
        key = (device_id, digest)
        if key not in self._active and len(self._active) >= MAX_TRANSFERS:
            return False
        self._active[key] = now_s
        return True

    def _send(self, device_id: str, request: BlobRequest, allowed: BlobRef) -> int:
        size, chunk, sent = allowed.size_bytes, allowed.chunk_bytes, 0
        for offset in chunk_offsets(request, size, chunk):
            content = self._shelf.read(request.digest, offset, min(chunk, size - offset))
            self._post.chunk(device_id, request.digest, offset, content)
            sent += len(content)
            if offset + chunk >= size:
                self._active.pop((device_id, request.digest), None)
        return sent
