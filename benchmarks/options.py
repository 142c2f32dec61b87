"""Options that the benchmarks of training share."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.record import RESULTS


def parser_of(name: str, description: str | None, *, data: bool = True) -> argparse.ArgumentParser:
    """A parser with where data are, if asked for, where work is kept and the result goes."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    if data:
        parser.add_argument("--data-root", type=Path, required=True, help="folder of the data sets")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("benchmarks/scratch") / name,
        help="runs and rows are kept here; the same command goes on with them",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        help="folder for the result; name another one for a trial with a small budget",
    )
    return parser
