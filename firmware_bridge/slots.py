"""Bundles and the links through which an application finds the one it should run.

    bundles/<id>/model.tflite, ...        one directory a bundle, complete from its first moment
    slots/<slot>/current -> ../../bundles/<id>
    slots/<slot>/previous -> ../../bundles/<id>

An application resolves `current` once and opens everything below that directory. The journal is
the truth and the links derive from it: `relink` can rebuild them at any time. Leaves to the agent
which bundle should run, and to the store the blobs that bundles are made of.
"""

import logging
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from firmware_bridge.bench.container import file_format_of
from firmware_bridge.faults import FAULTS
from firmware_bridge.store.durable import move_file, replace_file, replace_link, sync_directory
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.release import ReleaseManifest
from firmware_bridge.wire.values import MANIFEST_CAP_BYTES

FILE_NAMES = {
    "model": "model.tflite",
    "labels": "labels.txt",
    "preproc": "preproc.json",
    "head": "head.json",
    "probe_input": "probe_input.bin",
    "probe_output": "probe_output.bin",
}

ONNX_MODEL = "model.onnx"  # the model's name where it is one
MANIFEST_NAME = "release.json"
SLOTS_NAME = "slots"
CURRENT = "current"
PREVIOUS = "previous"

_log = logging.getLogger(__name__)


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
        self._slots = root / SLOTS_NAME
        self._stamps = stamp_directory
        for directory in (self._bundles, self._slots, self._stamps):
            directory.mkdir(parents=True, exist_ok=True)
        self._drop_unfinished()

    def bundle(self, bundle_id: str) -> Path:
        """Where the files of a bundle are, installed or not."""
        return self._bundles / bundle_id

    def model(self, bundle_id: str) -> Path:
        """The model file of a bundle: model.tflite or model.onnx."""
        return self.file(bundle_id, "model")

    def file(self, bundle_id: str, role: str) -> Path:
        """Where a file of a bundle lies, or would lie."""
        bundle = self.bundle(bundle_id)
        if role == "model" and (bundle / ONNX_MODEL).exists():
            return bundle / ONNX_MODEL
        return bundle / FILE_NAMES[role]

    def manifest(self, bundle_id: str) -> ReleaseManifest | None:
        """The manifest that an installed bundle came with, None if there is none to read."""
        try:
            return ReleaseManifest.from_bytes(self.manifest_bytes(bundle_id))
        except WireError:
            return None

    def manifest_bytes(self, bundle_id: str) -> bytes:
        """The very bytes that were signed; empty if they cannot be read.

        No more of a damaged file than would be too much for a manifest.
        """
        try:
            with (self.bundle(bundle_id) / MANIFEST_NAME).open("rb") as stream:
                return stream.read(MANIFEST_CAP_BYTES + 1)
        except OSError:
            return b""

    def names(self) -> list[str]:
        """Every slot that has a directory, by name."""
        return sorted(entry.name for entry in self._slots.iterdir() if entry.is_dir())

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
            _link_or_copy(source, building / _file_name(role, source))
        replace_file(building / MANIFEST_NAME, manifest)
        if final.exists():
            _replace_contents(building, final)
            sync_directory(self._bundles)
        else:
            move_file(building, final)
        return final

    def point(self, slot: str, link: str, bundle_id: str | None) -> None:
        """Let `link` (CURRENT or PREVIOUS) of `slot` name a bundle, or nothing; atomic.

        Whoever changes CURRENT calls `stamp` once the change is written down.
        """
        directory = self._slots / slot
        directory.mkdir(exist_ok=True)
        if bundle_id is None:
            FAULTS.before(f"remove link {link}")
            (directory / link).unlink(missing_ok=True)
            sync_directory(directory)
            FAULTS.after(f"remove link {link}")
        else:
            replace_link(directory / link, os.path.join("..", "..", "bundles", bundle_id))

    def stamp(self, slot: str) -> bool:
        """Tell applications what `current` names; False if they were told so already.

        The file is replaced only when its content changes, since they wake up on every change.
        """
        path, content = self._stamps / f"{slot}.stamp", f"{self.pointed(slot) or ''}\n".encode()
        try:
            if path.read_bytes() == content:
                return False
        except FileNotFoundError:
            self._stamps.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
        return True

    def pointed(self, slot: str, link: str = CURRENT) -> str | None:
        """Which bundle `link` of `slot` names now."""
        try:
            return Path(os.readlink(self._slots / slot / link)).name
        except FileNotFoundError:
            return None

    def relink(self, slot: str, current: str | None, previous: str | None) -> bool:
        """Make links and stamp of `slot` say what the journal says; whether a link was wrong.

        A stamp that cannot be written is logged and left: what runs is decided by the links.

        Raises:
            OSError: A link could not be made.
        """
        changed = False
        for link, bundle_id in ((CURRENT, current), (PREVIOUS, previous)):
            if self.pointed(slot, link) != bundle_id:
                self.point(slot, link, bundle_id)
                changed = True
        try:
            self.stamp(slot)
        except OSError as error:
            _log.error("applications are not told of slot %s: %s", slot, error)
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
        move_file(entry, destination / entry.name)
    shutil.rmtree(source)  # a rename onto another link of the same file leaves its source


def _file_name(role: str, source: Path) -> str:
    """Applications open the model by its name, and some runtimes go by its ending."""
    is_onnx = role == "model" and file_format_of(source) == "onnx"
    return ONNX_MODEL if is_onnx else FILE_NAMES[role]


def _link_or_copy(source: Path, destination: Path) -> None:
    FAULTS.before(f"link {destination.name}")
    try:
        os.link(source, destination)
    except OSError:
        replace_file(destination, source.read_bytes(), mode=0o444)
