"""Whatever goes wrong with a model or a board becomes a verdict or a code with its cause."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.bench import preflight
from firmware_bridge.bench.supervise import measure, probe_runtime, self_test
from firmware_bridge.machine_lock import MachineLock
from firmware_bridge.wire.messages import JobFailed, Measurement
from tests.firmware_bridge.bench import tiny_model
from tests.firmware_bridge.bench.plans import MEASURED, MIB, RUN_WORKER, brisk, program
from tests.firmware_bridge.bench.processes import wait_for

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_model.dense(np.eye(8, dtype=np.int8)))
    return path


@pytest.fixture
def slow_path(tmp_path: Path) -> Path:
    path = tmp_path / "slow.tflite"
    path.write_bytes(tiny_model.convolution(256, 64, 64, 9))  # 21 billion products
    return path


def verdict_of(outcome: Measurement | JobFailed) -> tuple[str, str]:
    assert isinstance(outcome, Measurement), outcome
    return outcome.verdict, outcome.detail or ""


def failure_of(outcome: Measurement | JobFailed) -> tuple[str, str]:
    assert isinstance(outcome, JobFailed), outcome
    return outcome.code, outcome.detail


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(
            b"This is not a model, only a text." * 4, "expected a TFLite model", id="text"
        ),
        pytest.param(b"", "got a file of 0 bytes", id="empty"),
        pytest.param(tiny_model.convolution(16, 8, 8, 3)[:-200], "cut short", id="truncated"),
        pytest.param(tiny_model.unknown_operator(), "NoSuchOperator", id="unknown-operator"),
    ],
)
def test_a_file_that_is_no_model_for_this_runtime(
    content: bytes, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    verdict, detail = verdict_of(measure(brisk(path)))
    assert verdict == "unsupported_op"
    assert told in detail
    tested = self_test(path, None)
    assert not tested.ok
    assert told in (tested.detail or "")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    verdict, detail = verdict_of(measure(brisk(tmp_path / "nowhere.tflite")))
    assert verdict == "unsupported_op"
    assert "nowhere.tflite" in detail


def test_death_by_signal_is_a_crash(model_path: Path, tmp_path: Path) -> None:
    prefix = program(
        tmp_path,
        """
        import os, signal
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
        """,
    )
    verdict, detail = verdict_of(measure(brisk(model_path), argv_prefix=prefix))
    assert verdict == "crash"
    assert "SIGSEGV" in detail
    assert "last words" in detail
    assert not self_test(model_path, None, argv_prefix=prefix).ok
    assert probe_runtime(prefix).label is None


def test_an_abort_seen_through_a_shell_is_a_crash_too(model_path: Path, tmp_path: Path) -> None:
    script = tmp_path / "shell"
    script.write_text("kill -ABRT $$\n")
    inner = tmp_path / "outer"
    inner.write_text(f"sh {script}; exit $?\n")
    verdict, detail = verdict_of(measure(brisk(model_path), argv_prefix=("sh", str(inner))))
    assert verdict == "crash"
    assert "SIGABRT" in detail


def test_a_child_that_hangs_dies_at_its_deadline(model_path: Path, tmp_path: Path) -> None:
    prefix = program(tmp_path, "import time\ntime.sleep(600)\n")
    plan = brisk(model_path, cap_ms=100, startup_ms=300)
    verdict, detail = verdict_of(measure(plan, argv_prefix=prefix))
    assert verdict == "timeout"
    assert "deadline" in detail


def test_a_model_too_slow_for_its_cap_is_a_timeout_that_keeps_its_memory(slow_path: Path) -> None:
    # the kernels of tflite-runtime unroll the picture: 690 MB for this one
    outcome = measure(brisk(slow_path, cap_ms=100, memory_cap_bytes=1024 * MIB))
    verdict, detail = verdict_of(outcome)
    assert verdict == "timeout"
    assert "expected at least 20 samples" in detail
    assert isinstance(outcome, Measurement)
    assert outcome.memory["peak_delta_bytes"]


def test_a_model_above_its_memory_cap_is_oom_and_below_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "large.tflite"
    path.write_bytes(tiny_model.convolution(384, 1, 256, 1))  # its output alone takes 36 MiB
    roomy = measure(brisk(path))
    assert isinstance(roomy, Measurement)
    baseline, delta = roomy.memory["baseline_bytes"], roomy.memory["peak_delta_bytes"]
    assert isinstance(baseline, int)
    assert isinstance(delta, int)
    assert roomy.verdict in MEASURED
    verdict, detail = verdict_of(measure(brisk(path, memory_cap_bytes=baseline + delta // 2)))
    assert verdict == "oom"
    assert "resident" in detail


def test_a_child_that_grows_is_killed_while_it_grows(model_path: Path, tmp_path: Path) -> None:
    prefix = program(
        tmp_path,
        """
        import time
        held = []
        for _ in range(2000):
            held.append(bytearray(b"x" * (1 << 20)))
            time.sleep(0.01)
        time.sleep(600)
        """,
    )
    plan = brisk(model_path, memory_cap_bytes=64 * MIB)
    verdict, detail = verdict_of(measure(plan, argv_prefix=prefix))
    assert verdict == "oom"
    assert "memory_cap_bytes" in detail


@pytest.mark.parametrize(
    ("package", "told"),
    [("ai_edge_litert", "expected a TFLite runtime"), ("numpy", "numpy")],
)
def test_a_missing_package_is_the_installation_and_not_the_model(
    package: str, told: str, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = (package, "tflite_runtime", "onnxruntime")
    blocker = f"import sys\nsys.modules.update(dict.fromkeys({blocked!r}))\n"
    (tmp_path / "sitecustomize.py").write_text(blocker)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code, detail = failure_of(measure(brisk(model_path)))
    assert code == "INTERNAL"
    assert told in detail
    assert "pip install" in detail
    flaw = probe_runtime().flaw or ""
    assert package.replace("_", "-") in flaw
    assert "pip install" in flaw


def test_python_that_cannot_be_started_is_no_fault_of_the_model(model_path: Path) -> None:
    code, detail = failure_of(measure(brisk(model_path), argv_prefix=("/nowhere/python",)))
    assert code == "INTERNAL"
    assert "/nowhere/python" in detail


def test_a_broken_reference_does_not_condemn_the_candidate(
    model_path: Path, tmp_path: Path
) -> None:
    for content in (b"no model at all" * 9, tiny_model.unknown_operator()):
        reference = tmp_path / "reference.tflite"
        reference.write_bytes(content)
        code, detail = failure_of(measure(brisk(model_path, reference_path=reference)))
        assert code == "INTERNAL"
        assert "reference" in detail


def test_cpus_that_do_not_exist_are_named(model_path: Path) -> None:
    code, detail = failure_of(measure(brisk(model_path, cpus=(1023,))))
    assert code == "INTERNAL"
    assert "1023" in detail


def test_a_cancelled_measurement_ends_and_says_so(slow_path: Path) -> None:
    polls = itertools.count()
    outcome = measure(
        brisk(slow_path, memory_cap_bytes=1024 * MIB), cancelled=lambda: next(polls) >= 3
    )
    assert failure_of(outcome)[0] == "CANCELLED"


def test_a_taken_lock_means_locked_and_cancelling_ends_the_wait(
    model_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "lock"
    with MachineLock(path).hold(0):
        outcome = measure(brisk(model_path), lock=MachineLock(path), lock_timeout_s=0)
        assert failure_of(outcome)[0] == "LOCKED"
        waiting = measure(brisk(model_path), lock=MachineLock(path), cancelled=lambda: True)
        assert failure_of(waiting)[0] == "CANCELLED"


def test_a_child_sees_no_secrets(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "environment"
    monkeypatch.setenv("EDGENAS_BROKER", "mqtt://user:secret@host")
    prefix = program(
        tmp_path, f"import os\nopen({str(seen)!r}, 'w').write(repr(dict(os.environ)))\n{RUN_WORKER}"
    )
    assert self_test(model_path, None, argv_prefix=prefix).ok
    assert "secret" not in seen.read_text()


def test_a_child_does_not_outlive_a_killed_parent(model_path: Path, tmp_path: Path) -> None:
    note = tmp_path / "child"
    prefix = program(
        tmp_path,
        f"""
        import os, time
        from pathlib import Path
        from firmware_bridge.bench import worker

        def work_for_long(*arguments):
            Path({str(note)!r} + ".part").write_text(str(os.getpid()))
            os.rename({str(note)!r} + ".part", {str(note)!r})
            time.sleep(600)

        worker._carry_out = work_for_long
        worker.main()
        """,
    )
    measuring = f"""
        from pathlib import Path
        from firmware_bridge.bench.supervise import measure
        from tests.firmware_bridge.bench.plans import brisk
        measure(brisk(Path({str(model_path)!r})), argv_prefix={prefix!r})
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(measuring)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        wait_for(note.exists)
    finally:
        parent.kill()
        parent.wait()
    child = int(note.read_text())
    try:
        wait_for(lambda: is_dead(child))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def is_dead(process: int) -> bool:
    """Whether the process is gone, or only waits for somebody to collect its status."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_all_tries_at_a_quiet_moment_share_one_wait_for_the_lock(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted_s: list[float] = []

    class SlowLock(MachineLock):
        @contextmanager
        def hold(self, timeout_s: float, cancelled: Callable[[], bool] = bool) -> Iterator[float]:
            granted_s.append(timeout_s)
            yield 4.0

    monkeypatch.setattr(preflight, "RETRY_PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(preflight, "check_load", lambda *_: preflight.Unfit("busy", "noise"))
    outcome = measure(brisk(model_path), lock=SlowLock(Path("unused")), lock_timeout_s=10)
    assert isinstance(outcome, Measurement)
    assert outcome.verdict == "busy"
    assert granted_s == [10, 6, 2, 0]
