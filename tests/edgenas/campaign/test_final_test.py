"""The test split is read once, and its figures are those of the shipped bytes."""

import json

import pytest

from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.final_test import final_figures
from edgenas.campaign.training import open_run
from edgenas.campaign.workbench import Workbench
from edgenas.data.digits import read_digits
from edgenas.export.run_bytes import run_codes
from edgenas.model.images import to_codes
from edgenas.space.arch import Arch
from firmware_bridge.runtimes.choice import FileFormat


def test_figures_are_those_of_the_bytes_on_the_test_split(bench: Workbench) -> None:
    arch = bench.checkpoint.space.largest()
    assert bench.data.test_reads == 0
    figures = final_figures(bench.run, bench.scorer, bench.data, [(arch, "tflite")])[
        arch.id, "tflite"
    ]
    assert bench.data.test_reads == 1
    model = bench.scorer.exporter.export(arch).path.read_bytes()
    split = read_digits().read_test()
    answers = run_codes(model, to_codes(split.images, arch.resolution)).argmax(1)
    assert figures.bytes == pytest.approx(float((answers == split.labels).mean()))
    assert figures.images == len(split)
    assert figures.fake_quant == pytest.approx(figures.bytes, abs=0.02)


def test_a_second_report_does_not_read_it_again(bench: Workbench) -> None:
    space = bench.checkpoint.space
    wanted: list[tuple[Arch, FileFormat]]
    wanted = [(arch, "tflite") for arch in (space.smallest(), space.largest())]
    first = final_figures(bench.run, bench.scorer, bench.data, wanted)
    _, fresh = open_run(bench.run)
    key = (space.largest().id, wanted[1][1])
    assert final_figures(bench.run, bench.scorer, fresh, wanted[1:]) == {key: first[key]}
    assert final_figures(bench.run, bench.scorer, fresh, []) == {}
    assert fresh.test_reads == 0


def test_figures_of_other_bytes_do_not_count(bench: Workbench) -> None:
    arch = bench.checkpoint.space.smallest()
    final_figures(bench.run, bench.scorer, bench.data, [(arch, "tflite")])
    path = bench.run.path / "test.json"
    (entry,) = json.loads(path.read_text())
    path.write_text(json.dumps([{**entry, "sha256": "0" * 64, "bytes": 1.0}]))
    _, fresh = open_run(bench.run)
    again = final_figures(bench.run, bench.scorer, fresh, [(arch, "tflite")])
    assert fresh.test_reads == 1
    assert again[arch.id, "tflite"].bytes == entry["bytes"]


@pytest.mark.parametrize("text", ["{", "5", "[5]", '[{"arch_id": "abc"}]', '{"arch_id": 1}'])
def test_damaged_figures_are_named_and_the_split_stays_closed(bench: Workbench, text: str) -> None:
    (bench.run.path / "test.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"test.json: expected"):
        final_figures(
            bench.run, bench.scorer, bench.data, [(bench.checkpoint.space.smallest(), "tflite")]
        )
    assert bench.data.test_reads == 0
