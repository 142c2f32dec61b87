"""Fixtures of the survival matrix: a site on the embedded broker, and on mosquitto where it is."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.survival.site import Site


@pytest.fixture(params=["edgenas", pytest.param("mosquitto", marks=pytest.mark.survival)])
def broker(request: pytest.FixtureRequest) -> str:
    """Name of a broker; the normal run is content with the embedded one."""
    return str(request.param)


@pytest.fixture
def site(broker: str, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as cleanup:
        yield Site(broker, tmp_path, cleanup)
