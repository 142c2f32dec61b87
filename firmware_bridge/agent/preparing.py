"""Brings a wished release as far as STAGED: checked, downloaded, verified, tried.

Nothing has changed until then; runs on the worker thread. Whatever goes wrong ends the deployment
with the old model untouched.
Leaves the switch itself to `activating`.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_bridge.agent.acceptance import Accepted, DeviceView, Rejected, judge
from firmware_bridge.agent.book import DeploymentBook, Ending
from firmware_bridge.agent.failures import code_of
from firmware_bridge.agent.measuring import MakePuller, Measure
from firmware_bridge.agent.progress import Progress
from firmware_bridge.agent.pull import Progress as PullProgress
from firmware_bridge.agent.pull import Puller
from firmware_bridge.agent.trial import Tried, judge_trial, majority, trial_of, trial_plan
from firmware_bridge.agent.worker import Cancelled
from firmware_bridge.bench.plan import GoldenFile, MeasurePlan
from firmware_bridge.bench.supervise import SelfTest
from firmware_bridge.slots import FILE_NAMES, Slots
from firmware_bridge.store.blobs import BlobStore
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.errors import BlobCorruptError, BlobStalledError, WireError
from firmware_bridge.wire.messages import ErrorNote, Measurement, Wish
from firmware_bridge.wire.release import Limits, ReleaseFile, ReleaseManifest
from firmware_bridge.wire.values import BlobRef

STALL_TRIES = 3
SELF_TEST_TRIES = 2
TRIAL_LOCK_S = 120.0  # the host gives a deployment up that is silent for five minutes

SelfTester = Callable[[Path, GoldenFile | None, int], SelfTest]


@dataclass(frozen=True)
class Instruments:
    """What deploying uses of the rest of the device.

    Attributes:
        book: Where every step is written down.
        slots: Bundles and links.
        blobs: Verified blobs.
        make_puller: Builds a puller around a stop check.
        measure: Runs a trial.
        self_test: Runs a model on its probe in a child: model, probe, tolerance in codes.
        view: Describes the device for the checks, free bytes as of now.
        check: Raises if the worker was told to stop.
        threads: Threads for a trial that names none.
    """

    book: DeploymentBook
    slots: Slots
    blobs: BlobStore
    make_puller: MakePuller
    measure: Measure
    self_test: SelfTester
    view: Callable[[], DeviceView]
    check: Callable[[], None]
    threads: int


class Preparing:
    """OFFERED to STAGED, or to an end without a change."""

    def __init__(self, instruments: Instruments) -> None:
        self._use = instruments

    def run(self, slot: str) -> None:
        """Prepare what the slot's newest wish asks for.

        Raises:
            Cancelled: The worker was told to stop; the caller knows why.
        """
        try:
            self._prepare(slot)
        except Cancelled:
            raise
        except Exception as error:
            code, retryable = code_of(error)
            note = ErrorNote(code, str(error) or type(error).__name__)
            self._fail(slot, code.lower(), (note,), retryable=retryable)

    def _prepare(self, slot: str) -> None:
        row = self._use.book.journal.slots.get(slot)
        wish = wish_of(row.wish)
        if wish is None or wish.release is None or wish.deployment != row.deployment:
            raise Cancelled
        verdict = judge(wish.release, row, self._use.view())
        if isinstance(verdict, Rejected):
            note = ErrorNote(verdict.code, verdict.text)
            self._use.book.end(slot, Ending("REJECTED", verdict.code, (note,)))
        elif verdict.already_installed:
            ending = Ending("SUCCEEDED", "already_installed")
            self._use.book.end(slot, ending, **_trusted(verdict))
        else:
            self._take(slot, verdict)

    def _take(self, slot: str, accepted: Accepted) -> None:
        manifest, book = accepted.manifest, self._use.book
        mode, bundle = manifest.mode, accepted.bundle
        book.enter(slot, "ACCEPTED", target=bundle, mode=mode, **_trusted(accepted))
        if bundle is not None:
            book.enter(slot, "DOWNLOADING")
            files = self._download(slot, manifest)
            book.enter(slot, "VERIFYING")
            self._use.slots.install(bundle, files, accepted.raw)
            if not self._passes(slot, manifest, bundle):
                return
        book.enter(slot, "STAGED")

    def _passes(self, slot: str, manifest: ReleaseManifest, bundle: str) -> bool:
        """Whether an installed bundle gives its probe's output and stays within its limits."""
        probe, model = probe_of(self._use.slots.bundle(bundle)), self._use.slots.model(bundle)
        tested = self._self_tested(model, probe, manifest.probe_tolerance_lsb)
        if not tested.ok:
            note = ErrorNote("self_test", tested.detail or "no detail")
            self._fail(slot, "self_test", (note,))
            return False
        return self._passes_trial(slot, manifest, probe)

    def _self_tested(self, model: Path, probe: GoldenFile | None, tolerance_lsb: int) -> SelfTest:
        """A child that gave no answer at all may have met a bad moment: it gets another one."""
        for tries_left in reversed(range(SELF_TEST_TRIES)):
            tested = self._use.self_test(model, probe, tolerance_lsb)
            self._use.check()
            if tested.ok or tested.max_lsb is not None or not tries_left:
                break
        return tested

    def _passes_trial(self, slot: str, manifest: ReleaseManifest, probe: GoldenFile | None) -> bool:
        """A way back is not tried: it must get through on the worst of days."""
        trial = trial_of(manifest, self._use.threads)
        if trial is None or manifest.mode == "back":
            return True
        row = self._use.book.journal.slots.get(slot)
        incumbent = self._use.slots.model(row.committed) if row.committed else None
        model = self._use.slots.model(manifest.bundle_id())
        plan = trial_plan(trial, model, incumbent, probe)
        outcome, failure = majority(lambda: self._tried(slot, plan, manifest.limits))
        if isinstance(outcome, Measurement):
            self._use.book.keep_trial(slot, outcome)
        if failure is None:
            return True
        self._fail(slot, failure.code, failure.notes, retryable=failure.retryable)
        return False

    def _tried(self, slot: str, plan: MeasurePlan, limits: Limits) -> Tried:
        self._use.book.note(slot, "VERIFYING", detail="trial")
        outcome = self._use.measure(plan, TRIAL_LOCK_S)
        self._use.check()
        return outcome, judge_trial(outcome, limits)

    def _download(self, slot: str, manifest: ReleaseManifest) -> dict[str, Path]:
        puller = self._use.make_puller(self._use.check)
        keep = frozenset(entry.sha256 for entry in manifest.files)
        total = sum(entry.size_bytes for entry in manifest.files)

        def report(done: int) -> None:
            self._use.book.note(slot, "DOWNLOADING", bytes_done=done)

        progress = Progress(total, report, time.monotonic)
        paths: dict[str, Path] = {}
        for entry in manifest.files:
            ref = entry.blob()
            paths[entry.role] = self._here(manifest, entry) or _pulled(
                puller, ref, keep, progress.within_blob
            )
            _check_bytes(paths[entry.role], ref, self._use.blobs)
            progress.blob_done(ref.size_bytes)
        return paths

    def _here(self, manifest: ReleaseManifest, entry: ReleaseFile) -> Path | None:
        """The file in a bundle that is installed already: going back needs no download."""
        path = self._use.slots.file(manifest.bundle_id(), entry.role)
        try:
            return path if _sha256(path) == entry.sha256 else None
        except FileNotFoundError:
            return None

    def _fail(
        self, slot: str, code: str, notes: tuple[ErrorNote, ...], *, retryable: bool = False
    ) -> None:
        ending = Ending("FAILED_NO_STATE_CHANGE", code, notes, retryable)
        self._use.book.end(slot, ending)


def wish_of(text: str | None) -> Wish | None:
    """The wish in a slot row, or None."""
    if text is None:
        return None
    try:
        message = decode(text.encode(), Wish.cap_bytes).message
    except WireError:
        return None
    return message if isinstance(message, Wish) else None


def probe_of(bundle: Path) -> GoldenFile | None:
    """The probe of an installed bundle (one input and its output), or None if it has none."""
    given, expected = bundle / FILE_NAMES["probe_input"], bundle / FILE_NAMES["probe_output"]
    if not (given.exists() and expected.exists()):
        return None
    return GoldenFile(given, 1, expected.read_bytes())


def _trusted(accepted: Accepted) -> dict[str, Any]:
    return {
        "counter": accepted.manifest.counter,
        "manifest_sha256": accepted.digest,
        "time_unverified": accepted.time_unverified,
    }


def _pulled(puller: Puller, ref: BlobRef, keep: frozenset[str], report: PullProgress) -> Path:
    for tries_left in reversed(range(STALL_TRIES)):
        try:
            return puller.pull(ref, keep, report)
        except BlobStalledError:
            if not tries_left:
                raise
    raise AssertionError("the loop returns or raises")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_bytes(path: Path, ref: BlobRef, blobs: BlobStore) -> None:
    """What lay in the store for weeks is hashed again before it may run."""
    if _sha256(path) != ref.sha256:
        blobs.discard(ref.sha256)
        raise BlobCorruptError(ref.sha256, "the copy in the store has changed; it was removed")
