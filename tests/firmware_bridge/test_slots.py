"""Bundles and links: complete or absent, never a moment without a link."""

import os
import threading
from pathlib import Path

import pytest

from firmware_bridge.slots import CURRENT, PREVIOUS, Slots

A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    return Slots(tmp_path, tmp_path / "run")


def install(slots: Slots, folder: Path, bundle_id: str, content: bytes = b"model") -> Path:
    source = folder / f"blob-{bundle_id[:4]}-{content.hex()[:8]}"
    source.write_bytes(content)
    return slots.install(bundle_id, {"model": source}, b"manifest")


def test_a_bundle_holds_its_files_and_manifest(slots: Slots, tmp_path: Path) -> None:
    directory = install(slots, tmp_path, A)
    assert directory == slots.bundle(A)
    assert sorted(path.name for path in directory.iterdir()) == ["model.tflite", "release.json"]
    assert slots.model(A).read_bytes() == b"model"
    assert slots.model(A).stat().st_nlink == 2  # a hard link: no second copy on the disk


def test_an_onnx_model_goes_by_its_name(slots: Slots, tmp_path: Path) -> None:
    directory = install(slots, tmp_path, A, b"\x08\x0a" + bytes(40))
    assert sorted(path.name for path in directory.iterdir()) == ["model.onnx", "release.json"]
    assert slots.model(A) == directory / "model.onnx"


def test_installing_again_renews_what_may_differ(slots: Slots, tmp_path: Path) -> None:
    install(slots, tmp_path, A)
    slots.install(A, {}, b"newer manifest")
    assert (slots.bundle(A) / "release.json").read_bytes() == b"newer manifest"
    assert slots.model(A).read_bytes() == b"model"


def test_a_bundle_can_be_installed_again_out_of_itself(slots: Slots, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"model")
    for number in range(3):  # the files are links to one and the same inode
        slots.install(A, {"model": blob}, b"manifest %d" % number)
    slots.install(A, {"model": slots.model(A)}, b"last manifest")
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [A]
    assert slots.model(A).read_bytes() == b"model"
    assert (slots.bundle(A) / "release.json").read_bytes() == b"last manifest"


def test_an_unfinished_bundle_is_gone_after_a_start(slots: Slots, tmp_path: Path) -> None:
    (tmp_path / "bundles" / f".{A}.tmp").mkdir()
    Slots(tmp_path, tmp_path / "run")
    assert list((tmp_path / "bundles").iterdir()) == []


def test_links_are_relative_and_stamped(slots: Slots, tmp_path: Path) -> None:
    install(slots, tmp_path, A)
    slots.point("main", CURRENT, A)
    assert slots.stamp("main")
    assert not slots.stamp("main")  # applications wake up only when something has changed
    assert os.readlink(tmp_path / "slots" / "main" / "current") == f"../../bundles/{A}"
    assert (tmp_path / "slots" / "main" / "current" / "model.tflite").read_bytes() == b"model"
    assert (tmp_path / "run" / "main.stamp").read_text() == f"{A}\n"
    slots.point("main", CURRENT, None)
    assert slots.stamp("main")
    assert slots.pointed("main") is None
    assert (tmp_path / "run" / "main.stamp").read_text() == "\n"


def test_a_reader_never_finds_a_gap(slots: Slots, tmp_path: Path) -> None:
    for bundle_id, content in ((A, b"one"), (B, b"two")):
        install(slots, tmp_path, bundle_id, content)
    slots.point("main", CURRENT, A)
    seen: set[bytes] = set()
    failures: list[OSError] = []
    done = threading.Event()

    def read() -> None:
        model = tmp_path / "slots" / "main" / "current" / "model.tflite"
        while not done.is_set():
            try:
                seen.add(model.read_bytes())
            except OSError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        slots.point("main", CURRENT, B)
        slots.point("main", CURRENT, A)
    done.set()
    reader.join()
    assert failures == []
    assert seen == {b"one", b"two"}


def test_relink_repairs_only_what_is_wrong(slots: Slots, tmp_path: Path) -> None:
    assert slots.relink("main", A, B)
    assert (slots.pointed("main"), slots.pointed("main", PREVIOUS)) == (A, B)
    stamp = tmp_path / "run" / "main.stamp"
    assert stamp.read_text() == f"{A}\n"
    stamp.unlink()
    assert not slots.relink("main", A, B)
    assert stamp.read_text() == f"{A}\n"  # a reboot empties the directory of stamps
    assert slots.relink("main", None, None)
    assert slots.pointed("main") is None


def test_a_stamp_that_cannot_be_written_does_not_keep_the_links_from_being_right(
    slots: Slots, tmp_path: Path
) -> None:
    (tmp_path / "run" / "main.stamp").mkdir()
    assert slots.relink("main", A, None)
    assert slots.pointed("main") == A


def test_collect_keeps_what_is_named(slots: Slots, tmp_path: Path) -> None:
    for bundle_id in (A, B, C):
        install(slots, tmp_path, bundle_id)
    assert sorted(slots.collect({A, C})) == [B]
    assert sorted(path.name for path in (tmp_path / "bundles").iterdir()) == [A, C]
