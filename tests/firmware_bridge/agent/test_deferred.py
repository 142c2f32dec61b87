"""Modules that nobody uses are not loaded by the daemon, and are there for whoever uses them."""

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
PROGRAM = """
import json, sys
import firmware_bridge.cli
import firmware_bridge.agent.command
from firmware_bridge.agent.deferred import UNUSED, defer
loaded = [name for name in UNUSED if type(sys.modules[name]).__name__ != "_StandIn"]
import ast, lzma, urllib.request
from tokenize import tokenize
from bz2 import *
tree = ast.parse("1 + 1")
kinds = [type(tree).__name__, type(lzma.compress(b"x")).__name__, compress(b"x")[:2].decode()]
kinds += [urllib.request.Request("http://a.example/b").host, tokenize.__module__]
late = [name for name in UNUSED if type(sys.modules[name]).__name__ == "_StandIn"]
before = sys.modules["ast"]
defer("ast")
print(json.dumps([loaded, kinds, late, sys.modules["ast"] is before, "http.client" in sys.modules]))
"""


def test_stand_ins_are_there_at_first_and_real_when_used() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM],
        cwd=PROJECT,
        env={"PYTHONPATH": ":".join([str(PROJECT), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded, kinds, late, kept, http = json.loads(done.stdout)
    assert loaded == ([] if sys.version_info >= (3, 13) else ["ast"])  # inspect used it till then
    assert kinds == ["Module", "bytes", "BZ", "a.example", "tokenize"]
    assert late == []
    assert kept
    assert http
