"""The wall clock jumps, forwards and backwards, under a daemon that works."""

from pathlib import Path

import pytest

from tests.survival.site import Daemon, Site, Work

# The daemon's own program; time.time() and time.time_ns() are off by what the file says.
PROGRAM = """
import sys, time
from pathlib import Path
real, real_ns, offset = time.time, time.time_ns, Path(sys.argv.pop(1))
time.time = lambda: real() + float(offset.read_text())
time.time_ns = lambda: real_ns() + int(float(offset.read_text()) * 1e9)
from firmware_bridge.cli import main
sys.exit(main())
"""
DAY_S = 86_400.0


def jumping(site: Site, offset: Path, start_s: float) -> Daemon:
    offset.write_text(str(start_s))
    return site.daemon(program=("-c", PROGRAM, str(offset)))


@pytest.mark.survival
@pytest.mark.parametrize("jumps_s", [(0.0, 400 * DAY_S), (0.0, -9 * DAY_S), (-10_000 * DAY_S, 0.0)])
def test_a_jump_in_the_middle_of_work(
    site: Site, tmp_path: Path, jumps_s: tuple[float, float]
) -> None:
    before_s, after_s = jumps_s
    daemon = jumping(site, tmp_path / "offset", before_s)
    daemon.start()
    site.wait_online(daemon)
    jobs = [site.submit(daemon) for _ in range(2)]
    site.outcome(jobs[0], daemon)
    (tmp_path / "offset").write_text(str(after_s))
    jobs.append(site.submit(daemon))
    site.check_settled(daemon, Work(jobs))
