"""The device side imports where nothing of the host side exists, on every Python that boards have.

A child process blocks the host's packages and imports all of firmware_bridge by walking it. Covers
importing only; what the modules do is shown by their own tests.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.import_graph import ROOT, modules, reached_from

VERSIONS = ("3.10", "3.11", "3.12", "3.13")

# A module may fail to import only for want of one of these packages, and only when it reaches the
# package's one site: every board has the two base requirements, but this interpreter may lack them.
BASE_SITES = {
    "paho": "firmware_bridge.wire.mqtt",
    "cryptography": "firmware_bridge.wire.signing",
}
# The modules that need numpy or a runtime, and therefore run in child processes only.
CHILD_PROCESS_ONLY = {
    "firmware_bridge.runtimes.model",
    "firmware_bridge.runtimes.tflite",
    "firmware_bridge.runtimes.onnx",
    "firmware_bridge.runtimes.installed",
    "firmware_bridge.runtimes.featured",
    "firmware_bridge.heads.pictures",
    "firmware_bridge.bench.passes",
    "firmware_bridge.bench.worker",
}
HOST_ONLY = ["edgenas", "torch", "onnx", "onnx2tf", "sklearn", "PIL", "rich", "ai_edge_quantizer"]
RUNTIMES = ["numpy", "ai_edge_litert", "tflite_runtime", "onnxruntime"]

PROBE = """
import importlib, importlib.abc, json, pkgutil, sys
sys.path.insert(0, sys.argv[1])
blocked = set(json.loads(sys.argv[2]))

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError("blocked: " + name, name=name)
        return None

sys.meta_path.insert(0, Blocker())
import firmware_bridge
bare = sorted(set(sys.modules) & {"numpy", "paho", "cryptography", "sqlite3", "ai_edge_litert"})
imported, failed = [], {}
def note(name):
    failed[name] = "package: " + repr(sys.exc_info()[1])
for found in pkgutil.walk_packages(firmware_bridge.__path__, "firmware_bridge.", onerror=note):
    if found.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(found.name)
        imported.append(found.name)
    except ImportError as error:
        failed[found.name] = (error.name or "").partition(".")[0] or repr(error)
json.dump({"imported": imported, "failed": failed, "bare": bare}, sys.stdout)
"""


def _runs_as(executable: Path | str, version: str) -> bool:
    try:
        run = subprocess.run(
            [executable, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except OSError:
        return False
    return run.returncode == 0 and run.stdout.strip() == version


def _python(version: str) -> Path | str | None:
    """Return an interpreter of that version that really runs, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates: list[Path | str] = [
        sys.executable,
        f"python{version}",
        f"/usr/bin/python{version}",
        *sorted(pyenv.glob(f"{version}.*/bin/python")),
    ]
    return next((c for c in candidates if _runs_as(c, version)), None)


def _probe(python: Path | str, blocked: list[str]) -> dict[str, list[str] | dict[str, str]]:
    run = subprocess.run(
        [python, "-B", "-I", "-c", PROBE, str(ROOT), json.dumps(blocked)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    answer: dict[str, list[str] | dict[str, str]] = json.loads(run.stdout)
    return answer


def _excused(module: str, missing: str) -> bool:
    if missing in RUNTIMES:
        return module in CHILD_PROCESS_ONLY
    return missing in BASE_SITES and BASE_SITES[missing] in reached_from([module])


@pytest.mark.parametrize("version", VERSIONS)
def test_imports_without_anything_of_the_host(version: str) -> None:
    python = _python(version)
    if python is None:
        pytest.skip(f"no Python {version} on PATH or under pyenv")
    answer = _probe(python, [*HOST_ONLY, *RUNTIMES])
    failed = answer["failed"]
    assert isinstance(failed, dict)
    unexcused = {name: why for name, why in failed.items() if not _excused(name, why)}
    assert not unexcused
    ours = {name for name in modules() if name.startswith("firmware_bridge.")}
    walked = set(answer["imported"]) | set(failed)
    assert walked == {name for name in ours if not name.endswith("__main__")}
    assert answer["bare"] == [], "`import firmware_bridge` alone must cost nothing"


def test_with_the_base_requirements_only_child_process_modules_fail() -> None:
    answer = _probe(sys.executable, [*HOST_ONLY, *RUNTIMES])
    assert set(answer["failed"]) <= CHILD_PROCESS_ONLY


def test_the_blocker_blocks() -> None:
    answer = _probe(sys.executable, [*HOST_ONLY, *RUNTIMES, "paho"])
    failed = answer["failed"]
    assert isinstance(failed, dict)
    assert failed["firmware_bridge.runtimes.model"] == "numpy"
    assert failed["firmware_bridge.wire.mqtt"] == "paho"
