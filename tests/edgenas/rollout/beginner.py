"""One of several processes that each start another rollout on one database, at the same time.

Started by the tests as `python -m tests.edgenas.rollout.beginner WHERE ROLLOUT`; begins at a line
on standard input, and says whether its rollout was started.
"""

import sys

from edgenas.fleet.rollout_log import opened
from edgenas.rollout.asking import begin
from edgenas.rollout.errors import VerbError
from edgenas.rollout.journal_store import JournalStore


def main() -> None:
    """Start it, unless a newer one was quicker."""
    where, rollout_id = sys.argv[1:]
    with opened(where, rollout_id[:8]) as log:
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            began: str = begin(JournalStore(log), rollout_id, "op", 1).status
        except VerbError as error:
            began = str(error)
    print(began, flush=True)


if __name__ == "__main__":
    main()
