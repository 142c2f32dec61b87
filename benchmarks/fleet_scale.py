"""What a rollout to a thousand devices costs one host and one broker, and how that grows.

    python -m benchmarks.fleet_scale [--devices 100 1000] [--daemons 20] [--model-bytes 1000000]

For each number of devices a real mosquitto is set up with TLS on the loopback by `edgenas broker
init` and `run`. A fresh fleet of simulated devices (see `simulated_device`: real keys, enrolment,
links, pulls and signatures; no disk for models and no runtime) joins by one invitation of `edgenas
fleet invite`, each device with a certificate of its own. Then the real command `edgenas rollout
start` brings a model to all of them in four waves (one canary, 5, 25 and 100 %), `max_in_flight`
16, no limit of offers a minute and no soak. Host and broker are processes of their own, and so are
the devices: what the devices cost is not counted, but they share the machine's cores. `--plain`
leaves enrolment and TLS out.

- *enrolled*: from the start of the devices' processes until the last one has its certificate;
- *time*: from the start of the command, imports included, to its end;
- *host*: processor time and most resident memory (VmHWM) of the command;
- *broker*: the same of mosquitto, connecting all devices included;
- *lost or doubled*: devices that the database does not know to run the model, outcomes of one
  deployment beyond the first, devices that carried something out twice;
- *wrong*: devices that run what was not signed for them, or something else than the database says;
- *growth*: what one device takes in the largest fleet over what it takes in the smallest, as time
  and as the host's processor time, after what the command takes without any work was taken off.

Afterwards the same rollout goes to `--daemons` real daemons, whose stub of a model a real runtime
loads, tries and probes on these cores; its time is reported, its correctness is a figure.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.own_broker import OwnBroker
from benchmarks.own_site import OwnSite
from benchmarks.real_daemons import PROFILE as REAL_PROFILE
from benchmarks.real_daemons import daemons_of, running, stub_parcel
from benchmarks.record import RESULTS, Figure, write_result
from benchmarks.rollout_runs import (
    Cost,
    RunFolder,
    carry_out,
    cost_so_far,
    random_parcel,
    scratch_folder,
    truths,
)
from benchmarks.simulated_device import PROFILE
from benchmarks.simulated_fleet import Joining, SimulatedFleet
from edgenas.rollout.plan import Plan

FLEET = "scale"
SEED = 0
TIME_TARGET_S, HOST_TARGET_MB, GROWTH_TARGET = 300.0, 500.0, 1.0
LIMIT_S = 3600.0
Broker = OwnBroker | OwnSite
FAULTS = ("lost", "doubled", "wrong", "disagreeing", "broken", "twice")


def main() -> None:
    """Every size, then the daemons, then the result."""
    options = _arguments()
    load = {"before": os.getloadavg()}
    alone = _alone(options)
    sizes = [_simulated(options, count) for count in sorted(options.devices)]
    real = [_real(options.daemons)] if options.daemons else []
    load["after"] = os.getloadavg()
    raw: dict[str, object] = {"sizes": sizes, "daemons": real, "load": load}
    raw["command_alone"] = {"seconds": alone[0], **asdict(alone[1])}
    figures = _figures(sizes, real, alone, options.model_bytes)
    write_result("fleet_scale", figures, {"seed": SEED}, raw, options.results)


def _figures(
    sizes: list[dict[str, Any]],
    real: list[dict[str, Any]],
    alone: tuple[float, Cost],
    model_bytes: int,
) -> list[Figure]:
    most, fewest = sizes[-1], sizes[0]
    what = f"{most['devices']} devices x {model_bytes / 1e6:g} MB"
    faults = sum(one["truths"][name] for one in sizes for name in FAULTS)
    how = "" if most["joined"] else " (plain)"
    what += how
    figures = [
        Figure(f"{what}: time", most["seconds"], "s", TIME_TARGET_S, "<="),
        Figure(
            f"{what}: host, memory", most["host"]["peak_bytes"] / 1e6, "MB", HOST_TARGET_MB, "<="
        ),
        Figure("lost, doubled or wrong, all sizes", faults, "", 0, "<="),
    ]
    figures += _growth(fewest, most, alone)
    if real:
        faults = sum(one["truths"][name] for one in real for name in FAULTS)
        figures.append(
            Figure(f"{real[0]['devices']} real daemons: lost, wrong", faults, "", 0, "<=")
        )
    return figures


def _growth(
    fewest: dict[str, Any], most: dict[str, Any], alone: tuple[float, Cost]
) -> list[Figure]:
    """What a device costs in the largest fleet over what it costs in the smallest.

    None where the smallest took no longer than the command alone: it says nothing then.
    """
    found = []
    spent = {
        "time": [one["seconds"] - alone[0] for one in (most, fewest)],
        "host's processor time": [one["host"]["cpu_s"] - alone[1].cpu_s for one in (most, fewest)],
    }
    for what, (large, small) in spent.items():
        if small > 0 and most["devices"] > fewest["devices"]:
            growth = (large / most["devices"]) / (small / fewest["devices"])
            name = f"{what} a device, {most['devices']} over {fewest['devices']} devices"
            found.append(Figure(name, growth, "times", GROWTH_TARGET, "<="))
    return found


def _simulated(options: argparse.Namespace, count: int) -> dict[str, Any]:
    with ExitStack() as at:
        path = at.enter_context(scratch_folder("scale"))
        broker: Broker = at.enter_context(_broker(path, options.plain))
        folder = RunFolder(path / "run", broker.url, FLEET, tls=_tls(broker))
        with _online(broker, folder, count) as (fleet, joined):
            began_s = time.monotonic()
            parcel = random_parcel(PROFILE, options.model_bytes, SEED)
            plan = folder.plan({PROFILE: fleet.names}, parcel)
            planned_s = time.monotonic() - began_s
            row = _carried_out(folder, plan, broker)
            told = fleet.ask()
        runs = {name: one.runs.get(plan.slot) for name, one in told.items()}
        twice = sum(len(one.taken) - len(set(one.taken)) for one in told.values())
        row["truths"] = asdict(truths(folder, plan, runs)) | {"twice": twice}
        row["joined"] = joined
        row["online_and_planned_s"] = planned_s
        row["bytes_pulled"] = sum(one.bytes_pulled for one in told.values())
        row["reports_again"] = sum(one.reports_again for one in told.values())
        return row


def _real(count: int) -> dict[str, Any]:
    with scratch_folder("scale") as path, ExitStack() as at:
        broker = at.enter_context(OwnBroker(path))
        folder = RunFolder(path / "run", broker.url, FLEET)
        at.enter_context(daemons := daemons_of(path, broker.url, FLEET, count, folder.keys))
        names = [device.spec.device_id for device in daemons.devices]
        plan = folder.plan({REAL_PROFILE: names}, stub_parcel)
        row = _carried_out(folder, plan, broker)
        runs = {name: running(path, name) for name in names}
        row["truths"] = asdict(truths(folder, plan, runs)) | {"twice": 0}
        return row


@contextmanager
def _online(
    broker: Broker, folder: RunFolder, count: int
) -> Iterator[tuple[SimulatedFleet, dict[str, Any]]]:
    """Devices that have joined, with what that took; the invitation is over by then."""
    key = folder.keys.verify[0]
    if isinstance(broker, OwnBroker):
        with SimulatedFleet(broker.url, FLEET, count, key, SEED) as fleet:
            yield fleet, {}
        return
    with ExitStack() as at:
        with broker.invitation(folder, uses=count) as invitation:
            began_s = time.monotonic()
            joining = Joining(invitation.token, folder.folder / "devices")
            crowd = SimulatedFleet(broker.url, FLEET, count, key, SEED, joining)
            fleet = at.enter_context(crowd)
            seconds = time.monotonic() - began_s
            joined = {"seconds": seconds, "host": asdict(invitation.cost())}
        yield fleet, joined


@contextmanager
def _broker(path: Path, plain: bool) -> Iterator[Broker]:
    with OwnBroker(path) if plain else OwnSite(path) as broker:
        yield broker


def _tls(broker: Broker) -> Path | None:
    return broker.tls if isinstance(broker, OwnSite) else None


def _carried_out(folder: RunFolder, plan: Plan, broker: Broker) -> dict[str, Any]:
    seconds, host = carry_out(folder, plan, LIMIT_S)
    return {
        "devices": len(plan.members),
        "waves": {wave.name: len(wave.devices) for wave in plan.waves},
        "seconds": seconds,
        "host": asdict(host),
        "broker": asdict(cost_so_far(broker.pid)),
        "database_bytes": sum(
            path.stat().st_size for path in folder.folder.glob(f"{folder.database.name}*")
        ),
    }


def _alone(options: argparse.Namespace) -> tuple[float, Cost]:
    """What the command takes for a rollout that is over already: seconds, and its cost."""
    with ExitStack() as at:
        path = at.enter_context(scratch_folder("scale"))
        broker: Broker = at.enter_context(_broker(path, options.plain))
        folder = RunFolder(path / "run", broker.url, FLEET, tls=_tls(broker))
        with _online(broker, folder, 1) as (fleet, _):
            plan = folder.plan({PROFILE: fleet.names}, random_parcel(PROFILE, 1024, SEED))
            carry_out(folder, plan, LIMIT_S)
            return carry_out(folder, plan, LIMIT_S)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, nargs="+", default=[100, 1_000])
    parser.add_argument("--plain", action="store_true", help="without enrolment and TLS")
    parser.add_argument("--daemons", type=int, default=20, help="real ones; 0 for none")
    parser.add_argument("--model-bytes", type=int, default=1_000_000)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
