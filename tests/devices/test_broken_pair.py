"""What plain pip installs on a 32-bit board: tflite-runtime beside numpy 2. Doctor says what to do.

Runs only in the one environment of `make test-devices` that has this pair; skipped elsewhere.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    os.environ.get("EDGENAS_DEVICE_PAIR") != "broken",
    reason="only where test-devices has installed tflite-runtime with numpy 2",
)


def test_doctor_names_the_pair_and_the_remedy(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("edgenas-device")
    arguments = ["doctor", "--json", "--state-dir", str(tmp_path), "--lock", str(tmp_path / "lock")]
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    findings = {each["check"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 1
    assert findings["runtime"]["status"] == "fail"
    assert findings["numpy"]["status"] == "fail"
    assert "numpy<2" in findings["numpy"]["fix"]
    assert "numpy<2" in findings["runtime"]["fix"]
