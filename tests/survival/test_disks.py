"""A disk that is full or read-only: for real on a small file system, and ordered at every change.

The daemon goes on, says so in its state, and finishes its work once there is room again.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.survival.site import Daemon, Site, Work, forget, until

TMPFS_BYTES = 4 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB; skips where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-o", f"size={TMPFS_BYTES}", "edgenas-test", str(folder)]
    done = subprocess.run(["mount", "-t", "tmpfs", *options], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all room that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream:
        for size in (65_536, 4096, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue
    return filler


def trouble(site: Site, daemon: Daemon) -> str:
    view = site.view(daemon)
    return (view.state.error or "") if view and view.state else ""


def test_a_disk_that_fills_up_under_work_and_is_emptied_again(site: Site, small_disk: Path) -> None:
    daemon = site.daemon(state_dir=small_disk / "state")
    daemon.start()
    site.wait_online(daemon)
    first = site.submit(daemon)
    assert site.outcome(first, daemon).measurement is not None
    filler = fill(small_disk)
    late = site.submit(daemon)
    until(lambda: "full" in trouble(site, daemon), "a word about the full disk", daemon)
    assert site.host.outcome(late) is None
    assert daemon.running
    filler.unlink()
    site.check_settled(daemon, Work([first, late]))


@pytest.mark.survival
def test_a_disk_that_is_full_at_the_start(site: Site, small_disk: Path) -> None:
    daemon = site.daemon(state_dir=small_disk / "state")
    filler = fill(small_disk)
    job = site.submit(daemon)
    daemon.start()
    assert daemon.wait_ended() == 2  # the service manager starts it again
    assert "free space" in daemon.told() or "free disk" in daemon.told(), daemon.told()
    filler.unlink()
    daemon.start()
    site.check_settled(daemon, Work([job]))


@pytest.mark.survival
def test_a_disk_that_is_read_only_at_the_start(site: Site, small_disk: Path) -> None:
    daemon = site.daemon(state_dir=small_disk / "state")
    daemon.start()
    site.wait_online(daemon)
    assert daemon.stop() == 0
    job = site.submit(daemon)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    daemon.start()
    assert daemon.wait_ended() == 2
    assert "writable" in daemon.told(), daemon.told()
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    daemon.start()
    site.check_settled(daemon, Work([job]))


@pytest.fixture(scope="module")
def kept_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as cleanup:
        yield Site("edgenas", tmp_path_factory.mktemp("disks"), cleanup)


@pytest.fixture(scope="module")
def moments(kept_site: Site) -> int:
    """How many moments an undisturbed life has until its work is done."""
    log, daemon = kept_site.folder / "moments", kept_site.daemon()
    daemon.start(EDGENAS_FAULT=f"log:{log}")
    work = kept_site.work(daemon)
    until(lambda: kept_site.answered(work), "answers", daemon)
    passed = len(log.read_text().splitlines())
    kept_site.check_settled(daemon, work)
    return passed


def refuse_from(site: Site, fault: str) -> None:
    """A life whose disk refuses a while; afterwards everything has one outcome, good or bad."""
    daemon = site.daemon()
    daemon.start(EDGENAS_FAULT=fault)
    work = site.work(daemon)
    until(lambda: not daemon.running or site.answered(work), "answers or an end", daemon)
    if not daemon.running:
        assert daemon.wait_ended() == 2, daemon.told()  # it could not even begin
        daemon.start()
    until(lambda: site.answered(work), "answers", daemon)
    for job_id in work.jobs:
        done = site.outcome(job_id, daemon)
        assert done.measurement or (done.failure and done.failure.code == "NO_SPACE"), done
    assert work.deployment is not None
    ended = site.host.wait_deployment(work.deployment, 0)
    assert ended is not None
    holds = daemon.state_dir / "slots" / "main" / "current"
    assert ended.succeeded == os.path.lexists(holds), (ended, daemon.told())
    site.check_at_rest(daemon, Work(work.jobs))
    forget(daemon)


@pytest.mark.parametrize(
    ("kind", "share"),
    [("readonly", 0.7), pytest.param("enospc", 0.4, marks=pytest.mark.survival)],
)
def test_an_ordered_refusal(kept_site: Site, moments: int, kind: str, share: float) -> None:
    refuse_from(kept_site, f"{kind}:{1 + int(share * moments)}+8")


@pytest.mark.survival
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", ["enospc", "readonly"])
def test_no_refusal_at_any_moment_loses_anything(kept_site: Site, moments: int, kind: str) -> None:
    for moment in range(1, moments + 1, 4):
        print(f"{kind} from {moment}", flush=True)
        refuse_from(kept_site, f"{kind}:{moment}+8")
