"""`edgenas-device recover`: make the links say what the journal says, before anything runs.

One-shot, for a unit that starts ahead of the agent and of the applications: after a power cut the
applications find the bundle that was committed last, whether or not the agent ever starts. Needs no
network, may be killed and repeated at any moment, and leaves a deployment of the present boot, and
every other decision, to the daemon.
"""

import argparse
import os
import sys
from pathlib import Path

from firmware_bridge.agent.answers import Answers
from firmware_bridge.agent.assembly import hold_state_directory
from firmware_bridge.agent.book import DeploymentBook
from firmware_bridge.agent.clock import Clock
from firmware_bridge.agent.post import Post
from firmware_bridge.agent.recovery import restore
from firmware_bridge.agent.salvage import open_journal
from firmware_bridge.agent.settings import DEFAULT_STATE_DIR, read_places
from firmware_bridge.slots import SLOTS_NAME, Slots
from firmware_bridge.store.journal import JOURNAL_NAME
from firmware_bridge.wire.errors import BridgeError, LinkClosedError
from firmware_bridge.wire.link import Link, Sink, WillSource
from firmware_bridge.wire.topics import Topics

NOTHING = "nothing has been deployed here yet"
FAILED, MISUSED = 1, 2


class NoLink(Link):
    """A link that is never open: reports stay in the outbox until the daemon sends them."""

    def open(self, sink: Sink, will: WillSource | None = None) -> None:
        raise LinkClosedError("recover does not use the network")

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
    ) -> None:
        raise LinkClosedError("recover does not use the network; the daemon sends it later")

    def subscribe(self, *filters: str) -> None:
        raise LinkClosedError("recover does not use the network")

    def wait_connected(self, timeout_s: float) -> None:
        raise LinkClosedError("recover does not use the network")

    def close(self) -> None:
        """Nothing is open."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--state-dir", type=Path, help=f"journal and models (default {DEFAULT_STATE_DIR})")
    add("--runtime-dir", type=Path, help="slot stamps (default STATE_DIR/run)")


def run(arguments: argparse.Namespace) -> int:
    """Restore and print a line a slot; returns 0, 1 if it failed, 2 while a daemon is running."""
    state_dir, run_directory = read_places(arguments)
    if not any((state_dir / kept).exists() for kept in (JOURNAL_NAME, SLOTS_NAME)):
        print(NOTHING)
        return 0
    try:
        lock = hold_state_directory(state_dir)
    except BridgeError as error:
        print(f"edgenas-device: {error}", file=sys.stderr)
        return MISUSED
    try:
        for line in _restored(state_dir, run_directory):
            print(line)
    except (BridgeError, OSError) as error:
        print(f"edgenas-device: {error}", file=sys.stderr)
        return FAILED
    finally:
        os.close(lock)
    return 0


def _restored(state_dir: Path, run_directory: Path) -> list[str]:
    slots = Slots(state_dir, run_directory)
    journal, loss = open_journal(state_dir, slots)
    try:
        clock = Clock()
        # fleet and device name the topics of reports, which are not sent from here
        post = Post(NoLink(), Topics("none"), "recover", clock.stamp)
        book = DeploymentBook(journal, Answers(journal, post, 0.0), post)
        lines = restore(book, slots, clock.boot_id) or [NOTHING]
        return [loss, *lines] if loss else lines
    finally:
        journal.close()
