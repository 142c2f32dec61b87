"""The guard against leftovers does fail a test that leaves a thread or a child process."""

import subprocess
import sys
from pathlib import Path

import pytest

GUARD = Path(__file__).parent / "conftest.py"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "threads running"),
        ("kept.append(subprocess.Popen(['sleep', '60']))", "child processes running"),
        ("subprocess.run(['true'], check=True)", None),
    ],
)
def test_leftovers_fail_the_test(tmp_path: Path, body: str, complaint: str | None) -> None:
    source = GUARD.read_text(encoding="utf-8").replace("GRACE_S = 5.0", "GRACE_S = 0.2")
    (tmp_path / "conftest.py").write_text(source, encoding="utf-8")
    (tmp_path / "test_it.py").write_text(
        "import subprocess, threading, time\nkept = []\n"
        f"def test_it():\n    {body}\n"
        "def teardown_module():\n"
        "    for child in kept:\n        child.kill()\n        child.wait()\n",
        encoding="utf-8",
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if complaint is None:
        assert run.returncode == 0, run.stdout
    else:
        assert run.returncode == 1, run.stdout
        assert complaint in run.stdout
