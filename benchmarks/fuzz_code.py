"""Which code a fuzz target runs: the lines of the target, and every module that it can import.

Read from the sources by names alone, so it is more than what runs and never less: a row of a parser
is kept for as long as no line that it could reach has changed.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from benchmarks.record import ROOT
from tests.fuzz.target import Target
from tests.import_graph import imports_in, modules, reached_from

FUZZERS = ROOT / "tests" / "fuzz"
HARNESS = ("run_one.py", "target.py", "watch.py")
_PACKAGE = "tests.fuzz"


def code_digest(target: Target) -> str:
    """Digest of everything that decides what fuzzing a target may find, its seeds aside."""
    source, imported = reach(target.parse)
    known = modules()
    reached = sorted(str(known[name]) for name in reached_from(imported) if name in known)
    whole = hashlib.sha256(source.encode())
    for path in (*(str(FUZZERS / name) for name in HARNESS), *reached):
        whole.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return whole.hexdigest()


def reach(parse: Callable[[bytes], None]) -> tuple[str, set[str]]:
    """Source of a target with all it uses of its file, and the modules that this names."""
    while isinstance(parse, partial):
        parse = parse.func
    file = _file(parse.__module__.rpartition(".")[2])
    queue, seen, named = [parse.__name__], set[str](), set[str]()
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        named |= file.imported.get(name, set())
        for used in file.uses.get(name, ()):
            queue.append(used)
        named |= file.inside.get(name, set())
    return "\n".join(file.text[name] for name in sorted(seen & file.text.keys())), named


class _File:
    """The names at the top of one file of targets.

    Attributes:
        imported: Name to the modules that it may come from.
        text: Source of what is defined here, by name.
        uses: Name to the names in its source.
        inside: Name to the modules that its source imports itself.
    """

    def __init__(self, path: Path) -> None:
        source = path.read_text("utf-8")
        self.imported: dict[str, set[str]] = {}
        self.text: dict[str, str] = {}
        self.uses: dict[str, set[str]] = {}
        self.inside: dict[str, set[str]] = {}
        for node in ast.parse(source).body:
            lines = ast.get_source_segment(source, node) or ""
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    self.imported.setdefault(name, set()).update(_imports(lines))
                continue
            for name in _defined(node):
                self.text[name] = lines
                self.uses[name] = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
                self.inside[name] = _imports(lines)


@cache
def _file(name: str) -> _File:
    return _File(FUZZERS / f"{name}.py")


def _imports(source: str) -> set[str]:
    found = imports_in(source, _PACKAGE, True, set(modules()))
    return {each.target for each in found}


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [each.id for each in targets if isinstance(each, ast.Name)]
