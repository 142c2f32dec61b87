"""A daemon is killed while it measures: one comes back and goes on, one stays dead."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from edgenas.campaign.errors import MeasuringError
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.progress import Silent
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.searching import SearchPlan, search
from edgenas.campaign.workbench import workbench
from edgenas.fleet.host import FleetHost
from edgenas.fleet.timers import HostTimers
from edgenas.search.trial import Outcome
from tests.workflows.sites import DEVICES, WAIT_S, Site, ended_trials, until

PLAN = SearchPlan({"evolution": 3, "random": 2})
# The broker tells of a death ten seconds after it; what the host adds to that is short here.
SHORT = HostTimers(death_grace_s=0.1, lost_after_s=0.1)


@contextmanager
def disaster(site: Site, host: FleetHost, device_id: str, *, back: bool) -> Iterator[None]:
    """Meanwhile, kill a daemon in the middle of a job after its first; bring it back if wanted."""
    daemon = site.daemon(device_id)
    struck = threading.Event()

    def measures() -> bool:
        first = any(trial.device == device_id for trial in ended_trials(site.run))
        states = {view.device_id: view.state for view in host.devices()}
        state = states[device_id]
        return first and state is not None and state.status == "measuring"

    def strike() -> None:
        until(measures)
        daemon.kill()
        if back:
            daemon.start()
        struck.set()

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert struck.is_set()


def test_a_daemon_that_comes_back_goes_on(run: RunDir, site: Site) -> None:
    host = site.host()
    setups = [DeviceSetup(device) for device in DEVICES]
    with workbench(run) as bench, disaster(site, host, "dev-a", back=True):
        space = bench.checkpoint.space
        search(bench.measurer(host), bench.study, space, setups, PLAN, Silent())
        trials = bench.study.trials()
    assert len(trials) == len(DEVICES) * PLAN.total
    assert all(isinstance(trial.value, Outcome) for trial in trials)


def test_a_daemon_that_stays_dead_costs_only_its_own_work(run: RunDir, site: Site) -> None:
    host = site.host(SHORT)
    setups = [DeviceSetup(device) for device in DEVICES]
    with workbench(run) as bench:
        space = bench.checkpoint.space
        with (
            disaster(site, host, "dev-b", back=False),
            pytest.raises(MeasuringError, match="dev-b"),
        ):
            search(bench.measurer(host), bench.study, space, setups, PLAN, Silent())
        healthy, lost = (bench.study.trials(device) for device in DEVICES)
        assert [trial.state for trial in healthy] == ["complete"] * PLAN.total
        assert lost[0].state == "complete"
        assert "asked" in {trial.state for trial in lost}
        assert "failed" not in {trial.state for trial in lost}
        site.daemon("dev-b").start()
        site.daemons.wait_online(host, WAIT_S)
        plan = replace(PLAN, trials={"evolution": 3, "random": 3})
        search(bench.measurer(host), bench.study, space, setups, plan, Silent())
        found = bench.study.trials("dev-b")
        assert [trial.state for trial in found] == ["complete"] * plan.total
        assert [trial.arch for trial in found[: len(lost)]] == [trial.arch for trial in lost]
