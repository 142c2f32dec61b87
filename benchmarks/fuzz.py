"""Every parser of what comes from outside, under coverage-guided fuzzing: executions and finds.

    make fuzz [FUZZ_FLAGS="--seconds 30 --only plan-file"]

One child process a target, one after the other, by a Python that has atheris; the corpus stays in
the work folder, so that a later run goes on from it. A child that ends with an exception, hangs for
20 s or takes more than 1 GiB is a find: its input is kept, and named at the end.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.record import RESULTS, ROOT, Figure, write_result
from tests.fuzz.targets import TARGETS

SECONDS = 600
SEED = 1
START_S = 300  # a child imports and replays its corpus before the clock runs
_EXECUTED = re.compile(r"stat::number_of_executed_units: (\d+)")
_COVERED = re.compile(r"cov: (\d+)")


@dataclass(frozen=True)
class Row:
    """One target: how long, how many executions, edges covered, and files that broke it."""

    target: str
    seconds: int
    executions: int
    covered: int
    finds: tuple[str, ...]


def main() -> None:
    """Fuzz all, write the result; ends with 1 if anything was found."""
    options = _arguments()
    rows = [_fuzz(name, options) for name in options.only or TARGETS]
    finds = [find for row in rows for find in row.finds]
    figures = [
        Figure("uncaught exceptions, hangs and floods", len(finds), "", 0, "<="),
        Figure("shortest time of a parser", min(row.seconds for row in rows), "s", SECONDS, ">="),
        Figure("parsers", len(rows), "", len(TARGETS), ">="),
        Figure("fewest executions of a parser", min(r.executions for r in rows), "", 1e4, ">="),
    ]
    raw = {"executions": sum(row.executions for row in rows), "rows": [asdict(r) for r in rows]}
    write_result("fuzz", figures, {"libfuzzer": SEED}, raw, options.results)
    for find in finds:
        print(f"found: {find}")
    sys.exit(1 if finds else 0)


def _fuzz(name: str, options: argparse.Namespace) -> Row:
    corpus = options.work / "corpus" / name
    finds_in = corpus.parent / "finds"
    known = set(finds_in.glob(f"{name}-*"))
    command = [
        str(options.python), "-m", "tests.fuzz.run_one", name, str(corpus),
        str(options.seconds), str(SEED),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, check=False,
            timeout=options.seconds + START_S,
        )  # fmt: skip
        told, ended = done.stderr.decode("utf-8", "replace"), done.returncode
    except subprocess.TimeoutExpired as hung:
        told, ended = (hung.stderr or b"").decode("utf-8", "replace"), 1
    new = sorted(str(path) for path in set(finds_in.glob(f"{name}-*")) - known)
    if ended and not new:  # it broke without leaving a file: its last words stand for one
        new = [f"{name}: ended with {ended}: {' '.join(told.split()[-40:])}"]
    row = Row(name, options.seconds, _last(_EXECUTED, told), _last(_COVERED, told), tuple(new))
    print(f"{name}: {row.executions} executions, {row.covered} edges, {len(new)} finds", flush=True)
    return row


def _last(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.findall(text)
    return int(found[-1]) if found else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--python", type=Path, required=True, help="a Python that has atheris")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each parser (600)")
    parser.add_argument(
        "--only", action="append", choices=sorted(TARGETS), help="this parser; repeatable"
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "fuzz", help="corpus and finds stay here"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
