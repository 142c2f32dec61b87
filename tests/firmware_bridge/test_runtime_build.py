"""Two builds of one version of a runtime are told apart by what their wheels recorded."""

from pathlib import Path

import pytest

from firmware_bridge.bench.supervise import probe_runtime
from firmware_bridge.facts import fingerprint, read_board
from firmware_bridge.runtime_build import runtime_build

LABEL = "ai-edge-litert 2.1.2 xnnpack"


def install(site: Path, digest: str, more: str = "", version: str = "2.1.2") -> str:
    folder = site / f"ai_edge_litert-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "RECORD").write_text(
        f"ai_edge_litert/wrapper.so,sha256={digest},100\nai_edge_litert/a.py,sha256=x,1\n{more}"
    )
    return str(site)


def test_the_native_libraries_decide_and_nothing_else(tmp_path: Path) -> None:
    first = install(tmp_path / "a", "one")
    other = install(tmp_path / "b", "two")
    recompiled = install(tmp_path / "c", "one", more="ai_edge_litert/a.pyc,,\nINSTALLER,,\n")
    builds = [runtime_build(LABEL, [site]) for site in (first, other, recompiled)]
    assert builds[0] == builds[2] != builds[1]
    assert len(builds[0] or "") == 12


@pytest.mark.parametrize("label", [None, "", "ai-edge-litert", "ai-edge-litert 9.9 xnnpack", "x y"])
def test_what_is_not_installed_has_no_build(label: str | None, tmp_path: Path) -> None:
    assert runtime_build(label, [install(tmp_path, "one"), "/nowhere"]) is None


def test_the_runtime_of_this_machine_has_one_and_it_is_in_the_fingerprint() -> None:
    label = probe_runtime().label
    build = runtime_build(label)
    assert build is not None
    assert fingerprint(read_board(), label, 1)["runtime_build"] == build
