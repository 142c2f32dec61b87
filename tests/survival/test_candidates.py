"""Candidates that eat memory, spin, fork, crash or chatter: verdicts, and the daemon goes on."""

import os
from pathlib import Path

import pytest

from tests.survival.site import Site, Work, python_that

# What stands in for a hostile candidate: the child does this when it is told to measure.
TRICKS = {
    "eat memory": "hoard = []\n    while True:\n        hoard.append(bytearray(16 << 20))",
    "spin": "while True:\n        pass",
    "crash": "os.kill(os.getpid(), 11)",
    "fork": (
        "[time.sleep(1000) for _ in range(20) if os.fork() == 0]\n"
        "    return measure(request, runtime, answer)"
    ),
    "chatter": (
        "print('x' * 1_000_000)\n"
        "    os.write(2, b'\\xff' * 1_000_000)\n"
        "    return measure(request, runtime, answer)"
    ),
}
VERDICTS = {
    "eat memory": ("oom",),
    "spin": ("timeout",),
    "crash": ("crash",),
    "fork": ("ok", "noisy", "crash"),  # whether it may is not asked here: nothing may be left of it
}


def hostile(folder: Path) -> dict[str, str]:
    """Children that do the trick that the file `trick` names, if there is one."""
    tricks = "\n".join(
        f"def trick_{number}(request, runtime, answer, measure):\n    {body}"
        for number, body in enumerate(TRICKS.values())
    )
    body = f"""
import pathlib, time
from firmware_bridge.bench import passes
{tricks}
TRICKS = dict(zip({list(TRICKS)!r}, [globals()[f"trick_{{n}}"] for n in range({len(TRICKS)})]))
def wrap(measure):
    def run(request, runtime, answer):
        name = pathlib.Path({str(folder / "trick")!r}).read_text()
        if name in TRICKS:
            return TRICKS[name](request, runtime, answer, measure)
        return measure(request, runtime, answer)
    return run
for name in [name for name in passes.PASSES if name != "probe"]:
    passes.PASSES[name] = wrap(passes.PASSES[name])
"""
    (folder / "trick").write_text("none")
    return dict(python_that(folder, body))


@pytest.mark.parametrize(
    "tricks", [("crash", "fork"), pytest.param(tuple(TRICKS), marks=pytest.mark.survival)]
)
def test_hostile_candidates_one_after_another(
    site: Site, tmp_path: Path, tricks: tuple[str, ...]
) -> None:
    daemon = site.daemon()
    daemon.start(**hostile(tmp_path))
    site.wait_online(daemon)
    jobs = []
    for number, trick in enumerate(tricks):
        (tmp_path / "trick").write_text(trick)
        # other bytes each time: a model that crashes twice would be refused, rightly
        model = site.stub_number(number)
        jobs.append(site.submit(daemon, model, memory_cap_bytes=256 << 20))
        done = site.outcome(jobs[-1], daemon)
        assert done.measurement is not None, (trick, done.failure)
        assert done.measurement.verdict in VERDICTS.get(trick, ("ok", "noisy")), (trick, done)
        assert _children() == [], trick
    (tmp_path / "trick").write_text("none")
    site.check_settled(daemon, Work([site.submit(daemon)]))


def _children() -> list[str]:
    """Processes of the daemon's children that are still there: they lead sessions of their own."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                command = Path(entry.path, "cmdline").read_bytes()
                state = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()[0]
            except OSError:
                continue
            if b"child-" in command and state != b"Z":
                found.append(command.decode())
    return found
