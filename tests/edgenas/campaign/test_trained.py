"""Supernets that trained a list: the later steps keep to it, or mix, as the method has it."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgenas.campaign.progress import Silent
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.training import train_run
from edgenas.campaign.workbench import workbench
from edgenas.cli.main import main
from edgenas.space.listed import ListedSpace
from edgenas.train.checkpoint import Checkpoint
from edgenas.train.samplers.fixed import mat_nets, sorted_nets
from edgenas.train.trained import listed_archs, searchable_space, trained_space
from tests.edgenas.campaign.runs import COMMAND, OPTIONS


def trained_by(sampler: str, folder: Path) -> Checkpoint:
    options = replace(OPTIONS, overrides={"epochs": 0.2, "sampler": sampler})
    return train_run(RunDir(folder), options, COMMAND, Silent())[0]


def test_the_chosen_few_are_all_that_is_searched_told_and_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "--recipe", "prenas", "--epochs", "0.2", "--out", "run"]
    assert main(words) == 0
    told = " ".join(capsys.readouterr().err.split())
    with workbench(RunDir(Path("run"))) as bench:
        checkpoint, space = bench.checkpoint, bench.space
    archs = listed_archs(checkpoint)
    assert isinstance(space, ListedSpace)
    assert 1 < len(space.archs) == len(archs) <= 6
    assert set(space.archs) == set(archs)
    macs = [f"{checkpoint.space.macs(arch) / 1e6:.2f} MMAC" for arch in space.archs]
    assert f"{len(archs)} subnets were trained, no others" in told
    assert macs[0] in told
    assert macs[-1] in told
    assert space.smallest() != checkpoint.space.smallest()
    assert main(["export", "run", "--arch", "smallest", "--out", "a.tflite"]) == 0
    assert space.smallest().id in capsys.readouterr().out


def test_what_a_checkpoint_says_of_its_lists(tmp_path: Path) -> None:
    everything = trained_by("uniform", tmp_path / "uniform")
    assert listed_archs(everything) == ()
    assert trained_space(everything) is searchable_space(everything) is everything.space

    nested = trained_by("sortednet", tmp_path / "sortednet")
    assert set(listed_archs(nested)) == set(sorted_nets(nested.space))
    assert searchable_space(nested) == trained_space(nested) != nested.space

    mixed = trained_by("matformer", tmp_path / "matformer")
    assert set(listed_archs(mixed)) == set(mat_nets(mixed.space))
    assert searchable_space(mixed) is mixed.space, "Mix'n'Match goes beyond the list"
    assert trained_space(mixed).smallest() == min(mat_nets(mixed.space), key=mixed.space.macs)

    chosen = trained_by("prenas", tmp_path / "prenas")
    memory = {name: value for name, value in chosen.memory.items() if name != "listed"}
    earlier = replace(chosen, memory=memory)  # as it was written before lists were kept
    assert listed_archs(earlier) == listed_archs(chosen)
