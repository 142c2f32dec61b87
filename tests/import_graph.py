"""Reads every import of the project from its source: who imports what, where.

Runs nothing of it; which imports are allowed is for the tests that use it.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("firmware_bridge", "device_profiles", "edgenas")


@dataclass(frozen=True)
class Import:
    """One imported module, as an absolute name, and where it stands."""

    importer: str
    target: str
    line: int
    inside_function: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


@cache
def modules() -> dict[str, Path]:
    """Every module of the project: dotted name to file."""
    found: dict[str, Path] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _nodes(tree: ast.AST, in_function: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    for node in ast.iter_child_nodes(tree):
        yield node, in_function
        starts = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _nodes(node, in_function or starts)


def imports_in(source: str, importer: str, is_package: bool, known: set[str]) -> list[Import]:
    """Every import in `source`; `from x import y` counts as x.y where that is a module."""
    found: list[Import] = []
    for node, inside in _nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = importer.split(".")[: None if is_package else -1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, *([base] if base else [])])
            named = [f"{base}.{alias.name}" for alias in node.names]
            targets = [name if name in known else base for name in named]
        else:
            continue
        found += [Import(importer, t, node.lineno, inside) for t in dict.fromkeys(targets)]
    return found


@cache
def all_imports() -> tuple[Import, ...]:
    known = set(modules())
    return tuple(
        found
        for name, path in modules().items()
        for found in imports_in(
            path.read_text(encoding="utf-8"), name, path.name == "__init__.py", known
        )
    )


def reached_from(start: Iterable[str]) -> set[str]:
    """Every module, ours or not, that importing `start` can lead to, `start` included."""
    graph: dict[str, set[str]] = {}
    for found in all_imports():
        graph.setdefault(found.importer, set()).add(found.target)
    queue = list(start)
    seen = set(queue)
    while queue:
        new = graph.get(queue.pop(), set()) - seen
        seen |= new
        queue += new
    return seen
