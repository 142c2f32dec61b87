"""A search that is killed, then interrupted, then let run to its end: as if nothing had been."""

import contextlib
import signal
import sqlite3
import subprocess
from collections import Counter

import pytest

from edgenas.campaign.rundir import RunDir
from edgenas.search.study import Study
from tests.workflows.sites import DEVICES, FLEET, WAIT_S, Commands, Site, ended_trials, until

TRIALS, RANDOM = 3, 2
PLANNED = len(DEVICES) * (TRIALS + RANDOM)


@pytest.mark.timeout(300)  # a slow machine with other work
def test_no_trial_is_lost_or_doubled(edgenas: Commands, run: RunDir, site: Site) -> None:
    words = (
        *("search", "run", "--broker", site.url, "--fleet", FLEET, "--wait", 60),
        *("--device", "dev-a", "--device", "dev-b", "--budget", "1s"),
        *("--trials", TRIALS, "--random", RANDOM),
        *("--finalists", 1, "--sessions", 1, "--final-level", "quick"),
    )
    with edgenas.start(*words) as search:
        stop_after(search, run, 2, signal.SIGKILL)
    assert search.returncode == -signal.SIGKILL
    kept = ended_trials(run)
    assert 2 <= len(kept) < PLANNED

    with edgenas.start(*words) as search:
        stop_after(search, run, len(kept) + 2, signal.SIGINT)
        _, said = search.communicate(timeout=WAIT_S)
    assert search.returncode == 130, said
    assert "interrupted; repeat the same command to go on" in said
    assert "Traceback" not in said
    more = ended_trials(run)
    assert all(trial in more for trial in kept)
    assert len(kept) + 2 <= len(more) < PLANNED

    edgenas(*words)
    with Study.read(run.study) as study:
        trials, sessions = study.trials(), study.sessions()
    assert [trial.number for trial in trials] == list(range(1, PLANNED + 1))
    assert all(trial.state == "complete" for trial in trials)
    assert all(trial in trials for trial in more)
    per_device = Counter({"evolution": TRIALS, "random": RANDOM})
    for device in DEVICES:
        mine = [trial for trial in trials if trial.device == device]
        assert Counter(trial.searcher for trial in mine) == per_device
        assert len({(trial.searcher, trial.arch.id) for trial in mine}) == len(mine)
    assert len(sessions) == len(DEVICES)
    with contextlib.closing(sqlite3.connect(run.fleet)) as journal:
        (jobs,) = journal.execute("SELECT count(*) FROM jobs").fetchone()
        (answered,) = journal.execute("SELECT count(DISTINCT job_id) FROM answers").fetchone()
    assert jobs == answered == PLANNED + len(DEVICES)  # nothing was measured twice


def stop_after(
    search: "subprocess.Popen[str]", run: RunDir, trials: int, how: signal.Signals
) -> None:
    """Send a signal once so many trials have ended."""

    def runs() -> None:
        assert search.poll() is None, search.communicate()

    try:
        until(lambda: len(ended_trials(run)) >= trials, runs)
        search.send_signal(how)
        search.wait(WAIT_S)
    finally:
        search.kill()
