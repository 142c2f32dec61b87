"""Bundles and the links through which an application finds the one it should run.

    bundles/<id>/model.tflite, ...        one directory a bundle, complete from its first moment
    slots/<slot>/current -> ../../bundles/<id>
    slots/<slot>/previous -> ../../bundles/<id>

An application resolves `current` once and opens everything below that directory. The journal is
the truth and the links derive from it: `relink` can rebuild them at any time. Leaves to the agent
which bundle should run, and to the store the blobs that bundles are made of.
"""

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from firmware_bridge.store.durable import replace_file, replace_link, sync_directory

FILE_NAMES = {
    "model": "model.tflite",
    "labels": "labels.txt",
    "preproc": "preproc.json",
    "probe_input": "probe_input.bin",
    "probe_output": "probe_output.bin",
}

CURRENT = "current"
PREVIOUS = "previous"


class Slots:
    """The bundles and slots directories of one device."""

    def __init__(self, root: Path, stamp_directory: Path) -> None:
        """Create missing directories.

        Args:
            root: State directory of the daemon.
            stamp_directory: Where `<slot>.stamp` is replaced after a change of `current`, so that
                an application can watch one file.
        """
        self._bundles = root / "bundles"
        self._slots = root / "slots"
        self._stamps = stamp_directory
        for directory in (self._bundles, self._slots, self._stamps):
            directory.mkdir(parents=True, exist_ok=True)
        self._drop_unfinished()

    def bundle(self, bundle_id: str) -> Path:
        """Where the files of a bundle are, installed or not."""
        return self._bundles / bundle_id

    def model(self, bundle_id: str) -> Path:
        """The model file of a bundle."""
        return self.bundle(bundle_id) / FILE_NAMES["model"]

    def install(self, bundle_id: str, files: Mapping[str, Path], manifest: bytes) -> Path:
        """Make the directory of a bundle out of verified blobs; harmless if it exists already.

        Args:
            bundle_id: Digest over the roles and files.
            files: Role to verified file; hard links are made, copies across file systems.
            manifest: The signed manifest's exact bytes, kept beside the files.

        Returns:
            The directory of the bundle.

        Raises:
            OSError: The disk is full or not writable.
        """
        final = self.bundle(bundle_id)
        building = self._bundles / f".{bundle_id}.tmp"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        for role, source in files.items():
            _link_or_copy(source, building / FILE_NAMES[role])
        replace_file(building / "release.json", manifest)
        if final.exists():
            _replace_contents(building, final)
        else:
            os.replace(building, final)
        sync_directory(self._bundles)
        return final

    def point(self, slot: str, link: str, bundle_id: str | None) -> None:
        """Let `link` (CURRENT or PREVIOUS) of `slot` name a bundle, or nothing; atomic."""
        directory = self._slots / slot
        directory.mkdir(exist_ok=True)
        if bundle_id is None:
            (directory / link).unlink(missing_ok=True)
            sync_directory(directory)
        else:
            replace_link(directory / link, os.path.join("..", "..", "bundles", bundle_id))
        if link == CURRENT:
            replace_file(self._stamps / f"{slot}.stamp", f"{bundle_id or ''}\n".encode())

    def pointed(self, slot: str, link: str = CURRENT) -> str | None:
        """Which bundle `link` of `slot` names now."""
        try:
            return Path(os.readlink(self._slots / slot / link)).name
        except FileNotFoundError:
            return None

    def relink(self, slot: str, current: str | None, previous: str | None) -> bool:
        """Make both links of `slot` say what the journal says; returns whether one was wrong."""
        changed = False
        for link, bundle_id in ((CURRENT, current), (PREVIOUS, previous)):
            if self.pointed(slot, link) != bundle_id:
                self.point(slot, link, bundle_id)
                changed = True
        return changed

    def collect(self, keep: Collection[str]) -> list[str]:
        """Remove every bundle that is not in `keep`; returns the removed ids."""
        removed = [entry.name for entry in self._bundles.iterdir() if entry.name not in keep]
        for bundle_id in removed:
            shutil.rmtree(self._bundles / bundle_id, ignore_errors=True)
        return removed

    def _drop_unfinished(self) -> None:
        for leftover in self._bundles.glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)


def _replace_contents(source: Path, destination: Path) -> None:
    """A bundle of the same id holds the same model; only probes and the manifest may be newer."""
    for entry in source.iterdir():
        os.replace(entry, destination / entry.name)
    sync_directory(destination)
    source.rmdir()


def _link_or_copy(source: Path, destination: Path) -> None:
    try:
        os.link(source, destination)
    except OSError:
        replace_file(destination, source.read_bytes(), mode=0o444)
