"""The driver of fuzzing: what is kept of a run, what is run again, and what a child's words mean.

The fuzzer itself is not here (`make fuzz`): children are shell scripts that say what one has said.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.fuzz import Children, Row, figures_of, fuzz_all, known, take_over
from benchmarks.fuzz_code import code_digest, reach
from benchmarks.kept import Kept
from tests.fuzz.targets import TARGETS
from tests.import_graph import modules

NAMES = ["one", "two", "three"]
ABOUT = dict.fromkeys(NAMES, "600 s")
# The end of what a child has said that went through its time.
WORDS = """#2097152	pulse  cov: 54 ft: 59 corp: 17/666b lim: 8192 exec/s: 83886 rss: 69Mb
#2423162	DONE   cov: 61 ft: 66 corp: 17/666b lim: 8192 exec/s: 78166 rss: 69Mb
Done 2423162 runs in 31 second(s)
stat::number_of_executed_units: 2423162
stat::peak_rss_mb:              69
"""


class Fuzzer:
    """Fuzzes nothing and remembers what it was asked for; is killed at one parser, finds at one."""

    def __init__(self, killed_at: str = "", finds_at: str = "") -> None:
        self.asked: list[str] = []
        self._killed_at, self._finds_at = killed_at, finds_at

    def __call__(self, name: str) -> Row:
        self.asked.append(name)
        if name == self._killed_at:
            raise KeyboardInterrupt
        return Row(name, 600, 10**5, 50, ("a-crash",) if name == self._finds_at else ())


def test_a_killed_run_loses_the_parser_under_way_and_no_more(tmp_path: Path) -> None:
    path, killed, again = tmp_path / "rows.jsonl", Fuzzer(killed_at="two"), Fuzzer()
    with pytest.raises(KeyboardInterrupt):
        fuzz_all(ABOUT, killed, Kept(path), 1)
    rows = fuzz_all(ABOUT, again, Kept(path), 1)
    assert "one" not in again.asked
    assert "two" in again.asked
    assert [row.target for row in rows] == NAMES
    assert fuzz_all(ABOUT, third := Fuzzer(), Kept(path), 1) == rows
    assert third.asked == []


def test_what_found_something_is_run_again_and_what_changed_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = fuzz_all(ABOUT, Fuzzer(finds_at="two"), Kept(path), 1)
    assert [row.finds for row in rows] == [(), ("a-crash",), ()]
    fuzz_all(ABOUT, again := Fuzzer(), Kept(path), 1)
    assert again.asked == ["two"]
    fuzz_all({**ABOUT, "three": "600 s, other code"}, changed := Fuzzer(), Kept(path), 1)
    assert changed.asked == ["three"]


def test_a_result_on_record_holds_for_what_has_not_changed_since(tmp_path: Path) -> None:
    rows = [
        {**asdict(Row(name, 600, 10**5, 50, finds)), "holds_for": "600 s"}
        for name, finds in (("one", ()), ("two", ("a-crash",)), ("three", ()), ("gone", ()))
    ]
    old = asdict(Row("four", 600, 10**5, 50, ()))  # of a time when rows did not say
    (tmp_path / "fuzz.json").write_text(json.dumps({"raw": {"rows": [*rows, old]}}))
    about = {"one": "600 s", "two": "600 s", "three": "600 s, other code", "four": "600 s"}
    kept = Kept(tmp_path / "rows.jsonl")
    take_over(tmp_path / "fuzz.json", about, kept)
    assert list(known(about, kept)) == ["one"]
    fuzz_all(about, fuzzer := Fuzzer(), kept, 1)
    assert fuzzer.asked == ["two", "three", "four"]
    take_over(tmp_path / "none.json", about, kept)  # nothing on record yet


def test_as_many_parsers_at_a_time_as_were_asked_for(tmp_path: Path) -> None:
    """Each waits for the other two: one after the other, none would ever go on."""
    all_here = threading.Barrier(3)

    def fuzz(name: str) -> Row:
        all_here.wait(60)
        return Row(name, 600, 1, 1, ())

    rows = fuzz_all(ABOUT, fuzz, Kept(tmp_path / "rows.jsonl"), 3)
    assert [row.target for row in rows] == NAMES


def test_figures_are_the_worst_of_the_rows() -> None:
    rows = [Row("one", 600, 50_000, 40, ()), Row("two", 0, 9, 3, ("a", "b"))]
    figures = {figure.name: figure for figure in figures_of(rows)}
    told = [figure.value for figure in figures.values()]
    assert told == [2, 2, 0, 9, 50_009, 43]
    missed = [name for name, figure in figures.items() if not figure.met]
    assert missed == [name for name in figures if "informational" not in name]
    whole = [Row(name, 600, 10_000, 1, ()) for name in TARGETS]
    assert all(figure.met for figure in figures_of(whole))


def child(tmp_path: Path, script: str) -> Children:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    (tmp_path / "corpus" / "finds").mkdir(parents=True)
    (tmp_path / "corpus" / "finds" / "one-crash-old").write_text("found before")
    return Children(python, tmp_path, 31, str(tmp_path))


def test_a_child_that_went_through_its_time(tmp_path: Path) -> None:
    row = child(tmp_path, f"cat >&2 <<'END'\n{WORDS}END").fuzz("one")
    assert row == Row("one", 31, 2423162, 61, ())


def test_a_child_that_found_something_was_not_through(tmp_path: Path) -> None:
    finds = tmp_path / "corpus" / "finds"
    row = child(tmp_path, f"echo x > {finds}/one-crash-new; echo 'cov: 7' >&2; exit 77").fuzz("one")
    assert row == Row("one", 0, 0, 7, ("corpus/finds/one-crash-new",))


def test_a_child_that_broke_without_a_word_is_a_find(tmp_path: Path) -> None:
    row = child(tmp_path, "echo no atheris here >&2; exit 3").fuzz("one")
    assert row.finds == ("one: ended with 3: no atheris here",)


@pytest.mark.parametrize(
    ("changed", "of"),
    [
        ("tests/fuzz/watch.py", set()),
        ("firmware_bridge/wire/jsontext.py", {"json", "kind-wish", "dsse", "plan-file"}),
        ("edgenas/rollout/plan_file.py", {"plan-file"}),
        ("edgenas/broker/packets.py", {"packets-3", "packets-5"}),  # imported inside a function
        ("edgenas/fleet/enrolment_desk.py", set()),
    ],
)
def test_a_digest_covers_what_a_target_can_reach(
    monkeypatch: pytest.MonkeyPatch, changed: str, of: set[str]
) -> None:
    names = ["json", "plan-file", "kind-wish", "dsse", "packets-3", "packets-5", "topics"]
    before, read = {name: code_digest(TARGETS[name]) for name in names}, Path.read_bytes

    def other(path: Path) -> bytes:
        return read(path) + (b"\n" if str(path).endswith(changed) else b"")

    monkeypatch.setattr(Path, "read_bytes", other)
    after = {name: code_digest(TARGETS[name]) for name in names}
    moved = {name for name in names if before[name] != after[name]}
    assert moved == (set(names) if "fuzz" in changed else of)


def test_every_target_reaches_code_of_the_project_and_its_own_lines() -> None:
    for name, target in TARGETS.items():
        source, imported = reach(target.parse)
        assert "def " in source, name
        assert imported & modules().keys(), name
    source, _ = reach(TARGETS["kind-wish"].parse)
    assert "def _kind(" in source
    assert "def _topic(" not in source
