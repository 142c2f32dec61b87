"""How long a host needs to bring a large model to 200 devices.

    python -m benchmarks.fleet_rollout_200 [--devices 200] [--model-bytes 3500000] [--rounds 3]

Simulated devices (see `simulated_device`: real links, real pulls, real signatures; no disk and no
runtime), several processes of them, are connected to a real mosquitto on the loopback. The real
command `edgenas rollout start` then carries out a rollout of one wave with `max_in_flight` 16, no
limit of offers a minute and no soak; the devices' trial and probation take no time. The time is
from the start of the command, imports included, to its end, at which every device has said that it
runs the model, and that is durable. Each round is a fresh fleet and a fresh database; the worst is
the figure. Afterwards what every device runs is compared with what was signed, and with the
database.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.own_broker import OwnBroker
from benchmarks.record import RESULTS, Figure, write_result
from benchmarks.rollout_runs import (
    GATE,
    RunFolder,
    carry_out,
    cost_so_far,
    random_parcel,
    scratch_folder,
    truths,
)
from benchmarks.simulated_device import PROFILE
from benchmarks.simulated_fleet import SimulatedFleet
from edgenas.rollout.waves import WaveRule

FLEET = "rollout200"
SEED = 0
TARGET_S = 60.0
LIMIT_S = 3600.0
AT_ONCE = (WaveRule(percent=100, gate=GATE),)


def main() -> None:
    """Roll out, compare, write the result."""
    options = _arguments()
    load = {"before": os.getloadavg()}
    rounds = [_round(options, number) for number in range(options.rounds)]
    load["after"] = os.getloadavg()
    faults = sum(
        one["truths"][name]
        for one in rounds
        for name in ("lost", "doubled", "wrong", "disagreeing", "broken")
    )
    size_mb = options.model_bytes / 1e6
    figures = [
        Figure(
            f"{options.devices} devices x {size_mb:g} MB, worst round",
            max(one["seconds"] for one in rounds),
            "s",
            TARGET_S,
            "<=",
        ),
        Figure("results lost or doubled, devices with the wrong model", faults, "", 0, "<="),
    ]
    raw = {"rounds": rounds, "load": load, "devices": options.devices}
    write_result("fleet_rollout_200", figures, {"seed": SEED}, raw, options.results)


def _round(options: argparse.Namespace, number: int) -> dict[str, Any]:
    with scratch_folder("rollout") as path, OwnBroker(path) as broker:
        folder = RunFolder(path / "run", broker.url, FLEET)
        key = folder.keys.verify[0]
        with SimulatedFleet(broker.url, FLEET, options.devices, key, SEED) as fleet:
            parcel = random_parcel(PROFILE, options.model_bytes, SEED + number)
            plan = folder.plan({PROFILE: fleet.names}, parcel, AT_ONCE)
            seconds, host = carry_out(folder, plan, LIMIT_S)
            told = fleet.ask()
        runs = {name: one.runs.get(plan.slot) for name, one in told.items()}
        found = truths(folder, plan, runs)
        return {
            "seconds": seconds,
            "host": asdict(host),
            "broker": asdict(cost_so_far(broker.pid)),
            "bytes_pulled": sum(one.bytes_pulled for one in told.values()),
            "truths": asdict(found),
        }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--model-bytes", type=int, default=3_500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
