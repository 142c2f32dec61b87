"""Picks and device setups go to the run folder and come back, or it is said what is wrong."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from edgenas.campaign.errors import NothingFitsError, RunFolderError
from edgenas.campaign.finals import FinalsPlan
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import (
    Picked,
    finals_by_device,
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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cpus": (2,)}, "on CPUs 2 in"),
        ({"memory_cap_bytes": 2 << 20}, "in 2.00 MiB"),
        ({"file_format": "onnx"}, r"running \.onnx files"),
    ],
)
def test_everything_that_makes_figures_comparable_is_held(
    measured: Workbench, change: dict[str, Any], said: str
) -> None:
    save_setups(measured.run, measured.study, [SETUP], FINALS)
    with pytest.raises(
        RunFolderError, match=f"expected 2 threads on CPUs 1, 3 in 1.00 MiB.*{said}"
    ):
        save_setups(measured.run, measured.study, [replace(SETUP, **change)], FINALS)


def test_a_device_that_is_not_asked_for_keeps_its_entry(measured: Workbench) -> None:
    """A fleet of which one board is off now is searched without it."""
    run, study, other = measured.run, measured.study, DeviceSetup("dev-2")
    save_setups(run, study, [SETUP, other], FINALS)
    picked = pick_all(run, study, [SETUP], FINALS)
    plan = FinalsPlan(count=1, sessions=1, level="standard")
    save_setups(run, study, [other], plan)
    study.set_budget("dev-2", Budget(3.0, None, "given: 3ms"))
    picked += pick_all(run, study, [other], plan)
    assert read_picks(run) == picked
    assert [p.device_id for p in picked] == ["dev-1", "dev-2"]
    assert read_setups(run) == ([SETUP, other], plan)
    assert finals_by_device(run) == {"dev-1": FINALS, "dev-2": plan}
    assert pick_all(run, study, [SETUP, other], plan) == picked, "each by its own finals"
    with pytest.raises(RunFolderError, match=r"dev-1: expected 2 threads.*got 4"):
        save_setups(run, study, [replace(SETUP, threads=4)], FINALS)


def test_an_entry_without_figures_goes_with_the_study(bench: Workbench) -> None:
    """As in a copy of a run folder without its study: nothing there is asked for any more."""
    save_setups(bench.run, bench.study, [SETUP], FINALS)
    bench.run.picks.write_text('{"picks": []}')
    save_setups(bench.run, bench.study, [DeviceSetup("dev-2")], FINALS)
    assert read_setups(bench.run)[0] == [DeviceSetup("dev-2")]


def test_setups_from_before_devices_had_finals_of_their_own(measured: Workbench) -> None:
    body = {"devices": [asdict(SETUP)], "finals": asdict(FINALS)}
    measured.run.setups.write_text(json.dumps(body))
    assert finals_by_device(measured.run) == {"dev-1": FINALS}


def test_damaged_picks_are_decided_anew(measured: Workbench) -> None:
    measured.run.picks.write_text("{")
    picked = pick_all(measured.run, measured.study, [SETUP], FINALS)
    assert read_picks(measured.run) == picked


def test_no_pick_needs_more_memory_than_the_board_has(measured: Workbench) -> None:
    """Limits that name latency alone, or more memory, stay below what the profile says."""
    small = replace(SETUP, ram_budget_bytes=1 << 19)
    picked = pick_all(measured.run, measured.study, [small], FINALS)
    assert picked[0].arch is None
    budget = measured.study.budgets()["dev-1"]
    assert (budget.latency_p95_ms, budget.peak_memory_bytes) == (3.0, 1 << 19)
    assert budget.reason == "given: 3ms; peak memory 512.00 KiB (profile pi4)"
    measured.study.set_budget("dev-1", Budget(3.0, 1 << 18, "given: 3ms,256KiB"))
    pick_all(measured.run, measured.study, [small], FINALS)
    assert measured.study.budgets()["dev-1"].peak_memory_bytes == 1 << 18


# --- a board that was replaced ---------------------------------------------------------------

OLD, NEW = (replace(SETUP, fingerprint=letter * 64) for letter in "ab")


def test_a_replaced_board_loses_its_figures_and_its_pick(measured: Workbench) -> None:
    run, study, space = measured.run, measured.study, measured.checkpoint.space
    other, mine = DeviceSetup("dev-2"), study.trials("dev-1")
    study.set_budget("dev-2", Budget(3.0, None, "given: 3ms"))
    copy, own = study.ask("dev-2", "random", [space.largest(), space.smallest()])
    study.record(copy.number, an_outcome(), {"device": "dev-1"})
    study.record(own.number, an_outcome(), {"device": "dev-2"})
    assert save_setups(run, study, [OLD, other], FINALS) == []
    pick_all(run, study, [OLD], FINALS)
    before = study.budgets()
    (said,) = save_setups(run, study, [replace(NEW, threads=4)], FINALS)
    assert said.startswith("dev-1 has changed: it says that it is another board")
    void = {trial.number for trial in study.trials() if study.renewals(trial.number)}
    assert void == {mine[0].number, copy.number}, "also where an equal one had it recorded"
    assert [trial.state for trial in study.trials("dev-1")] == ["asked"]
    assert study.trials("dev-2")[1].state == "complete"
    assert study.budgets() == before
    assert read_picks(run) == []
    assert read_setups(run)[0] == [replace(NEW, threads=4), other]
    assert len(study.probes.drifts("dev-1")) == 1
    with pytest.raises(RunFolderError, match=r"dev-1: expected 4 threads.*got 2"):
        save_setups(run, study, [NEW], FINALS)
    assert save_setups(run, study, [replace(NEW, threads=4)], FINALS) == [], "it is known by now"
    assert len(study.probes.drifts("dev-1")) == 1


def test_sessions_from_before_a_replacement_do_not_count(measured: Workbench) -> None:
    save_setups(measured.run, measured.study, [OLD], FINALS)
    assert pick_all(measured.run, measured.study, [OLD], FINALS)[0].arch is not None
    save_setups(measured.run, measured.study, [NEW], FINALS)
    assert pick_all(measured.run, measured.study, [NEW], FINALS)[0].arch is None


def test_a_refused_setup_changes_nothing_of_a_replaced_one(measured: Workbench) -> None:
    run, study = measured.run, measured.study
    other = DeviceSetup("dev-2")
    study.set_budget("dev-2", Budget(3.0, None, "given: 3ms"))
    save_setups(run, study, [OLD, other], FINALS)
    with pytest.raises(RunFolderError, match="dev-2: expected 1 thread"):
        save_setups(run, study, [NEW, replace(other, threads=2)], FINALS)
    assert study.probes.drifts("dev-1") == []


def test_a_board_that_says_nothing_this_time_is_taken_for_the_same(measured: Workbench) -> None:
    run, study = measured.run, measured.study
    save_setups(run, study, [SETUP], FINALS)
    save_setups(run, study, [OLD], FINALS)  # it tells for the first time
    save_setups(run, study, [SETUP], FINALS)
    assert read_setups(run)[0] == [OLD]
    assert study.probes.drifts("dev-1") == []
    assert len(save_setups(run, study, [NEW], FINALS)) == 1


def test_a_pick_of_a_device_that_has_changed_since_does_not_stay(measured: Workbench) -> None:
    run, study, other = measured.run, measured.study, DeviceSetup("dev-2")
    save_setups(run, study, [SETUP], FINALS)
    pick_all(run, study, [SETUP], FINALS)
    study.probes.mark_drift("dev-1", "slower by a fifth")
    save_setups(run, study, [other], FINALS)
    study.set_budget("dev-2", Budget(3.0, None, "given: 3ms"))
    assert read_picks(run) != pick_all(run, study, [other], FINALS) == read_picks(run)


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
