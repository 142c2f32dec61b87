"""Picks and device setups go to the run folder and come back, or it is said what is wrong."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgenas.campaign.errors import NothingFitsError, RunFolderError
from edgenas.campaign.finals import FinalsPlan
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import (
    Picked,
    pick_all,
    read_picks,
    read_setups,
    require_fits,
    save_setups,
)
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.workbench import Workbench
from edgenas.search.budget import Budget
from edgenas.search.trial import Outcome

SETUP = DeviceSetup("dev-1", threads=2, cpus=(1, 3), memory_cap_bytes=1 << 20, profile="pi4")
FINALS = FinalsPlan(count=3, sessions=2, level="quick")


def an_outcome(sha256: str = "a" * 64) -> Outcome:
    return Outcome(
        accuracy=0.5,
        latency_p50_ms=1.0,
        latency_p95_ms=1.5,
        p95_upper95_ms=2.0,
        p50_ci95_ms=(0.9, 1.1),
        peak_memory_bytes=1 << 20,
        model_bytes=1000,
        macs=1000,
        sha256=sha256,
        level="quick",
    )


@pytest.fixture
def measured(bench: Workbench) -> Workbench:
    """A study with one trial and one session of it."""
    arch = bench.checkpoint.space.largest()
    bench.study.set_budget("dev-1", Budget(3.0, None, "given: 3ms"))
    (trial,) = bench.study.ask("dev-1", "random", [arch])
    bench.study.record(trial.number, an_outcome())
    bench.study.add_session("dev-1", arch, an_outcome())
    return bench


def test_picks_go_to_the_folder_and_come_back(measured: Workbench) -> None:
    picked = pick_all(measured.run, measured.study, [SETUP], FINALS)
    assert [p.arch for p in picked] == [measured.checkpoint.space.largest()]
    assert "2" in picked[0].message
    assert read_picks(measured.run) == picked
    require_fits(picked)


def test_a_device_that_nothing_fits_stays_in_the_picks(measured: Workbench) -> None:
    measured.study.set_budget("dev-1", Budget(0.1, None, "given: 0.1ms"))
    picked = pick_all(measured.run, measured.study, [SETUP], FINALS)
    assert read_picks(measured.run) == picked
    assert picked[0].arch is None
    with pytest.raises(NothingFitsError, match=r"dev-1: nothing fits.*p95.*1000 MACs"):
        require_fits(picked)


def test_no_picks_yet(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="run `edgenas pick`"):
        read_picks(RunDir(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": "edgenas-picks/1"}',
        '{"picks": 3}',
        '{"picks": [1]}',
        '{"picks": [{"device_id": "dev-1", "arch": {"stem": 1}}]}',
        "[" * 100_000,
        "\xff",
    ],
)
def test_damaged_picks_are_named(tmp_path: Path, text: str) -> None:
    run = RunDir(tmp_path)
    run.picks.write_text(text, "latin-1")
    with pytest.raises(RunFolderError, match=r"picks\.json"):
        read_picks(run)


def test_setups_go_to_the_folder_and_come_back(bench: Workbench) -> None:
    other = DeviceSetup("dev-2")
    save_setups(bench.run, bench.study, [SETUP, other], FINALS)
    assert read_setups(bench.run) == ([SETUP, other], FINALS)


def test_another_way_of_measuring_is_refused_once_there_are_figures(measured: Workbench) -> None:
    save_setups(measured.run, measured.study, [SETUP], FINALS)
    kept = measured.run.setups.read_bytes()
    with pytest.raises(RunFolderError, match=r"dev-1: expected 2 threads.*got 4"):
        save_setups(measured.run, measured.study, [replace(SETUP, threads=4)], FINALS)
    assert measured.run.setups.read_bytes() == kept
    save_setups(measured.run, measured.study, [replace(SETUP, profile="pi5")], FINALS)


def test_before_there_are_figures_anything_may_change(bench: Workbench) -> None:
    save_setups(bench.run, bench.study, [SETUP], FINALS)
    changed = replace(SETUP, threads=4)
    save_setups(bench.run, bench.study, [changed], FINALS)
    assert read_setups(bench.run)[0] == [changed]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"devices": [{"device_id": "a"}], "finals": {}}',
        '{"devices": [5], "finals": {}}',
        '{"devices": [], "finals": {"rounds": 3}}',
    ],
)
def test_damaged_setups_are_named(tmp_path: Path, text: str) -> None:
    run = RunDir(tmp_path)
    run.setups.write_text(text)
    with pytest.raises(RunFolderError, match=r"devices.json.*edgenas search"):
        read_setups(run)


def test_everybody_without_a_pick_is_named() -> None:
    lost = [Picked(name, None, f"{name} is too small", "", ()) for name in ("a", "b")]
    with pytest.raises(NothingFitsError, match="a is too small; b: b is too small"):
        require_fits(lost)
