"""Certificates that were named are used, or nothing is sent: never plain text instead."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgenas.campaign.fleet_session import clearing_link, fleet_host
from edgenas.campaign.inspecting import inspect
from edgenas.campaign.overhearing import overheard
from edgenas.campaign.rundir import RunDir
from edgenas.fleet.heads import collect
from edgenas.site.access import SiteAccess
from edgenas.site.authority import now_utc
from edgenas.site.folder import SiteFolder, SiteSettings
from firmware_bridge.wire.errors import InvalidValueError

PLAIN = "mqtt://ann:s3cret@127.0.0.1:1"


def _host(site: Path) -> None:
    with fleet_host(RunDir(site.parent / "run"), PLAIN, "lab", tls=site):
        pass


def _clear(site: Path) -> None:
    with clearing_link(PLAIN, site):
        pass


WAYS: dict[str, Callable[[Path], object]] = {
    "the host": _host,
    "who clears": _clear,
    "who looks": lambda site: overheard(PLAIN, "lab", 0.0, site),
    "who asks": lambda site: inspect(PLAIN, "lab", ["pi4-1"], 0.0, site),
    "who collects": lambda site: collect(PLAIN, "lab", 0.0, SiteAccess(site).viewer()),
}


@pytest.mark.parametrize("who", WAYS)
def test_no_part_of_the_host_sends_plain_text_in_place_of_tls(tmp_path: Path, who: str) -> None:
    site = SiteFolder(tmp_path / "site")
    site.prepare(SiteSettings(("127.0.0.1",), user="root"), now_utc())
    with pytest.raises(InvalidValueError, match="expected mqtts:// where certificates") as told:
        WAYS[who](site.path)
    assert "s3cret" not in str(told.value)
