"""Whatever a model's process does, it is ended with all that it started, and that is a verdict."""

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.bench.plan import MeasurePlan
from firmware_bridge.bench.process import Limits, run_child
from firmware_bridge.bench.supervise import MeasureOutcome, measure
from firmware_bridge.wire.messages import Measurement
from tests.firmware_bridge.bench import tiny_model
from tests.firmware_bridge.bench.plans import MEASURED, MIB, brisk, program
from tests.firmware_bridge.bench.processes import running_with, wait_for

Run = Callable[..., MeasureOutcome]

WITHIN_THE_FENCE = """
import ctypes, os, resource, signal, sys, time
from firmware_bridge.bench import worker
fenced = worker._carry_out

def misbehave(passes, request, answer):
{body}

worker._carry_out = misbehave
worker.main()
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Measures a good model in a worker whose pass is replaced by these lines."""
    model = tmp_path / "model.tflite"
    model.write_bytes(tiny_model.dense(np.eye(8, dtype=np.int8)))

    def run(body: str, **changes: object) -> MeasureOutcome:
        indented = textwrap.indent(textwrap.dedent(body), "    ")
        prefix = program(tmp_path, WITHIN_THE_FENCE.format(body=indented))
        return measure(brisk(model, **{"cap_ms": 100, **changes}), argv_prefix=prefix)

    return run


def verdict_of(outcome: MeasureOutcome) -> tuple[str, str]:
    assert isinstance(outcome, Measurement), outcome
    return outcome.verdict, outcome.detail or ""


def test_one_that_spins_times_out(run: Run) -> None:
    verdict, detail = verdict_of(run("while True: pass", startup_ms=900))
    assert verdict == "timeout"
    assert "deadline" in detail


def test_the_kernel_ends_one_that_outspends_its_cpu_time(tmp_path: Path) -> None:
    prefix = program(
        tmp_path,
        WITHIN_THE_FENCE.format(
            body="    assert resource.getrlimit(resource.RLIMIT_CPU)[0] == 1\n    while True: pass"
        ),
    )
    request = {"pass": "probe", "cpus": []}
    ending = run_child(prefix, request, Limits(60.0, cpu_s=1), cancelled=lambda: False)
    assert ending.killed_for is None
    assert "SIGXCPU" in ending.story()


def test_cpu_time_spent_is_a_timeout(run: Run) -> None:
    verdict, detail = verdict_of(run("os.kill(os.getpid(), signal.SIGXCPU); time.sleep(60)"))
    assert verdict == "timeout"
    assert "CPU time" in detail


def test_one_that_forks_without_end_is_ended_with_all_its_children(
    run: Run, tmp_path: Path
) -> None:
    name = f"sleeper-{tmp_path.name}-{os.getpid()}"
    outcome = run(
        f"""
        for _ in range(60):
            if os.fork() == 0:
                os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", {name!r}])
        time.sleep(600)
        """  # noqa: E501
    )
    verdict, detail = verdict_of(outcome)
    assert verdict == "crash"
    assert "processes" in detail
    wait_for(lambda: not running_with(name))


def test_one_that_leaves_its_group_and_its_parent_is_found_all_the_same(
    run: Run, tmp_path: Path
) -> None:
    name = f"stray-{tmp_path.name}-{os.getpid()}"
    outcome = run(
        f"""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", {name!r}])
            os._exit(0)
        os.wait()
        fenced(passes, request, answer)
        """  # noqa: E501
    )
    verdict, detail = verdict_of(outcome)
    assert verdict == "crash"
    assert "left 1 processes behind" in detail
    wait_for(lambda: not running_with(name))


def test_memory_of_a_child_counts_too(run: Run) -> None:
    outcome = run(
        """
        if os.fork() == 0:
            held = bytearray(b"x" * (200 << 20))
            time.sleep(600)
        time.sleep(600)
        """,
        memory_cap_bytes=100 * MIB,
    )
    verdict, detail = verdict_of(outcome)
    assert verdict == "oom"
    assert "memory_cap_bytes" in detail


def test_one_that_prints_without_end_is_measured_or_times_out_but_never_believed(run: Run) -> None:
    verdict, detail = verdict_of(
        run("while True: os.write(1, b'{\"result\": {}} ' * 4000)", startup_ms=900)
    )
    assert verdict == "timeout"
    assert "it printed" in detail
    assert len(detail) <= 1024


def test_one_that_answers_without_end_is_a_crash(run: Run) -> None:
    verdict, _ = verdict_of(run("while True: answer.stage(noise='x' * 65536)"))
    assert verdict == "crash"


def test_one_that_prints_before_it_works_is_measured(run: Run) -> None:
    body = "os.write(1, b'noise ' * 100_000); fenced(passes, request, answer)"
    assert verdict_of(run(body, cap_ms=20_000))[0] in MEASURED


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("answer.stage(runtime='some 1.0'); os.abort()", "SIGABRT"),
        ("answer.stage(runtime='some 1.0'); ctypes.string_at(0)", "SIGSEGV"),
        ("answer.stage(runtime='some 1.0'); os._exit(0)", "ended with status 0 and no answer"),
        ("answer.stage(runtime='some 1.0'); os._exit(3)", "ended with status 3 and no answer"),
    ],
    ids=["abort", "segfault", "silent-exit", "exit-3"],
)
def test_one_that_dies_is_a_crash(body: str, told: str, run: Run) -> None:
    verdict, detail = verdict_of(run(body))
    assert verdict == "crash"
    assert told in detail


def test_the_fence_leaves_no_core_dump_and_no_large_file(run: Run, tmp_path: Path) -> None:
    seen = tmp_path / "limits"
    body = f"""
        kinds = (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU)
        open({str(seen)!r}, "w").write(repr([resource.getrlimit(kind)[0] for kind in kinds]))
        fenced(passes, request, answer)
        """
    outcome = run(body, cap_ms=20_000)
    assert verdict_of(outcome)[0] in MEASURED
    plan: MeasurePlan = brisk(Path("m"), cap_ms=20_000)
    cpu_s = (plan.cap_ms + plan.startup_ms) // 1000 + 1
    assert seen.read_text() == repr([0, 256 * MIB, cpu_s])
