"""A pick on this machine under a real load, measured again when the load is gone.

    python -m benchmarks.search_noise_machine --run RUN [--trials 40] [--cpu N]

A search with a daemon of its own, while a process competes for its processor one tenth of the time
in bursts of 20 ms. Then the load ends, and the pick is measured alone; so are the trials that are
more accurate than it, which tells the regret among everything that was measured. RUN is a trained
run folder; its study grows by one device. No other work should run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.record import RESULTS, write_result
from benchmarks.search_noise import NO_PICK_PT, Run, figures
from edgenas.broker.thread import BrokerThread
from edgenas.campaign.errands import Errand, run_errands
from edgenas.campaign.finals import FinalsPlan, certify, decide
from edgenas.campaign.fleet_session import FLEET, fleet_host
from edgenas.campaign.measurer import Measurer
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.progress import Silent
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.searching import BudgetShares, SearchPlan, establish_budget, search
from edgenas.campaign.workbench import workbench
from edgenas.fleet.local import LocalDeviceSpec, LocalFleet
from edgenas.search import SEARCHERS
from edgenas.search.pick import Finalist
from edgenas.search.trial import Outcome
from edgenas.space import Arch

ONLINE_S = 60.0
LOAD = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
while True:
    end = time.perf_counter() + 0.02
    while time.perf_counter() < end:
        pass
    time.sleep(0.18)
"""


def main() -> None:
    """Search under load, measure alone, write the result."""
    options = _arguments()
    run = RunDir(options.run)
    setup = DeviceSetup(f"noisy-{options.seed}", cpus=(options.cpu,))
    finals = FinalsPlan(level="standard")
    with ExitStack() as stack:
        bench = stack.enter_context(workbench(run))
        url = stack.enter_context(BrokerThread(port=0)).url
        host = stack.enter_context(fleet_host(run, url, FLEET))
        daemons = stack.enter_context(LocalFleet([_spec(run, setup.device_id, url)]))
        daemons.wait_online(host, ONLINE_S)
        measurer, space, study = bench.measurer(host), bench.checkpoint.space, bench.study
        budget = establish_budget(
            measurer, study, space, setup, BudgetShares(options.share, None), 3
        )
        with _load(options.cpu):
            plan = SearchPlan({options.searcher: options.trials}, seed=options.seed)
            search(measurer, study, space, [setup], plan, Silent())
            certify(measurer, study, [setup], finals, options.seed, Silent())
        pick = decide(study, setup.device_id, finals).pick
        values = {t.arch: t.value for t in study.trials(setup.device_id) if t.value is not None}
        truth = _alone(measurer, setup, pick, values)
        sessions = len(study.sessions(setup.device_id))
    found = against_truth(options.seed, budget.latency_p95_ms, pick, truth, sessions)
    raw = {"budget_ms": budget.latency_p95_ms, "cpu": options.cpu, "run": asdict(found)}
    seeds = {"search": options.seed}
    write_result("search_noise_machine", figures([found]), seeds, raw, options.results)


def _alone(
    measurer: Measurer, setup: DeviceSetup, pick: Finalist | None, values: dict[Arch, Outcome]
) -> dict[Arch, Outcome]:
    """The pick, and what is more accurate than it, measured without the load."""
    least = -1.0 if pick is None else pick.sessions[0].accuracy
    archs = [arch for arch, value in values.items() if value.accuracy > least]
    archs += [] if pick is None else [pick.arch]
    errands = [Errand(f"alone-{arch.id}", setup, arch, "standard") for arch in archs]
    found = {done.errand.arch: done.result for done in run_errands(measurer, errands)}
    return {arch: value for arch, value in found.items() if isinstance(value, Outcome)}


def against_truth(
    seed: int,
    limit_ms: float | None,
    pick: Finalist | None,
    truth: dict[Arch, Outcome],
    sessions: int,
) -> Run:
    """Regret and overshoot of a pick, by what was measured alone."""
    limit = float("inf") if limit_ms is None else limit_ms
    inside: Sequence[float] = [o.accuracy for o in truth.values() if o.latency_p95_ms <= limit]
    if pick is None or pick.arch not in truth:
        return Run(seed, None, NO_PICK_PT if inside else 0.0, None, sessions)
    accuracy = pick.sessions[0].accuracy
    over = truth[pick.arch].latency_p95_ms / limit - 1
    return Run(seed, None, 100 * max(0.0, max(inside, default=0.0) - accuracy), over, sessions)


def _spec(run: RunDir, device: str, url: str) -> LocalDeviceSpec:
    return LocalDeviceSpec(
        device_id=device,
        broker_url=url,
        fleet=FLEET,
        state_dir=(run.devices / device).resolve(),
        log_path=run.devices / f"{device}.log",
    )


@contextmanager
def _load(cpu: int) -> Iterator[None]:
    """Another program on the daemon's processor, one tenth of the time."""
    child = subprocess.Popen([sys.executable, "-c", LOAD, str(cpu)])
    try:
        yield
    finally:
        child.kill()
        child.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="run folder of `edgenas train`")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--share", type=float, default=0.5, help="where the limit lies, 0 to 1")
    parser.add_argument("--searcher", choices=sorted(SEARCHERS), default="surrogate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
