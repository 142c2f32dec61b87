"""A searcher and a score of one's own, on real measurements of this machine.

    edgenas train --out RUN && python -m examples.own_search RUN [--trials 12]

The score counts the bytes that a network moves: weights and activations, read and written. On small
machines that often says more of the latency than MACs do, and it costs arithmetic only. The
searcher climbs: it mutates the best trial so far and proposes, of several children, the one that
moves least. Both would be used alike by `edgenas.campaign.searching.search`, under the searcher's
name in `SEARCHERS`. Killed at any moment, the same command goes on.
"""

from __future__ import annotations

import argparse
import random
from contextlib import ExitStack
from pathlib import Path

from edgenas.broker.thread import BrokerThread
from edgenas.campaign.errands import Errand, run_errands
from edgenas.campaign.fleet_session import FLEET, fleet_host
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.workbench import workbench
from edgenas.fleet.local import LocalDeviceSpec, LocalFleet
from edgenas.search.api import Budget, CostClass, Score, Search, Searcher, parse_budget
from edgenas.search.front import best_under
from edgenas.space import Arch, ArchSpace

DEVICE = "this-machine"
CHILDREN = 8
ONLINE_S = 60.0


class TrafficScore(Score):
    """Bytes that one inference reads and writes: weights once, every tensor where it is used."""

    metric, cost = "traffic_bytes", CostClass.ARITHMETIC

    def __init__(self, space: ArchSpace) -> None:
        self._space = space

    def of(self, arch: Arch) -> float:
        """The answer in bytes; INT8, so an element is a byte."""
        layers = self._space.layers(arch)
        moved = sum(layer.in_elements + layer.out_elements for layer in layers)
        return float(self._space.weight_bytes(arch) + moved)


class FrugalClimb(Searcher):
    """Mutates the most accurate trial inside the budget; of the children, the one that moves least.

    A proposal may depend on the seed, the number of earlier proposals and what was told, and on
    nothing else: then a search that was killed goes on as if nothing had been.
    """

    name = "frugal"

    def _propose(self, index: int, attempt: int, rng: random.Random) -> Arch:
        if index == 0 and attempt == 0:
            return self.space.smallest()
        best = best_under(self._history(), self.budget)
        if best is None or attempt > CHILDREN:
            return self.space.sample_by_size(rng)
        score = TrafficScore(self.space)
        children = [self.space.mutate(best.arch, rng, 0.2) for _ in range(CHILDREN)]
        new = [child for child in children if not self._is_known(child)]
        return min(new or children, key=lambda child: (score.of(child), child.id))


def main() -> None:
    """Search, and say what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of `edgenas train`")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--budget", default="100ms", help="limits, such as 5ms,8MiB")
    options = parser.parse_args()
    search_here(RunDir(options.run), options.trials, parse_budget(options.budget))


def search_here(run: RunDir, trials: int, budget: Budget) -> None:
    """Measure `trials` candidates with a daemon on this machine."""
    with ExitStack() as stack:
        bench = stack.enter_context(workbench(run))
        url = stack.enter_context(BrokerThread(port=0)).url
        host = stack.enter_context(fleet_host(run, url, FLEET))
        log, state = run.devices / f"{DEVICE}.log", (run.devices / DEVICE).resolve()
        daemon = LocalDeviceSpec(
            device_id=DEVICE, broker_url=url, fleet=FLEET, state_dir=state, log_path=log
        )
        stack.enter_context(LocalFleet([daemon])).wait_online(host, ONLINE_S)
        space, measurer = bench.checkpoint.space, bench.measurer(host)
        search = Search(bench.study, FrugalClimb(space, device=DEVICE, seed=0, budget=budget))
        while sum(trial.state != "asked" for trial in search.trials) < trials:
            asked = search.ask(2)  # one is measured while the other waits
            if not asked:
                break
            setup = DeviceSetup(DEVICE)
            errands = [Errand(f"trial-{t.number}", setup, t.arch, "quick") for t in asked]
            by_key = {errand.key: t for errand, t in zip(errands, asked, strict=True)}
            for done in run_errands(measurer, errands):
                ended = search.tell(by_key[done.errand.key], done.result, done.raw)
                print(_told(ended.arch, TrafficScore(space)), ended.value or ended.failure)
                search.prepare()  # a searcher that learns thinks now, while the other is measured
        best = search.best()
        print("best:", "nothing fits" if best is None else best.arch.describe())


def _told(arch: Arch, score: Score) -> str:
    return f"{arch.id} moves {score.of(arch) / 1e3:.0f} kB:"


if __name__ == "__main__":
    main()
