"""Processes below another are counted, and those that carry a mark are found wherever they went."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from firmware_bridge.bench import memory, tree
from tests.firmware_bridge.bench.processes import wait_for

SLEEP = "import time; time.sleep(600)"
THREE_LEVELS = f"""
import subprocess, sys, time
inner = "import subprocess, sys, time; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
subprocess.run([sys.executable, "-c", inner])
"""


@contextmanager
def started(code: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-c", code]
    child = subprocess.Popen(argv, env={**os.environ, **environment}, start_new_session=True)
    try:
        yield child
    finally:
        os.killpg(child.pid, 9) if child.poll() is None else None
        child.wait()


def test_all_levels_are_counted_and_hold_memory() -> None:
    with started(THREE_LEVELS) as child:
        wait_for(lambda: len(tree.descendants(child.pid)) == 3)
        below = tree.descendants(child.pid)
        assert child.pid not in below
        assert all(tree.resident_bytes(each) > 0 for each in below)


def test_a_process_that_is_gone_has_nothing_below_it() -> None:
    with started("pass") as child:
        child.wait()
        assert tree.descendants(child.pid) == []
        assert tree.resident_bytes(child.pid) == 0


def test_a_kernel_that_keeps_no_list_of_children_is_asked_for_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for process, parent in ((10, 1), (11, 10), (12, 11), (13, 1)):
        folder = tmp_path / str(process)
        (folder / "task" / str(process)).mkdir(parents=True)
        (folder / "stat").write_text(f"{process} (a ) name) S {parent} 10 10 0")
    monkeypatch.setattr(memory, "PROC", tmp_path)
    assert sorted(tree.descendants(10)) == [11, 12]


def test_the_marked_are_ended_and_only_those_outside_the_group_are_strays() -> None:
    mark = f"test-{os.getpid()}"
    with (
        started(SLEEP, **{tree.MARK_VARIABLE: mark}) as inside,
        started(SLEEP, **{tree.MARK_VARIABLE: mark}) as outside,
        started(SLEEP, **{tree.MARK_VARIABLE: mark + "0"}) as other,
    ):
        assert tree.end_marked(mark, inside.pid) == 1
        assert (inside.wait(), outside.wait()) == (-9, -9)
        assert other.poll() is None
        assert tree.end_marked(mark, inside.pid) == 0
