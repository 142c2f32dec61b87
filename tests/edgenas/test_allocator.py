"""Large tensors that come and go stay in memory that the process has."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from edgenas.allocator import keep_memory

if sys.argv[1] == "kept":
    assert keep_memory()
x = torch.ones(64, 16, 64, 64, requires_grad=True)
weight = torch.ones(16, 16, 1, 1, requires_grad=True)


def step():
    torch.nn.functional.conv2d(x, weight).relu().square().mean().backward()


step()
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_pages_are_not_asked_for_again() -> None:
    assert _faults("kept") * 4 < _faults("plain")
