"""A fuzzing process ends when it hangs, with its input kept, and when nobody waits for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HANGING = """
import sys, threading
from pathlib import Path
from tests.fuzz import watch
watch.HANG_S = watch.LOOK_S = 0.05
watch.Watch(lambda data: threading.Event().wait(), Path(sys.argv[1]))(b"endless")
"""
LEFT_ALONE = """
import threading
from pathlib import Path
from tests.fuzz import watch
watch.LOOK_S = 0.05
watch.Watch(print, Path("unused"))
print("watching", flush=True)
threading.Event().wait()
"""
PARENT = f"""
import subprocess, sys
child = [sys.executable, "-c", {LEFT_ALONE!r}]
process = subprocess.Popen(child, stdout=subprocess.PIPE, stderr=sys.stdout)
print(process.stdout.readline().decode().strip(), flush=True)
"""


def test_a_hang_is_kept_and_ended(tmp_path: Path) -> None:
    kept = tmp_path / "hang"
    command = [sys.executable, "-c", HANGING, str(kept)]
    assert subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == 1
    assert kept.read_bytes() == b"endless"


def test_a_process_whose_parent_is_gone_ends() -> None:
    """Its parent ends as soon as it watches; it holds this pipe until it has ended too."""
    command = [sys.executable, "-c", PARENT]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=True)
    assert done.stdout == b"watching\n"
