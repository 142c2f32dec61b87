"""A device that is killed by SIGKILL in the middle of an activation: `STATE_DIR WHEN` as arguments.

WHEN is `before_link`, `after_link` or `probing`. Run as a child process; it never returns.
"""

import os
import signal
import sys
from pathlib import Path

from firmware_bridge.agent.acceptance import DeviceView
from firmware_bridge.agent.activating import Activating
from firmware_bridge.agent.answers import Answers
from firmware_bridge.agent.book import DeploymentBook
from firmware_bridge.agent.clock import Clock
from firmware_bridge.agent.post import Post
from firmware_bridge.bench.plan import GoldenFile, MeasurePlan
from firmware_bridge.bench.supervise import SelfTest
from firmware_bridge.slots import Slots
from firmware_bridge.store.journal import Journal
from firmware_bridge.wire.memory import MemoryBroker, MemoryLink
from firmware_bridge.wire.messages import JobFailed, Measurement
from firmware_bridge.wire.topics import Topics


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingSlots(Slots):
    """Links that kill the process beside their swap."""

    def __init__(self, root: Path, stamps: Path, when: str) -> None:
        super().__init__(root, stamps)
        self._when = when

    def point(self, slot: str, link: str, bundle_id: str | None) -> None:
        if self._when == "before_link":
            die()
        super().point(slot, link, bundle_id)
        if self._when == "after_link":
            die()


def dying_self_test(model: Path, probe: GoldenFile | None, tolerance_lsb: int) -> SelfTest:
    die()
    raise AssertionError("still alive")


def dying_measure(plan: MeasurePlan, lock_timeout_s: float) -> Measurement | JobFailed:
    die()
    raise AssertionError("still alive")


def no_view() -> DeviceView:
    raise AssertionError("nothing is judged while a release is activated")


def main(state_dir: Path, when: str) -> None:
    """Activate what is staged in `state_dir`, and die at it."""
    clock = Clock()
    link = MemoryLink(MemoryBroker(), "dying")
    link.open(lambda event: None)
    journal = Journal(state_dir / "journal.sqlite")
    post = Post(link, Topics("lab"), "board-1", clock.stamp)
    book = DeploymentBook(journal, Answers(journal, post, 60.0), post)
    slots = DyingSlots(state_dir, state_dir / "run", when)
    Activating(
        book=book,
        slots=slots,
        self_test=dying_self_test,
        measure=dying_measure,
        view=no_view,
        check=lambda: None,
        boot_id=clock.boot_id,
        runtime=journal.last_runtime,
        threads=1,
    ).activate("main", last=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
