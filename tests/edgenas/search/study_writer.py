"""A process that writes a study until it is killed, saying what has been acknowledged.

Started by the tests as `python -m tests.edgenas.search.study_writer FILE ROUND`. Each line on
standard output names something that a call of `Study` had returned from.
"""

import random
import sys

from edgenas.search.study import Study
from tests.edgenas.search.analytic import DIGITS, outcome
from tests.edgenas.search.study_cases import IDENTITY


def main() -> None:
    """Ask, record and measure again without end."""
    where, round_number = sys.argv[1], int(sys.argv[2])
    rng = random.Random(round_number)
    with Study.open(where, IDENTITY) as study:
        while True:
            arch = DIGITS.sample(rng)
            (trial,) = study.ask(f"board-{round_number}-{rng.random()}", "random", [arch])
            print("asked", trial.number, arch.id, flush=True)
            value = outcome(DIGITS, arch)
            study.record(trial.number, value, raw={"samples_ns": list(range(200))})
            print("complete", trial.number, arch.id, flush=True)
            study.add_session(trial.device, arch, value)
            print("session", trial.device, arch.id, flush=True)


if __name__ == "__main__":
    main()
