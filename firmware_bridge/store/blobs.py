"""Blobs on the device, named by their SHA-256, under a disk cap.

    blobs/sha256/<hex>            verified, read-only
    blobs/<hex>.part, <hex>.map   a transfer that can go on after a restart (see `partial`)

Leaves asking for chunks to the agent, and the rule which blobs are needed to the caller's `keep`.
"""

import os
from collections.abc import Callable, Collection
from pathlib import Path

from firmware_bridge.store.partial import PartialBlob
from firmware_bridge.wire.errors import NoSpaceError
from firmware_bridge.wire.values import BlobRef, check_sha256

MIB = 1 << 20
RESERVE_SHARE = 0.05
RESERVE_BYTES = 256 * MIB


class BlobStore:
    """The blobs directory; the least recently used blobs make room for new ones."""

    def __init__(
        self,
        root: Path,
        *,
        cap_bytes: int,
        reserve_bytes: int | None = None,
        statvfs: Callable[[Path], os.statvfs_result] = os.statvfs,
    ) -> None:
        """Create missing directories.

        Args:
            root: State directory of the daemon.
            cap_bytes: Most bytes that all blobs and unfinished transfers may take.
            reserve_bytes: Bytes of the disk to leave free; by default 5 % and at least 256 MiB.
            statvfs: How to ask for the free space.
        """
        self._directory = root / "blobs"
        self._verified = self._directory / "sha256"
        self._verified.mkdir(parents=True, exist_ok=True)
        self._cap_bytes = cap_bytes
        self._reserve_bytes = reserve_bytes
        self._statvfs = statvfs
        self._pinned: Callable[[], Collection[str]] = frozenset

    def pin(self, pinned: Callable[[], Collection[str]]) -> None:
        """Never evict the digests that `pinned` names when room is looked for."""
        self._pinned = pinned

    def path(self, digest: str) -> Path:
        """Where the blob `digest` is or would be."""
        return self._verified / check_sha256(digest)

    def has(self, ref: BlobRef) -> bool:
        """Whether the verified blob is here with the right length; counts as a use of it."""
        path = self.path(ref.sha256)
        try:
            if path.stat().st_size != ref.size_bytes:
                return False
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def free_bytes(self) -> int:
        """Bytes that an unprivileged process may still write on this disk."""
        answer = self._statvfs(self._directory)
        return answer.f_bavail * answer.f_frsize

    def room_bytes(self) -> int:
        """Bytes that new blobs may take if every blob that is not pinned makes room.

        A blob that an installed bundle is linked to frees nothing on the disk when it goes.
        """
        pinned = self._pinned()
        files = [(path.stem, path.stat()) for path in self._files()]
        kept = sum(stat.st_size for digest, stat in files if digest in pinned)
        freed = sum(s.st_size for digest, s in files if digest not in pinned and s.st_nlink == 1)
        return max(0, min(self._cap_bytes - kept, freed + self.free_bytes() - self._reserve()))

    def begin(self, ref: BlobRef, keep: Collection[str]) -> PartialBlob:
        """Make room for `ref` and start its transfer, or go on with one that was cut off.

        Args:
            ref: Digest, length and chunk size.
            keep: Digests that must not be evicted, besides the pinned ones.

        Raises:
            NoSpaceError: The blob does not fit even after evicting all that may go.
        """
        partial = PartialBlob(self._directory, self._verified, ref)
        try:
            keep = {*keep, *self._pinned(), ref.sha256}
            self._make_room(ref.size_bytes - partial.allocated_bytes, keep)
            partial.open()
        except OSError as error:
            partial.close()
            raise NoSpaceError(f"expected to write {partial.part_path}, got {error}") from error
        return partial

    def trim(self) -> list[str]:
        """Let blobs go while others fill the disk; returns the digests that went.

        Cheap as long as the reserve is free.
        """
        if self.free_bytes() >= self._reserve():
            return []
        gone: list[str] = []
        for digest in self._evictable(self._pinned()):
            if self.free_bytes() >= self._reserve():
                break
            self.discard(digest)
            gone.append(digest)
        return gone

    def discard(self, digest: str) -> None:
        """Forget the blob `digest` and any transfer of it."""
        for path in (
            self.path(digest),
            self._directory / f"{digest}.part",
            self._directory / f"{digest}.map",
        ):
            path.unlink(missing_ok=True)

    def _make_room(self, needed_bytes: int, keep: Collection[str]) -> None:
        for digest in self._evictable(keep):
            if self._shortage(needed_bytes) <= 0:
                return
            self.discard(digest)
        shortage = self._shortage(needed_bytes)
        if shortage > 0:
            raise NoSpaceError(
                f"expected room for {needed_bytes} B more blobs, got {shortage} B too few "
                f"(cap {self._cap_bytes} B, disk free {self.free_bytes()} B); "
                "raise --disk-cap-mb or free disk space"
            )

    def _shortage(self, needed_bytes: int) -> int:
        over_cap = self._used_bytes() + needed_bytes - self._cap_bytes
        return max(over_cap, needed_bytes + self._reserve() - self.free_bytes())

    def _reserve(self) -> int:
        if self._reserve_bytes is not None:
            return self._reserve_bytes
        answer = self._statvfs(self._directory)
        return max(RESERVE_BYTES, int(RESERVE_SHARE * answer.f_blocks * answer.f_frsize))

    def _files(self) -> list[Path]:
        listed = [*self._directory.iterdir(), *self._verified.iterdir()]
        return [path for path in listed if path.is_file()]

    def _used_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._files())

    def _evictable(self, keep: Collection[str]) -> list[str]:
        """Digests that may go, the least recently used first."""
        last_use: dict[str, float] = {}
        for path in self._files():
            used = path.stat().st_mtime
            last_use[path.stem] = max(used, last_use.get(path.stem, used))
        return sorted((d for d in last_use if d not in keep), key=lambda digest: last_use[digest])
