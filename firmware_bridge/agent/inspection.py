"""Says what this board runs, signed: after every change, when the host asks, and once a day.

The message is retained, so that whoever checks it needs to be there at no particular time. Looking
and signing is done by a child process, on the worker. Leaves both to `firmware_bridge.inventory`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from firmware_bridge.agent.children import ask_child
from firmware_bridge.wire.inspection import SignedInventory
from firmware_bridge.wire.shape import read
from firmware_bridge.wire.tls import TlsFiles

LOOK_S = 1.0
LEAST_S = 5.0  # between two statements, whoever asks
AGAIN_S, AFTER_TROUBLE_S = 86_400.0, 600.0


@dataclass(frozen=True)
class Board:
    """What the inspection needs of the daemon, asked when it is needed.

    Attributes:
        state_dir: Where slots and bundles are.
        session: Number of the present session with the broker, None while there is none.
        links: What the links of all slots name; compared only.
        speaker: Everything in an `Inventory` but number, nonce and slots, as plain values.
    """

    state_dir: Path
    session: Callable[[], int | None]
    links: Callable[[], Hashable]
    speaker: Callable[[], Mapping[str, object]]


class Inspection:
    """The statements of one daemon; an errand.

    Attributes:
        trouble: Why none could be made, None for nothing.
    """

    name = "inventory"

    def __init__(
        self,
        board: Board,
        files: TlsFiles,
        argv: Sequence[str],
        publish: Callable[[SignedInventory], None],
    ) -> None:
        """Prepare.

        Args:
            board: What is looked at.
            files: Certificate and key, both named.
            argv: How to start Python.
            publish: Takes the message.
        """
        self._board = board
        self._files = files
        self._argv = tuple(argv)
        self._publish = publish
        self._nonce: str | None = None
        self._number = 0
        self._looked_s = self._made_s = float("-inf")
        self._wait_s = 0.0
        self._links: Hashable = None
        self._session: int | None = None
        self._said: SignedInventory | None = None
        self.trouble: str | None = None

    def asked(self, nonce: str) -> None:
        """The host wants a new statement; the newest of several questions counts."""
        self._nonce = nonce

    def next_task(self, now_s: float) -> Callable[[], SignedInventory] | None:
        """What the worker should do now (`now_s` is monotonic), None for nothing."""
        session = self._board.session()
        if session is None or now_s < self._looked_s + LOOK_S:
            return None
        self._looked_s = now_s
        links = self._board.links()
        due = self._nonce is not None or links != self._links
        if not (due and now_s >= self._made_s + LEAST_S) and now_s < self._made_s + self._wait_s:
            self._say_again(session)
            return None
        self._made_s, self._wait_s, self._links = now_s, AFTER_TROUBLE_S, links
        self._number += 1
        nonce, self._nonce = self._nonce, None
        spoken = {**self._board.speaker(), "number": self._number, "nonce": nonce}
        return partial(self._make, spoken)

    def finished(self, value: object, error: BaseException | None, now_s: float) -> None:
        """Take in how it ended, and publish what was made."""
        if not isinstance(value, SignedInventory):
            self.trouble = f"inventory: {error}"
            return
        self.trouble, self._wait_s = None, AGAIN_S
        self._said, self._session = value, None
        self._say_again(self._board.session())

    def _say_again(self, session: int | None) -> None:
        """Once a session: the broker may have lost what it kept."""
        if session is not None and session != self._session and self._said is not None:
            self._publish(self._said)
            self._session = session

    def _make(self, spoken: Mapping[str, object]) -> SignedInventory:
        files = (self._board.state_dir, self._files.certificate, self._files.key)
        words = ("firmware_bridge.inventory", *map(str, files))
        answer = ask_child(self._argv, words, json.dumps(spoken).encode())
        return read(SignedInventory, answer, "inventory", "inventory")
