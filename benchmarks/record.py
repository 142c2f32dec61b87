"""How every benchmark keeps its figures: command, seeds, commit, machine, date and raw numbers."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "onnx2tf", "ai-edge-quantizer", "ai-edge-litert", "numpy")


@dataclass(frozen=True)
class Figure:
    """One measured number and what it should be."""

    name: str
    value: float
    unit: str
    target: float
    direction: Literal[">=", "<="]

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        if self.direction == ">=":
            return self.value >= self.target
        return self.value <= self.target


def write_result(
    name: str, figures: list[Figure], seeds: dict[str, int], raw: Any, folder: Path = RESULTS
) -> Path:
    """Print the figures as a table and keep them in `<name>.json` of the folder."""
    body = {
        "benchmark": name,
        "figures": [asdict(figure) for figure in figures],
        "command": f"python -m benchmarks.{name} {shlex.join(_public(sys.argv[1:]))}".strip(),
        "seeds": seeds,
        "commit": commit(),
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "raw": raw,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    _print(name, figures)
    return path


def update_figure(name: str, figure: str, value: float) -> None:
    """Replace one figure of `results/<name>.json`; when and on which commit is kept beside it."""
    path = RESULTS / f"{name}.json"
    body = json.loads(path.read_text(encoding="utf-8"))
    for entry in body["figures"]:
        if entry["name"] == figure:
            when = datetime.now(UTC).isoformat(timespec="seconds")
            entry.update(value=value, measured={"date": when, "commit": commit()})
            print(f"{figure}: {value:.4g} {entry['unit']} ({entry['direction']} {entry['target']})")
    path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


def _public(words: list[str]) -> list[str]:
    """The command line without the folders of one machine."""
    return [Path(word).name.upper() if word.startswith("/") else word for word in words]


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    versions = {package: metadata.version(package) for package in PACKAGES}
    return {
        "cpu": model,
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        **versions,
    }


def commit() -> str:
    """Commit of the working tree, marked if it differs."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _print(name: str, figures: list[Figure]) -> None:
    table = Table(title=name)
    for heading in ("figure", "value", "target", "met"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    for figure in figures:
        value, target = f"{figure.value:.4g} {figure.unit}", f"{figure.direction} {figure.target:g}"
        table.add_row(figure.name, value, target, "yes" if figure.met else "NO")
    Console().print(table)
