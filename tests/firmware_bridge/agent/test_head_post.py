"""What was handed out is published once a session and when it changes, and only if it is whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge.agent.head_post import HeadPost
from firmware_bridge.heads.keeping import HeadStore
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.heads import ClassSums, Contribution
from firmware_bridge.wire.messages import Ack

MADE = Contribution(
    model="1a" * 32, learner="7e" * 16, round=1, dimension=1, classes={"cup": ClassSums(1, (4,))}
)


class Desk:
    """A head post whose session is set by hand; what it has published."""

    def __init__(self, state_dir: Path) -> None:
        self.session: int | None = 1
        self.sent: list[tuple[str, bytes]] = []
        self.store = HeadStore(state_dir)
        self.post = HeadPost(state_dir, lambda: self.session, lambda *each: self.sent.append(each))

    def after_ticks(self, count: int = 2) -> list[tuple[str, bytes]]:
        for _ in range(count):
            self.post.tick()
        taken, self.sent = self.sent, []
        return taken


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def leave(desk: Desk, number: int, slot: str = "main") -> bytes:
    message = encode(replace(MADE, round=number))
    with desk.store.alone():
        desk.store.leave_hand_out(slot, message)
    return message


def test_nothing_learnt_is_nothing_said(desk: Desk) -> None:
    assert desk.after_ticks() == []


def test_once_a_session_and_when_it_changes(desk: Desk) -> None:
    first = leave(desk, 1)
    assert desk.after_ticks() == [("main", first)]
    desk.session = None
    assert desk.after_ticks() == []
    desk.session = 2
    assert desk.after_ticks() == [("main", first)]
    second, other = leave(desk, 2), leave(desk, 1, "other")
    assert desk.after_ticks() == [("main", second), ("other", other)]


def test_what_was_left_without_a_connection_goes_out_with_the_next(desk: Desk) -> None:
    desk.session = None
    first = leave(desk, 1)
    assert desk.after_ticks() == []
    desk.session = 5
    assert desk.after_ticks() == [("main", first)]


@pytest.mark.parametrize("content", [b"", b"{}", b"x" * 70_000, encode(Ack(attempt=1, rev=1))])
def test_what_is_no_head_stays_here(desk: Desk, content: bytes) -> None:
    sound = leave(desk, 1)
    with desk.store.alone():
        desk.store.leave_hand_out("broken", content)
    assert desk.after_ticks() == [("main", sound)]
