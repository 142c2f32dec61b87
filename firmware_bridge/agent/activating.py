"""Switches a slot to its staged bundle, watches it, and commits it or goes back.

The order is the one that survives a power cut at any point: journal ACTIVATING, swap the link in
one step, journal PROBATION, probe, and commit slot and report in one transaction. Runs on the
worker thread. Leaves recovery after a restart to `recovery`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from firmware_bridge.agent.book import DeploymentBook, Ending
from firmware_bridge.agent.preparing import SelfTester, probe_of
from firmware_bridge.bench.supervise import SelfTest
from firmware_bridge.slots import CURRENT, Slots
from firmware_bridge.store.slot_log import SlotRow
from firmware_bridge.wire.errors import BridgeError, DecodeError, OverCapError, StoreError
from firmware_bridge.wire.messages import ErrorNote
from firmware_bridge.wire.release import ReleaseManifest

STRIKES_UNTIL_BROKEN = 3


@dataclass(frozen=True)
class Activating:
    """STAGED to an end.

    Attributes:
        book: Where every step is written down.
        slots: Bundles and links.
        self_test: Runs a model on its probe in a child: model, probe, tolerance in codes.
        check: Raises if the worker was told to stop.
        boot_id: This boot.
        runtime: Runtime that a broken bundle is remembered under.
    """

    book: DeploymentBook
    slots: Slots
    self_test: SelfTester
    check: Callable[[], None]
    boot_id: str
    runtime: Callable[[], str]

    def activate(self, slot: str, *, last: bool) -> None:
        """Switch to the staged bundle and probe it once.

        Args:
            slot: Which slot.
            last: The probe is the only one: commit if it passes.

        Raises:
            Cancelled: The daemon stops; recovery goes on from here.
        """
        row = self.book.enter(slot, "ACTIVATING", boot_id=self.boot_id)
        try:
            self.slots.point(slot, CURRENT, row.target)
        except OSError as error:
            self.roll_back(slot, "activation_failed", str(error), broken=False)
            return
        self.book.enter(slot, "PROBATION")
        self.probe(slot, last=last)

    def probe(self, slot: str, *, last: bool) -> None:
        """Run the active bundle on its probe; go back if it fails, commit if this was the last.

        Raises:
            Cancelled: The daemon stops.
        """
        row = self.book.journal.slots.get(slot)
        try:
            tested = self._test(row)
        except (OSError, BridgeError) as error:
            self.roll_back(slot, "probe_failed", str(error), broken=False)
            return
        self.check()
        if not tested.ok:
            self.roll_back(slot, "probe_mismatch", tested.detail or "no detail", broken=True)
        elif last:
            self.commit(slot)
        else:
            self.book.note(slot, "PROBATION")

    def commit(self, slot: str) -> None:
        """Make the new bundle the one that any power cut leads back to."""
        row = self.book.journal.slots.get(slot)
        self.book.journal.strikes.clear(subject_of(row.target))
        self.book.end(
            slot,
            Ending("SUCCEEDED"),
            lambda done: self.slots.relink(slot, done.committed, done.previous),
            committed=row.target,
            previous=row.committed,
        )

    def roll_back(self, slot: str, code: str, text: str, *, broken: bool) -> None:
        """Return to the committed bundle and say why.

        Args:
            slot: Which slot.
            code: Code of the report.
            text: What was seen.
            broken: Refuse this bundle from now on.
        """
        row = self.book.enter(slot, "ROLLING_BACK", failure=code)
        if broken:
            reason = f"bundle was rolled back here: {code}"
            runtime = self.runtime()
            self.book.journal.strikes.mark_broken(subject_of(row.target), reason, runtime)
        finish_roll_back(
            self.book, self.slots, slot, Ending("ROLLED_BACK", code, _notes(code, text))
        )

    def _test(self, row: SlotRow) -> SelfTest:
        bundle = row.target or ""
        probe = probe_of(self.slots.bundle(bundle))
        return self.self_test(self.slots.model(bundle), probe, self._tolerance_lsb(row))

    def _tolerance_lsb(self, row: SlotRow) -> int:
        manifest_path = self.slots.bundle(row.target or "") / "release.json"
        try:
            return ReleaseManifest.from_bytes(manifest_path.read_bytes()).probe_tolerance_lsb
        except (OSError, DecodeError, OverCapError) as error:
            raise StoreError(f"expected the manifest at {manifest_path}, got {error}") from error


def finish_roll_back(book: DeploymentBook, slots: Slots, slot: str, ending: Ending) -> None:
    """Make the links say what is committed and close the deployment with `ending`."""
    row = book.journal.slots.get(slot)
    try:
        slots.relink(slot, row.committed, row.previous)
    except OSError as error:
        notes = (*ending.errors, ErrorNote("rollback_failed", str(error)))
        book.end(slot, Ending("ROLLBACK_FAILED", "rollback_failed", notes))
        return
    book.end(slot, ending)


def subject_of(bundle_id: str | None) -> str:
    """The name under which strikes against a bundle are counted."""
    return f"bundle:{bundle_id}"


def _notes(code: str, text: str) -> tuple[ErrorNote, ...]:
    return (ErrorNote(code, text),)
