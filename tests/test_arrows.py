"""The import table of the whole project, held by reading every import in every module.

Covers imports at any depth, those under TYPE_CHECKING included. What a light interpreter can import
is shown by running one, in test_light_imports.
"""

import ast
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.import_graph import PACKAGES, Import, all_imports, imports_in, modules, reached_from

# A part is named by its longest matching prefix here; it may import itself and what stands beside
# it.
ARROWS: dict[str, set[str]] = {
    "firmware_bridge.wire": set(),
    "firmware_bridge": {"firmware_bridge.wire"},
    "device_profiles": set(),
    "edgenas": set(),
    "edgenas.errors": set(),
    "edgenas.whole_file": set(),
    "edgenas.toml_file": {"edgenas.errors"},
    "edgenas.space": {"edgenas.errors", "edgenas.toml_file"},
    "edgenas.broker": {"edgenas.errors", "edgenas.whole_file"},
    "edgenas.site": {"edgenas.errors", "edgenas.whole_file", "firmware_bridge.wire"},
    "edgenas.data": {"edgenas.errors"},
    "edgenas.model": {"edgenas.errors", "edgenas.space"},
    "edgenas.train": {
        *(
            "edgenas.errors",
            "edgenas.toml_file",
            "edgenas.space",
            "edgenas.model",
            "edgenas.whole_file",
        ),
    },
    "edgenas.export": {
        *("edgenas.errors", "edgenas.space", "edgenas.model"),
        "firmware_bridge.runtimes",
    },
    "edgenas.database": {"edgenas.errors"},
    "edgenas.search": {
        *("edgenas.errors", "edgenas.space", "edgenas.database"),
        "firmware_bridge.wire",
    },
    "edgenas.fleet": {
        *("edgenas.errors", "edgenas.database", "edgenas.site", "edgenas.whole_file"),
        *("firmware_bridge.wire", "device_profiles"),
    },
    "edgenas.rollout": {
        *("edgenas.errors", "edgenas.toml_file", "edgenas.fleet", "firmware_bridge.wire"),
    },
    "edgenas.report": {"edgenas.errors", "edgenas.whole_file", "edgenas.space"},
    "edgenas.campaign": {
        *("edgenas.errors", "edgenas.space", "edgenas.model", "edgenas.train", "edgenas.export"),
        *("edgenas.search", "edgenas.data", "edgenas.fleet", "edgenas.broker", "edgenas.report"),
        *("edgenas.rollout", "edgenas.database", "edgenas.site", "edgenas.whole_file"),
        *("firmware_bridge", "firmware_bridge.wire", "firmware_bridge.runtimes"),
        "device_profiles",
    },
    "edgenas.cli": {"*"},
    "edgenas.__main__": {"edgenas.cli"},
}
# Parts of a part, named so that an arrow can point at them alone.
ARROWS["firmware_bridge.runtimes"] = {"firmware_bridge", "firmware_bridge.wire"}
ARROWS["firmware_bridge"] |= {"firmware_bridge.runtimes"}

# Where each package from outside may be imported; a module or a whole part.
SITES: dict[str, set[str]] = {
    "paho": {"firmware_bridge.wire.mqtt"},
    "cryptography": {
        *("firmware_bridge.wire.signing", "firmware_bridge.certificates"),
        *("edgenas.site.authority", "edgenas.site.vouching"),
    },
    "tflite_runtime": {"firmware_bridge.runtimes.installed"},
    "ai_edge_litert": {"firmware_bridge.runtimes.installed", "edgenas.export"},
    "onnxruntime": {"firmware_bridge.runtimes.installed"},
    "ai_edge_quantizer": {"edgenas.export"},
    "flatbuffers": {"edgenas.export"},
    "onnx": {"edgenas.export"},
    "onnx2tf": {"edgenas.export"},
    "tqdm": {"edgenas.export"},
    "sklearn": {"edgenas.data.digits", "edgenas.search.regressors"},
    "scipy": {"edgenas.search.regressors"},
    "threadpoolctl": {"edgenas.search.regressors"},
    "pymoo": {"edgenas.search.inner"},
    "optuna": {"edgenas.search.optuna_samplers"},
    "PIL": {"edgenas.data.pixels"},
    "sqlalchemy": {
        *("edgenas.database", "edgenas.search.study", "edgenas.search.probes"),
        *("edgenas.search.study_queries", "edgenas.search.score_cache", "edgenas.fleet.journal"),
        *("edgenas.fleet.workers", "edgenas.fleet.audit_log", "edgenas.fleet.device_log"),
        *("edgenas.fleet.job_log", "edgenas.fleet.deployment_log", "edgenas.fleet.release_log"),
        *("edgenas.fleet.rollout_log", "edgenas.fleet.label_log", "edgenas.fleet.enrolment_log"),
    },
    "alembic": {"edgenas.database.migrate", "edgenas.database.migrations"},
    "rich": {"edgenas.report.terminal", "edgenas.cli"},
    "torch": {"edgenas.model", "edgenas.train", "edgenas.export", "edgenas.campaign"},
    "numpy": {
        *("firmware_bridge.runtimes", "firmware_bridge.heads.pictures"),
        *("edgenas.data", "edgenas.model", "edgenas.train", "edgenas.export"),
        *("edgenas.campaign", "edgenas.search"),
    },
}
# `import` inside a function, outside the command lines: module to the reason.
LATE_IMPORTS: dict[str, str] = {
    "firmware_bridge.runtimes.installed": "the runtime is chosen when a child process asks for one",
    "edgenas.database.migrate": "a database that is up to date needs no migration tool",
    "firmware_bridge.wire.signing": "an idle daemon has no signature to check",
    "firmware_bridge.certificates": "an idle daemon has no certificate to renew",
    "firmware_bridge.agent.assembly": "only a daemon with a certificate renews it and signs",
    "edgenas.search.inner": "a command that only reads a study needs no optimiser",
    "edgenas.search.optuna_samplers": "an optional library, for those who name its searchers",
    "edgenas.search.regressors": "a command that only reads a study needs no learning library",
    "edgenas.cli": "a command loads only what it runs",
    "firmware_bridge.cli": "a command loads only what it runs",
}
# Imports by a name, which the table cannot see: module to the reason.
IMPORTS_BY_NAME: dict[str, str] = {
    "firmware_bridge.agent.deferred": "what stands in for an unused module loads it after all",
    "firmware_bridge.runtimes.installed": "takes whichever runtime is installed",
    "firmware_bridge.bench.worker": "fences itself in before numpy and a runtime start threads",
    "firmware_bridge.heads.worker": "fences itself in before numpy and a runtime start threads",
    "firmware_bridge.heads.pictures": "raw input codes need no Pillow",
    "firmware_bridge.cli": "a command loads only what it runs",
}


def _matches(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def _longest(module: str, prefixes: dict[str, set[str]]) -> str:
    return max((p for p in prefixes if _matches(module, p)), key=len)


def _is_ours(module: str) -> bool:
    return module.split(".")[0] in PACKAGES


def _own_arrow_kept(found: Import) -> bool:
    part = _longest(found.importer, ARROWS)
    allowed = {part} | ARROWS[part]
    above_an_allowed_one = any(name.startswith(found.target + ".") for name in allowed)
    return _longest(found.target, ARROWS) in allowed or above_an_allowed_one or "*" in allowed


def _site_kept(found: Import) -> bool:
    sites = SITES.get(found.target.split(".")[0], set())
    return any(_matches(found.importer, site) for site in sites)


def test_every_part_stands_in_the_table() -> None:
    parts = {".".join(name.split(".")[:2]) for name in modules() if name.startswith("edgenas.")}
    missing = {part for part in parts if part not in ARROWS and part != "edgenas.__main__"}
    assert not missing, f"parts without a row in ARROWS: {sorted(missing)}"


def test_the_table_itself_has_no_cycle() -> None:
    graph = {part: targets - {"*"} for part, targets in ARROWS.items()}
    graph["firmware_bridge.runtimes"] = {"firmware_bridge.wire"}  # a part of firmware_bridge
    TopologicalSorter(graph).prepare()


def test_our_imports_follow_the_arrows() -> None:
    ours = [found for found in all_imports() if _is_ours(found.target)]
    wrong = [str(found) for found in ours if not _own_arrow_kept(found)]
    assert not wrong, "imports against the arrows:\n" + "\n".join(wrong)


def test_packages_from_outside_are_imported_at_their_site_only() -> None:
    foreign = [
        found
        for found in all_imports()
        if not _is_ours(found.target) and found.target.split(".")[0] not in sys.stdlib_module_names
    ]
    wrong = [str(found) for found in foreign if not _site_kept(found)]
    assert not wrong, "outside their site in SITES:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "part", ["fleet", "rollout", "search", "data", "report", "broker", "site", "space"]
)
def test_parts_that_never_see_torch_cannot_reach_it(part: str) -> None:
    start = [name for name in modules() if _matches(name, f"edgenas.{part}")]
    reached = reached_from(start)
    assert not {name for name in reached if name.split(".")[0] == "torch"}


def test_only_command_lines_import_inside_functions() -> None:
    late = [found for found in all_imports() if found.inside_function]
    wrong = [
        str(found) for found in late if not any(_matches(found.importer, m) for m in LATE_IMPORTS)
    ]
    assert not wrong, "imports inside functions:\n" + "\n".join(wrong)


def test_imports_by_name_cannot_go_round_the_table() -> None:
    by_name = {"import_module", "__import__"}
    callers = {
        name
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name | ast.Attribute)
        and (node.id if isinstance(node, ast.Name) else node.attr) in by_name
    }
    assert callers <= set(IMPORTS_BY_NAME)


def test_no_import_cycle_between_modules() -> None:
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for found in all_imports():
        if found.target in graph and found.target != found.importer:
            graph[found.importer].add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        pytest.fail("import cycle: " + " <- ".join(cycle.args[1]))


def test_the_reader_sees_every_form_of_import() -> None:
    source = (
        "import a.b, c as d\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from . import sibling\n"
        "def f():\n    from ..up import name\n    from edgenas.x import y\n"
    )
    found = imports_in(source, "edgenas.x.mod", False, {"edgenas.x.sibling", "edgenas.x.y"})
    assert [(i.target, i.inside_function) for i in found] == [
        ("a.b", False),
        ("c", False),
        ("typing", False),
        ("edgenas.x.sibling", False),
        ("edgenas.up", True),
        ("edgenas.x.y", True),
    ]


def test_the_rules_refuse_what_they_should() -> None:
    def found(importer: str, target: str) -> Import:
        return Import(importer, target, 1, False)

    assert not _own_arrow_kept(found("firmware_bridge.wire.codec", "firmware_bridge.facts"))
    assert not _own_arrow_kept(found("firmware_bridge.agent.daemon", "edgenas.errors"))
    assert not _own_arrow_kept(found("edgenas.search.history", "edgenas.model.quant"))
    assert not _own_arrow_kept(found("edgenas.fleet.host", "firmware_bridge.facts"))
    assert not _own_arrow_kept(found("firmware_bridge.wire.codec", "edgenas"))
    assert _own_arrow_kept(found("edgenas.fleet.host", "firmware_bridge"))  # empty by a test
    assert _own_arrow_kept(found("edgenas.cli.main", "edgenas.campaign"))
    assert not _site_kept(found("edgenas.fleet.host", "paho.mqtt.client"))
    assert not _site_kept(found("edgenas.fleet.host", "requests"))
    assert _site_kept(found("edgenas.model.quant", "torch.nn"))
