"""Merging what devices have learnt: a device speaks for itself, and holds up nobody else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from edgenas.broker import BrokerThread
from edgenas.cli.main import main
from edgenas.fleet.head_claims import EXAMPLES_CAP, Collected, choose, trained_learner
from edgenas.fleet.heads import collect, keep
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.heads import COUNT_CAP, ClassSums, MergedHead, merge, to_text
from firmware_bridge.wire.messages import Contribution
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.topics import Topics
from tests.edgenas.fleet.conftest import eventually

MODEL, OTHER_MODEL = "a1" * 32, "b2" * 32
ALICE, BOB, MALLORY = (digit * 32 for digit in "abc")
WAIT_S = 60.0


def learnt(learner: str, number: int = 1, count: int = 5, **changed: object) -> Contribution:
    """A contribution of one class with two features."""
    classes = {"cup": ClassSums(count, (count, -count))}
    made = Contribution(model=MODEL, learner=learner, round=number, dimension=2, classes=classes)
    return replace(made, **changed)  # type: ignore[arg-type]


def sent(device: str, contribution: Contribution) -> Collected:
    return Collected(device, contribution, device)


HONEST = (sent("alice", learnt(ALICE)), sent("bob", learnt(BOB)))
WIDE = {"cup": ClassSums(5, (5, 5, 5))}


@pytest.mark.parametrize(
    ("hostile", "said"),
    [
        (learnt(ALICE, 99), "learner a.* is that of alice"),
        (learnt(ALICE, 1, 7), "learner a.* is that of alice"),
        (learnt(MALLORY, 1, COUNT_CAP), "at most 2\\^32 examples"),
        (learnt(MALLORY, classes=WIDE, dimension=3), "expected 2 features, got 3"),
        (learnt(trained_learner(MODEL)), "classes that the model was trained on"),
    ],
)
def test_one_device_neither_blocks_nor_overrules_the_others(
    tmp_path: Path, hostile: Contribution, said: str
) -> None:
    keep(tmp_path, HONEST, MODEL)
    chosen = keep(tmp_path, [*HONEST, sent("mallory", hostile)], MODEL)
    assert [(each.device, each.contribution) for each in chosen.collected] == [
        ("alice", learnt(ALICE)),
        ("bob", learnt(BOB)),
    ]
    (complaint,) = chosen.complaints
    assert re.search(said, complaint), complaint
    assert "mallory" in complaint
    merge(each.contribution for each in chosen.collected)
    assert keep(tmp_path, [], MODEL) == replace(chosen, complaints=()), "nothing of it was kept"


def test_who_a_learner_belongs_to_is_asked_where_nobody_knows(tmp_path: Path) -> None:
    both = (*HONEST, sent("mallory", learnt(ALICE, 99)))
    chosen = keep(tmp_path, both, MODEL)
    assert [each.device for each in chosen.collected] == ["bob"]
    assert "alice and mallory claim it" in chosen.complaints[0]
    told = keep(tmp_path, both, MODEL, leave_out=["mallory"])
    assert [each.device for each in told.collected] == ["alice", "bob"]
    later = keep(tmp_path, both, MODEL).collected
    assert [each.contribution for each in later] == [learnt(ALICE), learnt(BOB)], (
        "known from then on"
    )


def test_the_latest_round_is_kept_whatever_the_order(tmp_path: Path) -> None:
    first, later = learnt(ALICE), learnt(ALICE, 2, classes={})
    for each in ([later, first], [first], [later, later]):
        (found,) = keep(tmp_path, [sent("alice", one) for one in each], MODEL).collected
        assert found.contribution == later
    assert keep(tmp_path, [], OTHER_MODEL).collected == ()


def test_a_file_counts_for_the_device_whose_learner_it_names(tmp_path: Path) -> None:
    export = Collected("a.json", learnt(ALICE, 3))
    assert keep(tmp_path, [export], MODEL).collected[0].device is None
    (found,) = keep(tmp_path, [sent("alice", learnt(ALICE, 2))], MODEL).collected
    assert (found.device, found.contribution.round) == ("alice", 3)
    assert [path.name for path in tmp_path.iterdir()] == [
        f"{MODEL}.{ALICE}.alice.contribution.json"
    ]


def test_one_round_with_two_contents_leaves_out_its_learner_alone() -> None:
    chosen = choose(HONEST, [sent("alice", learnt(ALICE, 1, 7))])
    assert [each.device for each in chosen.collected] == ["bob"]
    assert "two boards share one identity" in chosen.complaints[0]


def test_what_many_devices_say_of_the_dimension_holds_and_a_tie_leaves_all_out() -> None:
    wide = sent("mallory", learnt(MALLORY, classes=WIDE, dimension=3))
    again = sent("mallory", learnt("d" * 32, classes=WIDE, dimension=3))
    chosen = choose([], [*HONEST, wide, again])
    assert [each.device for each in chosen.collected] == ["alice", "bob"]
    assert choose([], [HONEST[0], wide]).collected == ()
    assert choose([], [HONEST[0], wide, again], dimension=2).collected == HONEST[:1]


def test_models_do_not_push_each_other_out(tmp_path: Path) -> None:
    other = learnt(ALICE, model=OTHER_MODEL)
    old = tmp_path / f"{BOB}.contribution.json"  # as an earlier version named it
    old.write_bytes(to_text(learnt(BOB), "contribution"))
    keep(tmp_path, HONEST[:1], MODEL)
    keep(tmp_path, [sent("alice", other)], OTHER_MODEL)
    assert len(keep(tmp_path, [], MODEL).collected) == 2
    (found,) = keep(tmp_path, [], OTHER_MODEL).collected
    assert found.contribution == other


def test_counts_up_to_the_cap_can_be_merged() -> None:
    many = [learnt(f"{n:032x}", count=EXAMPLES_CAP) for n in range(100)]
    assert merge(many).classes["cup"].count == 100 * EXAMPLES_CAP


# --- the command -------------------------------------------------------------------------------


class Board:
    """A broker at which devices hand out heads, and the command that merges them."""

    def __init__(self, folder: Path, cleanup: ExitStack) -> None:
        self.url = cleanup.enter_context(BrokerThread(port=0)).url
        self.run = folder / "run"
        self._cleanup = cleanup

    def hand_out(self, device: str, contribution: Contribution) -> None:
        link = MqttLink(self.url, device)
        link.open(lambda _: None)
        self._cleanup.callback(link.close)
        link.wait_connected(WAIT_S)
        link.publish(Topics("lab").head(device, "main"), encode(contribution), retain=True)
        eventually(
            lambda: device in {each.device for each in collect(self.url, "lab", 0.1)},
        )

    def merge(self, *words: str) -> dict[str, int]:
        """Learner to round of the merged head."""
        where = ("--broker", self.url, "--fleet", "lab", "--listen", "0.3")
        assert main(["fleet", "merge-heads", str(self.run), *where, *words]) == 0
        head = MergedHead.from_bytes((self.run / "heads" / f"{MODEL}.json").read_bytes())
        return dict(head.included)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with ExitStack() as cleanup:
        yield Board(tmp_path, cleanup)


def test_what_is_left_out_is_neither_counted_nor_in_the_way(
    board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board.hand_out("alice", learnt(ALICE))
    board.hand_out("bob", learnt(BOB, 2))
    board.hand_out("mallory", learnt(ALICE, 99))
    assert board.merge() == {BOB: 2}
    said = capsys.readouterr()
    assert "mallory: learner a" in said.out
    assert "left out: learner a" in said.err
    assert board.merge("--leave-out", "mallory") == {ALICE: 1, BOB: 2}
    assert board.merge() == {ALICE: 1, BOB: 2}
    assert board.merge("--leave-out", ALICE) == {BOB: 2}
    assert board.merge("--leave-out", "bob", "--leave-out", "mallory") == {ALICE: 1}
    board.hand_out("mallory", learnt(MALLORY, model=OTHER_MODEL))
    assert main(["fleet", "merge-heads", str(board.run), "--broker", board.url, "--fleet", "lab"])
    assert "expected contributions for one model" in capsys.readouterr().err
    assert board.merge("--leave-out", "mallory") == {ALICE: 1, BOB: 2}
    kept = sorted(path.name for path in (board.run / "heads" / "learners").iterdir())
    assert [name.split(".")[2] for name in kept] == ["alice", "bob"]
    assert json.loads((board.run / "heads" / "learners" / kept[0]).read_text())["learner"] == ALICE
