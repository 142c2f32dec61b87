"""Fixtures of the agent's tests: a broker in memory, a host on it, a device on it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.wire.memory import MemoryBroker, MemoryLink
from tests.firmware_bridge.agent.boards import ThreadBoard, settings_in
from tests.firmware_bridge.agent.host_double import HostDouble
from tests.firmware_bridge.bench import tiny_model

StartBoard = Callable[..., ThreadBoard]


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def host(broker: MemoryBroker) -> Iterator[HostDouble]:
    made = HostDouble(MemoryLink(broker, "host"))
    made.open()
    yield made
    made.close()


@pytest.fixture
def start_board(broker: MemoryBroker, host: HostDouble, tmp_path: Path) -> Iterator[StartBoard]:
    """Starts devices on `tmp_path` and waits for their birth; stops those left at the end."""
    boards: list[ThreadBoard] = []

    def start(**changes: object) -> ThreadBoard:
        before = max((state.sess for state in host.states), default=0)
        boards.append(ThreadBoard(broker, settings_in(tmp_path, **changes)))
        host.state(lambda state: state.online and state.sess > before)
        return boards[-1]

    yield start
    for board in boards:
        if board.running:
            board.stop()


@pytest.fixture(scope="session")
def weights() -> tiny_model.Array:
    """Weights of the tiny model, 4 outputs from 16 inputs."""
    return np.random.default_rng(7).integers(-3, 4, (4, 16), dtype=np.int8)


@pytest.fixture(scope="session")
def model(weights: tiny_model.Array) -> bytes:
    """A tiny INT8 model as bytes."""
    return tiny_model.dense(weights)
