"""Fixtures of the wire tests: a world to open links in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.firmware_bridge.wire.worlds import WORLDS, World, make_world


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A broker without a packet limit of its own."""
    made = make_world(request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture(params=WORLDS)
def tight_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A broker that takes packets of at most 2,000 B."""
    made = make_world(request.param, tmp_path, max_packet_bytes=2000)
    yield made
    made.close()
