"""Devices that run ONNX get .onnx files, and are judged by the bytes of those."""

import json
from dataclasses import replace

import pytest

from edgenas.campaign.boards import device_setup
from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.final_test import final_figures
from edgenas.campaign.finals import FinalsPlan
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import read_setups, save_setups
from edgenas.campaign.training import open_run
from edgenas.campaign.workbench import Workbench
from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.presence import Phase
from edgenas.search.budget import Budget
from edgenas.space.arch import Arch
from firmware_bridge.runtimes.choice import FileFormat
from firmware_bridge.wire.messages import Facts


def view_of(runtime: object) -> DeviceView:
    """A device whose facts name a runtime."""
    facts = Facts(
        profile="generic",
        fingerprint={"runtime": runtime},
        ram_bytes=1 << 30,
        disk_free_bytes=1 << 30,
        measure=True,
        can_verify=True,
    )
    return DeviceView("dev-1", Phase.ONLINE, False, "i", None, facts)


@pytest.mark.parametrize(
    ("runtime", "file_format"),
    [
        ("onnxruntime 1.26.0 cuda", "onnx"),
        ("ai-edge-litert 2.1.2 xnnpack", "tflite"),
        ("tflite-runtime 2.14.0 builtin", "tflite"),
        ("a newer runtime 1.0", "tflite"),
        (None, "tflite"),
        (7, "tflite"),
    ],
)
def test_the_runtime_in_the_facts_decides(runtime: object, file_format: str) -> None:
    assert device_setup(view_of(runtime), {}).file_format == file_format


def test_a_device_that_has_said_nothing_gets_tflite() -> None:
    assert device_setup(replace(view_of(None), facts=None), {}).file_format == "tflite"


def test_another_format_is_another_way_of_measuring(bench: Workbench) -> None:
    setup, finals = DeviceSetup("dev-1", file_format="onnx"), FinalsPlan()
    save_setups(bench.run, bench.study, [setup], finals)
    assert read_setups(bench.run) == ([setup], finals)
    bench.study.set_budget("dev-1", Budget(1.0, None, "given: 1ms"))
    with pytest.raises(RunFolderError, match=r"expected .*\.onnx files as in .*got .*\.tflite"):
        save_setups(bench.run, bench.study, [DeviceSetup("dev-1")], finals)


def test_accuracies_are_those_of_the_format_that_runs(bench: Workbench) -> None:
    arch = bench.checkpoint.space.smallest()
    wanted: list[tuple[Arch, FileFormat]] = [(arch, "tflite"), (arch, "onnx")]
    searched = [bench.scorer.candidate(*each) for each in wanted]
    assert [c.exported.file_format for c in searched] == ["tflite", "onnx"]
    assert searched[0].accuracy == pytest.approx(searched[1].accuracy, abs=0.01)
    figures = final_figures(bench.run, bench.scorer, bench.data, wanted)
    lite, onnx = (figures[arch.id, kind] for _, kind in wanted)
    assert [lite.sha256, onnx.sha256] == [c.exported.sha256 for c in searched]
    assert lite.bytes == pytest.approx(onnx.bytes, abs=0.01)
    _, fresh = open_run(bench.run)
    assert final_figures(bench.run, bench.scorer, fresh, wanted) == figures
    assert fresh.test_reads == 0


def test_figures_from_before_there_were_formats_are_of_tflite(bench: Workbench) -> None:
    wanted: list[tuple[Arch, FileFormat]] = [(bench.checkpoint.space.smallest(), "tflite")]
    first = final_figures(bench.run, bench.scorer, bench.data, wanted)
    path = bench.run.path / "test.json"
    (entry,) = json.loads(path.read_text())
    del entry["file_format"]
    path.write_text(json.dumps([entry]))
    _, fresh = open_run(bench.run)
    assert final_figures(bench.run, bench.scorer, fresh, wanted) == first
    assert fresh.test_reads == 0
