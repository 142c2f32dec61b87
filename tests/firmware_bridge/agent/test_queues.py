"""Inbox, mailbox and worker: bounded, in order, and never blocking whoever puts something in."""

import threading

import pytest

from firmware_bridge.agent.inbox import MAX_EVENTS, Inbox, InboxEvent, Stop
from firmware_bridge.agent.mailbox import CAPACITY, Chunk, Mailbox
from firmware_bridge.agent.worker import Cancelled, Finished, Worker
from firmware_bridge.wire.link import Disconnected, Received
from firmware_bridge.wire.messages import BlobRefused

DEADLINE_S = 20.0


def test_the_inbox_keeps_the_order() -> None:
    inbox = Inbox()
    events: list[InboxEvent] = [
        Received("a", b"1", False),
        Disconnected("gone"),
        Received("b", b"2", True),
        Stop(),
    ]
    for event in events:
        inbox.put(event)
    assert [inbox.take(0) for _ in events] == events
    assert inbox.take(0) is None


def test_a_flood_of_bytes_or_messages_is_dropped_and_counted() -> None:
    inbox = Inbox(max_bytes=100)
    for _ in range(3):
        inbox.put(Received("a", bytes(40), False))
    assert inbox.dropped == 1
    inbox.put(Stop())  # our own events always fit
    inbox.take(0)
    inbox.put(Received("a", bytes(40), False))
    assert inbox.dropped == 1
    many = Inbox()
    for _ in range(MAX_EVENTS + 5):
        many.put(Received("a", b"", False))
    assert many.dropped == 5


def test_the_mailbox_takes_only_what_somebody_waits_for() -> None:
    mailbox = Mailbox()
    assert not mailbox.deliver("d", Chunk(0, b""))
    mailbox.open("d")
    assert mailbox.deliver("d", Chunk(0, b"x"))
    assert not mailbox.deliver("e", Chunk(0, b"y"))
    assert mailbox.deliver("d", BlobRefused(code="WAIT", wait_ms=5))
    assert mailbox.take(0) == Chunk(0, b"x")
    mailbox.open("e")
    assert mailbox.take(0) is None
    assert [mailbox.deliver("e", Chunk(n, b"")) for n in range(CAPACITY + 1)].count(False) == 1
    mailbox.close()
    assert mailbox.take(0) is None


def test_the_worker_reports_values_errors_and_cancellations() -> None:
    reports = Inbox()
    worker = Worker(reports.put)

    def run(task: object) -> Finished:
        worker.start("task", task)  # type: ignore[arg-type]
        finished = reports.take(DEADLINE_S)
        assert isinstance(finished, Finished)
        worker.collect()
        return finished

    def fails() -> None:
        raise ValueError("wrong")

    assert run(lambda: 42).value == 42
    assert isinstance(run(fails).error, ValueError)

    def waits() -> None:
        worker.cancel()
        worker.check()

    assert isinstance(run(waits).error, Cancelled)
    assert run(worker.cancelled).value is False  # a new task starts uncancelled


def test_the_worker_does_one_thing_at_a_time() -> None:
    reports, release = Inbox(), threading.Event()
    worker = Worker(reports.put)
    worker.start("first", lambda: release.wait(DEADLINE_S))
    with pytest.raises(RuntimeError, match="busy with first"):
        worker.start("second", lambda: None)
    assert not worker.close(0.01)
    release.set()
    assert worker.close(DEADLINE_S)
