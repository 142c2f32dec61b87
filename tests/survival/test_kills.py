"""kill -9 of the daemon before and after every durable change of a job and a release.

One undisturbed run tells how many such moments there are. The normal run takes a few of them, the
whole matrix takes all.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.survival.site import Site, forget, until

SHARES = (0.35, 0.75)


@pytest.fixture(scope="module")
def kept_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as cleanup:
        yield Site("edgenas", tmp_path_factory.mktemp("kills"), cleanup)


@pytest.fixture(scope="module")
def moments(kept_site: Site) -> list[str]:
    """Names of all moments of an undisturbed life until its work is done, in order."""
    log, daemon = kept_site.folder / "moments", kept_site.daemon()
    daemon.start(EDGENAS_FAULT=f"log:{log}")
    work = kept_site.work(daemon)
    until(lambda: kept_site.answered(work), "answers", daemon)
    passed = log.read_text().splitlines()
    kept_site.check_settled(daemon, work)
    return passed


def kill_at(site: Site, moment: int) -> None:
    """Die at `moment` of a life with work in it, come back, and settle everything."""
    daemon = site.daemon()
    daemon.start(EDGENAS_FAULT=f"kill:{moment}")
    work = site.work(daemon)
    until(lambda: not daemon.running or site.answered(work), "a kill or answers", daemon)
    daemon.kill()  # had this life fewer moments than the undisturbed one, then after its last
    daemon.start()
    site.check_settled(daemon, work)
    forget(daemon)


@pytest.mark.parametrize("share", SHARES)
def test_a_kill_loses_nothing(kept_site: Site, moments: list[str], share: float) -> None:
    kill_at(kept_site, 1 + int(share * len(moments)))


@pytest.mark.survival
@pytest.mark.timeout(7200)
def test_no_kill_at_any_moment_loses_anything(kept_site: Site, moments: list[str]) -> None:
    for moment in range(1, len(moments) + 1):
        print(f"{moments[moment - 1]}", flush=True)
        kill_at(kept_site, moment)


def test_the_moments_cover_journal_blobs_and_links(moments: list[str]) -> None:
    story = "\n".join(moments)
    for change in ("COMMIT", "INSERT OR REPLACE INTO outbox", "write a chunk", "move to current"):
        assert f"before {change}" in story
        assert f"after {change}" in story
