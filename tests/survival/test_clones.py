"""Two real daemons with one copied state directory, as two boards with copied cards are."""

import shutil

from tests.survival.site import Daemon, Site, until

# The daemon's own program on a board of another boot and hardware.
PROGRAM = """
import sys
from firmware_bridge.agent import clock, presence
boot, board = sys.argv.pop(1), sys.argv.pop(1)
clock.read_boot_id = lambda: boot
presence.hardware_name = lambda: board
from firmware_bridge.cli import main
sys.exit(main())
"""


def board(site: Site, device_id: str, number: int) -> Daemon:
    program = ("-c", PROGRAM, str(number) * 32, f"serial {number}{number}{number}")
    state_dir = site.folder / f"card-{number}"
    return site.daemon(device_id=device_id, state_dir=state_dir, program=program)


def test_two_boards_with_one_identity_are_told_apart(site: Site) -> None:
    first, second = (board(site, "copied", number) for number in (1, 2))
    first.start()
    site.wait_online(first)
    assert first.stop() == 0
    shutil.copytree(first.state_dir, second.state_dir)
    for daemon in (first, second):
        daemon.start()
    until(lambda: quarantined(site, first), "quarantine", second)
    view = site.view(first)
    assert view is not None
    assert not view.online
    assert {face.hardware for face in view.twins} == {"serial 111", "serial 222"}
    assert len({face.boot_id for face in view.twins}) == 2
    assert len({face.install_id for face in view.twins}) == 1

    second.kill()
    site.host.settle("copied")
    site.wait_online(first)
    assert site.outcome(site.submit(first), first).measurement is not None
    assert first.stop() == 0


def quarantined(site: Site, daemon: Daemon) -> bool:
    view = site.view(daemon)
    return view is not None and view.quarantined
