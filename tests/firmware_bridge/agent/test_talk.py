"""What a device says of itself, and what it makes of messages that are none, through the daemon."""

import itertools
import os
import time
from dataclasses import replace

import pytest

from firmware_bridge.agent.daemon import FAULT_PAUSE_S
from firmware_bridge.bench.supervise import RuntimeProbe
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.link import Disconnected
from firmware_bridge.wire.messages import Measurement, Resync
from firmware_bridge.wire.values import new_id
from tests.firmware_bridge.agent.conftest import StartBoard
from tests.firmware_bridge.agent.host_double import DEADLINE_S, DEVICE, HostDouble


def test_strange_messages_are_dropped_counted_and_reported(
    host: HostDouble, start_board: StartBoard, model: bytes
) -> None:
    start_board()
    host.state(lambda state: state.online)
    topic = host.topics.job(DEVICE, new_id())
    host.link.publish(topic, b"\xff\x00 no json")
    host.link.publish(topic, b'{"v":1,"kind":"make_coffee","body":{}}')
    host.link.publish(topic, b'{"v":1,"kind":"measure_job","body":{}}')
    host.link.publish(topic, b"[" * 5000 + b"]" * 5000)
    host.link.publish(topic, b" " * 20_000)
    host.link.publish(topic, encode(Resync()))
    host.link.publish(host.topics.chunk(DEVICE, "0" * 64, 0), bytes(140_000))
    assert "dropped 7" in host.state(lambda s: "dropped 7" in (s.error or "")).error  # type: ignore[operator]
    host.link.publish(topic, b'{"v":9,"kind":"measure_job","body":{}}')
    assert "upgrade" in (host.state(lambda s: "dropped 8" in (s.error or "")).error or "")
    assert isinstance(host.result(host.send_job(host.job(host.add(model)))), Measurement)


def test_resync_says_everything_again(
    host: HostDouble, start_board: StartBoard, model: bytes
) -> None:
    host.acknowledges = False
    start_board(resend_s=3600.0)
    job_id = host.send_job(host.job(host.add(model)))
    first = host.result(job_id)
    states, facts = len(host.states), len(host.facts)
    host.link.publish(host.topics.resync(DEVICE), encode(Resync()))
    assert host.result(job_id, 2) == first
    assert len(host.states) > states
    assert len(host.facts) > facts


def test_birth_will_and_farewell_belong_to_one_session(
    host: HostDouble, start_board: StartBoard
) -> None:
    board = start_board()
    birth = host.state(lambda state: state.online)
    assert birth.sess == 1_000_001
    board.link.drop()
    death = host.state(lambda state: not state.online)
    assert (death.sess, death.install_id) == (birth.sess, birth.install_id)
    board.link.reconnect()
    again = host.state(lambda state: state.online)
    assert again.sess == birth.sess + 1
    board.stop()
    farewell = host.state(lambda state: not state.online)
    assert (farewell.sess, farewell.reason) == (again.sess, "shutdown")
    start_board()
    reborn = host.state(lambda state: state.online)
    assert reborn.sess == 2_000_001
    assert reborn.install_id == birth.install_id


def test_farewell_is_said_on_a_connection_that_the_loop_has_not_heard_of(
    host: HostDouble, start_board: StartBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = start_board()
    board.link.drop()
    deadline_s = time.monotonic() + DEADLINE_S
    while board.assembly.daemon.connected and time.monotonic() < deadline_s:
        time.sleep(0.01)
    monkeypatch.setattr(board.link, "enqueue", lambda event: None)  # slow to tell its owner
    board.link.reconnect()
    board.stop()
    farewell = host.state(lambda state: state.reason == "shutdown")
    assert (farewell.online, farewell.sess) == (False, 1_000_002)


def test_facts_name_the_runtime_and_the_board(host: HostDouble, start_board: StartBoard) -> None:
    start_board(profile="bench-pc")
    facts = host.wait(lambda: host.facts)[0]  # the first already: without a runtime it looks broken
    assert facts.fingerprint["runtime"]
    assert facts.profile == "bench-pc"
    assert facts.fingerprint["arch"] == os.uname().machine
    assert facts.ram_bytes > 0
    assert not facts.can_verify


def test_a_device_that_is_thrown_off_by_another_says_so(
    host: HostDouble, start_board: StartBoard
) -> None:
    board = start_board()
    board.assembly.inbox.put(Disconnected("session taken over", taken_over=True))
    board.link.drop()
    board.link.reconnect()
    assert "--id" in (host.state(lambda state: bool(state.error)).error or "")


def test_a_task_that_fails_at_once_is_not_tried_in_a_spin(
    host: HostDouble, start_board: StartBoard, model: bytes
) -> None:
    board = start_board()
    tries: list[float] = []

    def probe() -> RuntimeProbe:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise RuntimeError("no luck")
        return RuntimeProbe("stand-in", None)

    host.wait(lambda: [facts for facts in host.facts if facts.fingerprint["runtime"]])
    daemon = board.assembly.daemon
    daemon._use = replace(daemon._use, probe_runtime=probe)
    daemon._probed = False
    assert "no luck" in (host.state(lambda state: bool(state.error)).error or "")
    host.state(lambda state: state.error is None)
    assert len(tries) == 3
    assert all(late - early >= FAULT_PAUSE_S for early, late in itertools.pairwise(tries))
    assert isinstance(host.result(host.send_job(host.job(host.add(model)))), Measurement)
