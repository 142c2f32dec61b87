"""Switches a slot to its staged bundle, watches it, and commits it or goes back.

The order is the one that survives a power cut at any point: journal ACTIVATING, swap the link in
one step, journal PROBATION, stamp, probe, and commit slot and report in one transaction. Runs on
the worker thread. Leaves what a probe says to `probation`, and recovery after a restart to
`recovery`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from firmware_bridge.agent.acceptance import Accepted, DeviceView, judge, takes_back
from firmware_bridge.agent.book import DeploymentBook, Ending
from firmware_bridge.agent.measuring import Measure
from firmware_bridge.agent.preparing import SelfTester, probe_of, wish_of
from firmware_bridge.agent.probation import Probed, judge_probe, probe_plan
from firmware_bridge.agent.trial import trial_of
from firmware_bridge.bench.supervise import SelfTest
from firmware_bridge.slots import CURRENT, Slots
from firmware_bridge.store.slot_log import SlotRow
from firmware_bridge.wire.errors import BridgeError, StoreError
from firmware_bridge.wire.messages import ErrorNote, JobFailed, Measurement
from firmware_bridge.wire.release import ReleaseManifest

STRIKES_UNTIL_BROKEN = 3
PROBE_LOCK_S = 20.0  # a probe that cannot have the machine says nothing; the next one may
STRIKES, BACK, POWER_LOSS = "strikes", "back_release", "power_loss"
BLAMED = ("probe_mismatch", "slow", STRIKES)  # what makes a bundle broken here

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Activating:
    """STAGED to an end.

    Attributes:
        book: Where every step is written down.
        slots: Bundles and links.
        self_test: Runs a model on its probe in a child: model, probe, tolerance in codes.
        measure: Times a model in a child.
        view: Describes the device, to judge a way back.
        check: Raises if the worker was told to stop.
        boot_id: This boot.
        runtime: Runtime that a broken bundle is remembered under.
        threads: Threads for a timing that names none.
    """

    book: DeploymentBook
    slots: Slots
    self_test: SelfTester
    measure: Measure
    view: Callable[[], DeviceView]
    check: Callable[[], None]
    boot_id: str
    runtime: Callable[[], str]
    threads: int

    def activate(self, slot: str, *, last: bool, heartbeat: bool = False) -> None:
        """Switch to the staged bundle and probe it once.

        Args:
            slot: Which slot.
            last: The probe is the only one: commit if it passes.
            heartbeat: The slot's application has opted in to heartbeats.

        Raises:
            Cancelled: The daemon stops; recovery goes on from here.
        """
        fresh = self.book.journal.slots.get(slot).phase == "STAGED"  # else it was cut off

        def begin(row: SlotRow) -> None:
            if fresh:
                self.book.journal.strikes.clear(subject_of(row.target))

        changes = {"heartbeat": heartbeat, "slow_probes": 0} if fresh else {}
        row = self.book.enter(slot, "ACTIVATING", beside=begin, boot_id=self.boot_id, **changes)
        try:
            self.slots.point(slot, CURRENT, row.target)
            row = self.book.enter(slot, "PROBATION")
            self.slots.stamp(slot)
        except OSError as error:
            self.roll_back(slot, "activation_failed", str(error))
            return
        self.probe(slot, last=last or row.mode == "back")

    def probe(self, slot: str, *, last: bool) -> None:
        """Run the active bundle on its probe; go back if it fails, commit if this was the last.

        Raises:
            Cancelled: The daemon stops, or a way back has come.
        """
        row = self.book.journal.slots.get(slot)
        found = self._probed(row)
        self.check()
        if found.slow_probes != row.slow_probes:
            self.book.journal.slots.update(slot, slow_probes=found.slow_probes)
        if found.finding == "strike":
            self.strike(slot, found.detail)
        elif found.finding != "passed":
            self.roll_back(slot, found.finding, found.detail)
        elif last:
            self.commit(slot)
        else:
            self.book.note(slot, "PROBATION", detail=found.detail or None)

    def strike(self, slot: str, text: str) -> None:
        """Count one fault of the bundle in probation; the third one takes it back."""
        row = self.book.journal.slots.get(slot)
        count = self.book.journal.strikes.strike(subject_of(row.target))
        _log.warning("slot %s: strike %s: %s", slot, count, text)
        if count >= STRIKES_UNTIL_BROKEN:
            self.roll_back(slot, STRIKES, f"{count} faults in probation, the last: {text}")
        else:
            self.book.note(slot, "PROBATION", detail=f"strike {count}: {text}"[:500])

    def commit(self, slot: str) -> None:
        """Make the new bundle the one that any power cut leads back to."""
        row = self.book.journal.slots.get(slot)
        self.book.end(
            slot,
            Ending("SUCCEEDED"),
            beside=lambda: self.book.journal.strikes.clear(subject_of(row.target)),
            settle=lambda done: self.slots.relink(slot, done.committed, done.previous),
            committed=row.target,
            previous=row.committed,
        )

    def roll_back(self, slot: str, code: str, text: str) -> None:
        """Return to the committed bundle and say why; a bundle that is to blame is refused after.

        Args:
            slot: Which slot.
            code: Code of the report.
            text: What was seen.
        """
        strikes, runtime = self.book.journal.strikes, self.runtime()

        def blame(row: SlotRow) -> None:
            if code in BLAMED and row.target is not None:
                reason = f"bundle was rolled back here: {code}"
                strikes.mark_broken(subject_of(row.target), reason, runtime)

        self.book.enter(slot, "ROLLING_BACK", beside=blame, failure=code, failure_text=text[:500])
        self.finish_roll_back(slot)

    def finish_roll_back(self, slot: str) -> None:
        """Make the links say what is committed and report, from what the journal knows."""
        finish_roll_back(self.book, self.slots, slot)

    def go_back(self, slot: str) -> bool:
        """Undo the activation in probation because the newest wish is a signed way back from it.

        Returns:
            False if the wish is not that after all; the probation goes on then.
        """
        row = self.book.journal.slots.get(slot)
        wish = wish_of(row.wish)
        if row.phase != "PROBATION" or wish is None or wish.release is None:
            return False
        verdict = judge(wish.release, row, self.view())
        if not isinstance(verdict, Accepted) or not takes_back(verdict.manifest, row):
            return False
        self.roll_back(slot, BACK, "a signed way back came while the bundle was in probation")
        return True

    def _probed(self, row: SlotRow) -> Probed:
        if row.target is None:
            return Probed("passed", 0)  # the slot is empty on purpose
        try:
            manifest = self._manifest(row.target)
            tested = self._test(row.target, manifest)
            timed = self._timed(row, manifest) if tested.ok else None
        except (OSError, BridgeError) as error:
            return Probed("strike", row.slow_probes, str(error))
        return judge_probe(tested, timed, manifest.limits.p95_max_us, row.slow_probes)

    def _test(self, bundle: str, manifest: ReleaseManifest) -> SelfTest:
        probe = probe_of(self.slots.bundle(bundle))
        return self.self_test(self.slots.model(bundle), probe, manifest.probe_tolerance_lsb)

    def _timed(self, row: SlotRow, manifest: ReleaseManifest) -> Measurement | JobFailed | None:
        """A way back is under no limits; without a p95 limit there is nothing to compare with."""
        trial = trial_of(manifest, self.threads)
        if row.mode == "back" or trial is None or manifest.limits.p95_max_us is None:
            return None
        self.check()
        return self.measure(probe_plan(trial, self.slots.model(row.target or "")), PROBE_LOCK_S)

    def _manifest(self, bundle: str) -> ReleaseManifest:
        manifest = self.slots.manifest(bundle)
        if manifest is None:
            raise StoreError(f"expected a manifest in {self.slots.bundle(bundle)}, got none")
        return manifest


def finish_roll_back(book: DeploymentBook, slots: Slots, slot: str) -> None:
    """Make the links say what is committed and close the deployment as its row says."""
    row = book.journal.slots.get(slot)
    ending = _rolled_back(row)
    try:
        slots.relink(slot, row.committed, row.previous)
    except OSError as error:
        notes = (*ending.errors, ErrorNote("rollback_failed", str(error)))
        ending = Ending("ROLLBACK_FAILED", "rollback_failed", notes)
    book.end(slot, ending)


def _rolled_back(row: SlotRow) -> Ending:
    code = row.failure or "interrupted"
    note = ErrorNote(code, row.failure_text or "the agent restarted while rolling back")
    return Ending("ROLLED_BACK", code, (note,), retryable=code == POWER_LOSS)


def subject_of(bundle_id: str | None) -> str:
    """The name under which strikes against a bundle are counted."""
    return f"bundle:{bundle_id}"
