"""The daemon process never holds numpy, a runtime or torch, nor a whole measuring child."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
HEAVY = (
    *("numpy", "ai_edge_litert", "tflite_runtime", "torch", "flatbuffers", "edgenas"),
    *("cryptography", "statistics", "decimal", "email", "http"),  # megabytes of an idle board
)

PROGRAM = """
import firmware_bridge.cli
import importlib, pkgutil, sys
import firmware_bridge.agent, firmware_bridge.store
for package in (firmware_bridge.agent, firmware_bridge.store):
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
importlib.import_module("firmware_bridge.cli")
print("firmware_bridge.agent.daemon" in sys.modules)
print(sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[1:])))
"""


def test_all_modules_of_the_daemon_together_import_nothing_heavy() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *HEAVY],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.splitlines() == ["True", "[]"]


def test_the_command_line_itself_loads_only_what_it_runs() -> None:
    program = (
        "import sys, firmware_bridge.cli as cli\n"
        "try:\n"
        "    cli.main(['--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "print(sorted(set(sys.modules) & {'sqlite3', 'paho', 'cryptography', 'numpy'}))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.splitlines()[-1] == "[]"
    for command in ("run", "bench", "doctor", "forget-broken"):
        assert command in run.stdout
