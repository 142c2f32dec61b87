"""One of several processes that all try to do the same work on one journal, at the same time.

Started by the tests as `python -m tests.edgenas.fleet.rival WHERE`; begins at a line on standard
input, and says as JSON what it was the first to do.
"""

import json
import sys
from contextlib import closing

from edgenas.fleet.deployment_log import DeploymentRow, OutcomeRow
from edgenas.fleet.job_log import AnswerRow, Artifact, JobRow
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.rollout_log import Account, EventRow

WORK = 25
NAMES = [f"{number:032x}" for number in range(WORK)]


def main() -> None:
    """Do everything once, like everybody else."""
    with closing(FleetJournal(sys.argv[1], who=f"rival {sys.argv[2]}")) as journal:
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(compete(journal)), flush=True)
        sys.stdin.readline()  # what it owns is its own until it ends


def compete(journal: FleetJournal) -> dict[str, list[object]]:
    """What this process was the first to do."""
    jobs, deployments, rollouts = journal.jobs, journal.deployments, journal.rollouts
    won: dict[str, list[object]] = {
        name: [] for name in ("submitted", "answered", "ended", "counters", "decided")
    }
    for name in NAMES:
        if jobs.add(JobRow(name, "dev-1", b"{}", 1), [Artifact("a" * 64, 1)]):
            won["submitted"].append(name)
        if jobs.add_answer(AnswerRow(name, 1, 1, b"{}", 1), 1):
            won["answered"].append(name)
        with journal.transaction():
            if deployments.get(name) is None:
                deployments.add(DeploymentRow(name, "dev-1", "main", 1))
        if deployments.add_outcome(OutcomeRow(name, "EXPIRED", 0, 0, None, 1), 1):
            won["ended"].append(name)
        won["counters"].append(deployments.next_forward_counter("main", 0, 1))
        following = EventRow(len(rollouts.events("r1")) + 1, 1, "started", "{}")
        if rollouts.append("r1", [following], [Account("rollout.started", {}, True)], 1):
            won["decided"].append(following.position)
        journal.audit.add("test.done", name, 1)
    return won


if __name__ == "__main__":
    main()
