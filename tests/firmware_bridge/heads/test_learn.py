"""`edgenas-device learn` and `classify` on a state directory as the daemon leaves it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.cli import main
from firmware_bridge.heads.keeping import HeadStore
from firmware_bridge.heads.notebook import Example
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.heads import ClassSums, contribution_of, merge
from firmware_bridge.wire.messages import Contribution
from tests.firmware_bridge.heads.tiny_classifier import (
    classifier,
    codes_of,
    feature_of,
    install,
    write_example,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A state directory whose slot runs the tiny classifier, and a folder of examples beside it."""
    state = tmp_path / "state"
    state.mkdir()
    install(state, classifier())
    for label, number in (("cup", 1), ("cup", 2), ("door", 3)):
        write_example(tmp_path / "examples", label, number)
    return state


def device(board: Path, *words: object) -> int:
    """One command on the board."""
    first, *rest = map(str, words)
    return main([first, *rest, "--state-dir", str(board)])


def sums_of(*numbers: int) -> ClassSums:
    features = np.array([feature_of(codes_of(number)) for number in numbers])
    return ClassSums(len(numbers), tuple(features.sum(0).tolist()))


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def kept(board: Path) -> dict[str, ClassSums]:
    digest = next((board / "heads").glob("*.json")).stem
    return HeadStore(board).load(digest).sums


def test_a_folder_is_learnt_once_and_told(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = board.parent / "examples"
    for _ in range(2):
        assert device(board, "learn", examples, "--json") == 0
        assert told(capsys)["here"] == {"cup": 2, "door": 1}
    assert kept(board) == {"cup": sums_of(1, 2), "door": sums_of(3)}
    assert device(board, "learn", "--status") == 0
    out = capsys.readouterr().out
    assert "learnt here: cup (2), door (1)" in out
    assert "--hand-out" in out


def test_forgetting_a_class_leaves_the_others(board: Path) -> None:
    assert device(board, "learn", board.parent / "examples", "--forget", "cup") == 0
    assert kept(board) == {"door": sums_of(3)}


def test_images_are_told_their_classes(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = board.parent / "examples"
    assert device(board, "learn", examples) == 0
    capsys.readouterr()
    images = [examples / "cup" / "2.bin", examples / "door" / "3.bin"]
    assert device(board, "classify", *images, "--json") == 0
    answers = json.loads(capsys.readouterr().out)
    assert [each["class"] for each in answers] == ["cup", "door"]


def test_the_fleets_head_counts_beside_what_was_learnt_here(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = install(board, classifier())
    other = HeadStore(board).load(digest)
    other = other.learnt([Example("lamp", "5" * 64, tuple(feature_of(codes_of(9))))], "r")
    sent = other.handed_out().contribution()
    assert sent is not None
    install(board, classifier(), merge([sent]).to_bytes())
    assert device(board, "learn", board.parent / "examples", "--json") == 0
    assert told(capsys)["together"] == {"cup": 2, "door": 1, "lamp": 1}
    lamp = write_example(board.parent / "more", "lamp", 9)
    assert device(board, "classify", lamp) == 0
    assert capsys.readouterr().out == f"{lamp}: lamp\n"


def test_handing_out_gives_the_daemon_a_message_and_people_a_file(board: Path) -> None:
    file = board.parent / "out.json"
    words = ("learn", board.parent / "examples", "--hand-out", "--export", file)
    assert device(board, *words) == 0
    message = decode((board / "heads" / "main.handout").read_bytes()).message
    assert isinstance(message, Contribution)
    assert message == contribution_of(file.read_bytes())
    assert (message.round, message.classes) == (1, kept(board))
    assert device(board, *words) == 0
    assert contribution_of(file.read_bytes()) == message


def test_what_is_too_much_for_a_message_is_carried_as_a_file(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest, store = install(board, classifier()), HeadStore(board)
    feature = tuple(feature_of(codes_of(1)))
    many = [Example(f"class number {i:040}", f"{i:064x}", feature) for i in range(900)]
    with store.alone():
        store.save(store.load(digest).learnt(many, "r"))
    file = board.parent / "out.json"
    assert device(board, "learn", "--hand-out") == 1
    assert "--export" in capsys.readouterr().err
    assert device(board, "learn", "--export", file) == 0
    assert len(contribution_of(file.read_bytes()).classes) == 900


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("learn", "nowhere"), "nowhere"),
        (("learn", "--forget", "cup"), "learnt here"),
        (("learn", "--hand-out"), "learn some first"),
        (("learn", "--status", "--slot", "other"), "ship one"),
        (("learn", "--status", "--slot", "../x"), "slot"),
        (("classify", "a.bin"), "at least one class"),
    ],
)
def test_mistakes_are_told_in_words(
    board: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert device(board, *words) == 1
    assert said in capsys.readouterr().err


def test_learn_alone_says_how_it_is_used(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert device(board, "learn") == 2
    assert "--status" in capsys.readouterr().err


def test_a_file_of_another_length_is_refused_and_nothing_is_learnt(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = board.parent / "examples"
    (examples / "door" / "short.bin").write_bytes(b"\x00" * 3)
    assert device(board, "learn", examples) == 1
    assert "short.bin" in capsys.readouterr().err
    assert not list((board / "heads").glob("*.json"))


def test_pictures_are_seen_as_the_network_saw_them_in_training(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image")
    examples, codes = board.parent / "pictures", codes_of(4)
    pixels = (codes.reshape(4, 4).astype(np.int16) + 128).astype(np.uint8)
    for name, made in (("a.png", pixels), ("b.bmp", np.pad(pixels, ((0, 0), (3, 3))))):
        (examples / "cup").mkdir(parents=True, exist_ok=True)
        image.fromarray(made).save(examples / "cup" / name)
    assert device(board, "learn", examples, "--json") == 0
    assert told(capsys)["here"] == {"cup": 1}  # the centre of the wide one is the same input
    assert kept(board) == {"cup": sums_of(4)}
    (examples / "cup" / "c.png").write_bytes(b"no picture")
    assert device(board, "learn", examples) == 1
    assert "c.png" in capsys.readouterr().err


def fault(board: Path, order: str) -> int:
    """The command as a process of its own, with a fault ordered; its exit status."""
    words = ["learn", str(board.parent / "examples"), "--hand-out", "--state-dir", str(board)]
    done = subprocess.run(
        [sys.executable, "-m", "firmware_bridge.cli", *words],
        env={**os.environ, "EDGENAS_FAULT": order, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=110,
        check=False,
    )
    return done.returncode


def moments(board: Path) -> list[str]:
    log = board.parent / "moments"
    assert fault(board, f"log:{log}") == 0
    return log.read_text().splitlines()


def test_a_kill_at_any_write_loses_nothing_and_counts_nothing_twice(board: Path) -> None:
    assert device(board, "learn", board.parent / "examples", "--hand-out") == 0
    undisturbed = kept(board)
    write_example(board.parent / "examples", "door", 7)
    more = {**undisturbed, "door": sums_of(3, 7)}
    before = {p.name: p.read_bytes() for p in (board / "heads").iterdir()}
    passed = moments(board)
    assert len(passed) == 6, passed  # before and after each of two files
    assert kept(board) == more
    for moment in range(1, len(passed) + 1):
        for path in (board / "heads").iterdir():
            path.unlink()
        for name, content in before.items():
            (board / "heads" / name).write_bytes(content)
        assert fault(board, f"kill:{moment}") == -9
        assert kept(board) in (undisturbed, more)
        assert device(board, "learn", board.parent / "examples", "--hand-out") == 0
        message = decode((board / "heads" / "main.handout").read_bytes()).message
        assert isinstance(message, Contribution)
        assert (message.round, message.classes) == (2, more)
        assert kept(board) == more


def test_a_full_disk_is_told_and_keeps_what_was_known(board: Path) -> None:
    assert device(board, "learn", board.parent / "examples") == 0
    known = kept(board)
    write_example(board.parent / "examples", "door", 7)
    assert fault(board, "enospc:1") == 1
    assert kept(board) == known
