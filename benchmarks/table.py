"""Write the tables of docs/benchmarks.md from benchmarks/results/*.json.

    python -m benchmarks.table

What stands around the tables is written by hand and kept. A test holds that they belong together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- made by `python -m benchmarks.table`: begin -->", "<!-- end -->"
INFORMATIONAL = " (informational)"
DIGITS = 4


def main() -> None:
    """Read, write."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_tables(page, tables(read_results(RESULTS))), encoding="utf-8")


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The results of a folder, by name."""
    paths = sorted(folder.glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def with_tables(page: str, made: str) -> str:
    """The page with its tables replaced.

    Raises:
        SystemExit: it does not say where they belong.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE.name}: expected the lines {BEGIN} and {END}, got none; add them")
    return f"{before}{BEGIN}\n\n{made}\n{END}{after}"


def tables(results: Sequence[dict[str, Any]]) -> str:
    """One section a benchmark."""
    return "\n".join(section(result) for result in results)


def section(result: dict[str, Any]) -> str:
    """Heading, table, and where it comes from."""
    name, machine = result["benchmark"], result["machine"]
    head = [f"### {name}", "", "| figure | measured | aim | met |", "|---|---|---|---|"]
    rows = [_row(figure) for figure in result["figures"]]
    origin = (
        f"{result['date'][:10]}, commit {result['commit']}, {machine['cores']} cores of "
        f"{machine['cpu']}, torch {machine['torch']}, ai-edge-litert {machine['ai-edge-litert']}; "
        f"raw rows in [{name}.json](../benchmarks/results/{name}.json)"
    )
    return "\n".join([*head, *rows, "", f"`{result['command']}`", "", origin, ""])


def _row(figure: dict[str, Any]) -> str:
    unit = f" {figure['unit']}" if figure["unit"] else ""
    sign = {">=": "≥", "<=": "≤"}[figure["direction"]]
    value, target = figure["value"], figure["target"]
    met = value >= target if figure["direction"] == ">=" else value <= target
    name, aim, said = figure["name"], f"{sign} {number(target)}{unit}", "yes" if met else "**no**"
    if name.endswith(INFORMATIONAL):
        name, aim, said = name.removesuffix(INFORMATIONAL), "", ""
    if "measured" in figure:  # again, after the others
        name += f" ({figure['measured']['date'][:10]}, commit {figure['measured']['commit']})"
    return f"| {name} | {number(value)}{unit} | {aim} | {said} |"


def number(value: float) -> str:
    """Four significant digits, without an exponent where that is short; whole numbers in full."""
    if not math.isfinite(value):
        return "none"
    if value == round(value):
        return f"{value:,.0f}"
    text = f"{value:.{DIGITS}g}"
    if "e" not in text:
        return text
    return f"{value:,.0f}" if abs(value) >= 1 else f"{value:.2g}"


if __name__ == "__main__":
    main()
