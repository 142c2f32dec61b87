"""`torchrun -m edgenas train`: one process shows, keeps and complains for all."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgenas.campaign.rundir import RunDir
from edgenas.train.checkpoint import load_checkpoint
from edgenas.train.loop import read_metrics

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
GENEROUS_S = 300.0


def _train(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
        *("-m", "edgenas", "train", "--recipe", "digits-quick", "--out", str(out), *words),
    ]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=GENEROUS_S, check=False
    )


@pytest.mark.timeout(320)  # three processes that import torch, and two exports
def test_two_processes_train_show_and_keep_one_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    done = _train(run.path, "--epochs", "0.1", "--precision", "bfloat16")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [str(run.checkpoint)]
    shown = done.stderr.splitlines()
    for line in (
        "2 processes share each batch of 64: 32 each",
        "convolutions multiply in bfloat16",
    ):
        assert shown.count(line) == 1
    assert sum(line.startswith("largest subnet: ") for line in shown) == 1
    checkpoint = load_checkpoint(run.checkpoint)
    assert checkpoint.finished
    assert [report.step for report in read_metrics(run.path)] == [*range(1, checkpoint.steps + 1)]
    assert run.read_card().command.startswith("edgenas train --recipe digits-quick ")
