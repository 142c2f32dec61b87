"""The wire is light: standard library only, except for its two adapters."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
WIRE = PROJECT / "firmware_bridge" / "wire"
MODULES = sorted(path.stem for path in WIRE.glob("*.py") if path.stem != "__init__")

PROGRAM = """
import sys
for heavy in ("paho", "cryptography", "numpy"):
    sys.modules[heavy] = None
before = set(sys.modules)
import importlib
importlib.import_module("firmware_bridge.wire." + sys.argv[1])
foreign = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(foreign - set(sys.stdlib_module_names) - {"firmware_bridge"}))
"""


@pytest.mark.parametrize("module", [name for name in MODULES if name != "mqtt"])
def test_a_module_needs_the_standard_library_only(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, module],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_paho_is_named_in_one_module_only() -> None:
    naming = [path.name for path in WIRE.glob("*.py") if "import paho" in path.read_text()
              or "from paho" in path.read_text()]  # fmt: skip
    assert naming == ["mqtt.py"]
