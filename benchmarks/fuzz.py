"""Every parser of what comes from outside, under coverage-guided fuzzing: executions and finds.

    make fuzz [FUZZ_SECONDS=30] [FUZZ_WORKERS=2] [FUZZ_FLAGS="--only plan-file"]

One child process a parser, `--workers` at a time, by a Python that has atheris. What a parser came
to is kept as soon as its time is over: killed at any moment, the same command goes on and loses the
parsers under way. Another time, or another line of the code that a parser can reach, and it begins
anew; the corpus stays, so that no run begins from nothing. What a result on record says of a parser
is taken over on the same terms, so that hours of fuzzing can be spent in parts, on any machine, and
a change costs only the parsers that can reach it. A child that ends with an exception,
hangs for 20 s or takes more than 1 GiB is a find: its input is kept, named at the end, and the
parser is run again by the next command.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.fuzz_code import code_digest
from benchmarks.kept import Kept
from benchmarks.record import RESULTS, ROOT, Figure, write_result
from tests.fuzz.targets import TARGETS

SECONDS = 600
SEED = 1
START_S = 300  # a child imports and replays its corpus before the clock runs
_EXECUTED = re.compile(r"stat::number_of_executed_units: (\d+)")
_COVERED = re.compile(r"cov: (\d+)")
_LASTED = re.compile(r"Done \d+ runs in (\d+) second")


@dataclass(frozen=True)
class Row:
    """One parser.

    Attributes:
        target: Its name.
        seconds: How long it was fuzzed; 0 if that was broken off.
        executions: How many inputs it was given.
        covered: Edges of Python code that the inputs reached, as atheris counts them.
        finds: Files that broke it, below the work folder.
    """

    target: str
    seconds: int
    executions: int
    covered: int
    finds: tuple[str, ...]


Fuzz = Callable[[str], Row]


def main() -> None:
    """Fuzz all, write the result; ends with 1 if anything was found."""
    options = _arguments()
    kept = Kept(options.work / "rows.jsonl")
    about = {
        name: f"{options.seconds} s, seed {SEED}, code {code_digest(target)[:16]}"
        for name, target in TARGETS.items()
    }
    take_over(options.results / "fuzz.json", about, kept)
    asked = {name: about[name] for name in options.only or TARGETS}
    with tempfile.TemporaryDirectory(prefix="edgenas-fuzz-", dir=_memory()) as scratch:
        children = Children(options.python, options.work, options.seconds, scratch)
        fuzzed = {row.target: row for row in fuzz_all(asked, children.fuzz, kept, options.workers)}
    others = known(about, kept)
    rows = [{**others, **fuzzed}[name] for name in TARGETS if name in {*others, *fuzzed}]
    finds = [find for row in rows for find in row.finds]
    raw = {
        "executions": sum(row.executions for row in rows),
        "rows": [{**asdict(row), "holds_for": about[row.target]} for row in rows],
    }
    write_result("fuzz", figures_of(rows), {"libfuzzer": SEED}, raw, options.results)
    for find in finds:
        print(f"found, below {options.work}: {find}")
    sys.exit(1 if finds else 0)


def figures_of(rows: Sequence[Row]) -> list[Figure]:
    """What the rows come to."""
    finds, executions = sum(len(row.finds) for row in rows), [row.executions for row in rows]
    covered = [row.covered for row in rows]
    return [
        Figure("parsers", len(rows), "", len(TARGETS), ">="),
        Figure("uncaught exceptions, hangs and floods", finds, "", 0, "<="),
        Figure("shortest time of a parser", min(row.seconds for row in rows), "s", SECONDS, ">="),
        Figure("fewest executions of a parser", min(executions), "", 1e4, ">="),
        Figure("executions, all parsers (informational)", sum(executions), "", 0, ">="),
        Figure("edges reached, all parsers (informational)", sum(covered), "", 0, ">="),
    ]


def fuzz_all(about: Mapping[str, str], fuzz: Fuzz, kept: Kept, workers: int) -> list[Row]:
    """A row for each parser, in the order of the names.

    Args:
        about: The parsers, and what a row of each holds for.
        fuzz: Fuzzes one; called by `workers` threads.
        kept: Rows of earlier runs; a row without a find is kept as soon as it is there.
        workers: How many parsers at a time.
    """
    names, rows = list(about), known(about, kept)
    if rows:
        print(f"kept from before: {len(rows)} of {len(names)} parsers", flush=True)
    with ThreadPoolExecutor(workers) as pool:
        under_way = [pool.submit(fuzz, name) for name in names if name not in rows]
        try:
            for done in as_completed(under_way):
                row = done.result()
                rows[row.target] = row
                if not row.finds:
                    kept.row(f"{row.target}: {about[row.target]}", partial(asdict, row))
                _tell(row, len(rows), len(names))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [rows[name] for name in names]


def known(about: Mapping[str, str], kept: Kept) -> dict[str, Row]:
    """Rows that hold for these parsers as they are now, by name."""
    found = {name: kept.find(f"{name}: {holds_for}") for name, holds_for in about.items()}
    return {name: _row(body) for name, body in found.items() if body is not None}


def take_over(result: Path, about: Mapping[str, str], kept: Kept) -> None:
    """Keep what a result on record says of parsers that are still the same, unless it found one."""
    if not result.exists():
        return
    for body in json.loads(result.read_text("utf-8"))["raw"]["rows"]:
        name, holds_for = body["target"], body.pop("holds_for", None)
        if holds_for == about.get(name) and not body["finds"]:
            kept.row(f"{name}: {holds_for}", partial(dict, body))


@dataclass(frozen=True)
class Children:
    """Runs one parser in a process of its own.

    Attributes:
        python: A Python that has atheris.
        work: Folder of corpus and finds.
        seconds: How long.
        scratch: Folder for files that parsers read.
    """

    python: Path
    work: Path
    seconds: int
    scratch: str

    def fuzz(self, name: str) -> Row:
        """Fuzz one parser."""
        finds_in = self.work / "corpus" / "finds"
        known = set(finds_in.glob(f"{name}-*"))
        told, ended = self._run(name)
        files = sorted(set(finds_in.glob(f"{name}-*")) - known)
        new = [str(path.relative_to(self.work)) for path in files]
        if ended and not new:  # it broke without leaving a file: its last words stand for one
            words = " ".join(told.replace(f"{ROOT}/", "").split()[-40:])
            new = [f"{name}: ended with {ended}: {words}"]
        lasted_s, executions = _last(_LASTED, told), _last(_EXECUTED, told)
        return Row(name, lasted_s, executions, _last(_COVERED, told), tuple(new))

    def _run(self, name: str) -> tuple[str, int]:
        """What the child has said, and how it ended."""
        command = [
            str(self.python), "-m", "tests.fuzz.run_one", name, str(self.work / "corpus" / name),
            str(self.seconds), str(SEED),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, check=False,
                timeout=self.seconds + START_S, env={**os.environ, "TMPDIR": self.scratch},
            )  # fmt: skip
        except subprocess.TimeoutExpired as hung:
            return (hung.stderr or b"").decode("utf-8", "replace"), 1
        return done.stderr.decode("utf-8", "replace"), done.returncode


def _tell(row: Row, count: int, total: int) -> None:
    print(
        f"{count}/{total} {row.target}: {row.seconds} s, {row.executions} executions, "
        f"{row.covered} edges, {len(row.finds)} finds",
        flush=True,
    )


def _row(body: dict[str, Any]) -> Row:
    return Row(**{**body, "finds": tuple(body["finds"])})


def _memory() -> str | None:
    """A folder that is no disk, where there is one: some parsers read a file each time."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _last(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.findall(text)
    return int(found[-1]) if found else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--python", type=Path, required=True, help="a Python that has atheris")
    parser.add_argument("--seconds", type=_positive, default=SECONDS, help="for each parser (600)")
    parser.add_argument(
        "--workers", type=_positive, default=1, help="parsers at a time, a core each (1)"
    )
    parser.add_argument(
        "--only", action="append", choices=sorted(TARGETS), metavar="PARSER",
        help=f"this parser; repeatable: {', '.join(TARGETS)}",
    )  # fmt: skip
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "fuzz", help="rows, corpus, finds stay here"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the result")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, got {text!r}")
    return int(text)


if __name__ == "__main__":
    main()
