"""The study: append-only history, identity, budgets, sessions, several readers and writers."""

import random
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgenas.database.address import Address, Where
from edgenas.search import SEARCHERS
from edgenas.search.budget import Budget
from edgenas.search.errors import SearchError, StudyError, StudyMismatchError
from edgenas.search.probes import Probe
from edgenas.search.study import Study
from edgenas.search.trial import Failure, Trial
from edgenas.space import Arch
from tests.databases import place, raw
from tests.edgenas.search.analytic import DIGITS, outcome
from tests.edgenas.search.study_cases import IDENTITY

ARCHS = [DIGITS.sample(random.Random(i)) for i in range(40)]
VALUE = outcome(DIGITS, ARCHS[0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.sqlite"


@pytest.fixture
def where(path: Path) -> Where:
    """A file, or a schema of PostgreSQL where the tests run on that."""
    return place(path)


@pytest.fixture
def study(where: Where) -> Iterator[Study]:
    with Study.open(where, IDENTITY, clock=lambda: 1234) as opened:
        yield opened


def test_asked_trials_are_pending_until_they_end(study: Study) -> None:
    one, two, three = study.ask("a", "evolution", ARCHS[:3])
    done = study.record(two.number, VALUE)
    broken = study.record(three.number, Failure("oom", "killed at 8 MiB"))
    assert (done.state, done.value) == ("complete", VALUE)
    assert (broken.state, broken.failure) == ("failed", Failure("oom", "killed at 8 MiB"))
    assert study.pending() == [one]
    assert study.trials() == [one, done, broken]


def test_everything_is_there_after_closing(where: Where) -> None:
    with Study.open(where, IDENTITY) as first:
        asked = first.ask("a", "random", ARCHS[:2])
        done = first.record(asked[0].number, VALUE, raw={"legs": [[1, 2], [3]]})
        first.set_budget("a", Budget(2.5, None, "given"))
        first.add_session("a", ARCHS[0], VALUE)
    with Study.open(where, IDENTITY) as again:
        assert again.trials() == [done, asked[1]]
        assert again.pending() == [asked[1]]
        assert again.raw(done.number) == {"legs": [[1, 2], [3]]}
        assert again.budgets() == {"a": Budget(2.5, None, "given")}
        assert [session.result for session in again.sessions()] == [VALUE]
        assert again.identity == IDENTITY


def test_trials_are_told_apart_by_device_and_searcher(study: Study) -> None:
    for device, searcher in (("a", "random"), ("a", "evolution"), ("b", "random")):
        study.ask(device, searcher, ARCHS[:2])
    assert len(study.trials()) == 6
    assert [t.device for t in study.trials(device="b")] == ["b", "b"]
    assert {(t.device, t.searcher) for t in study.trials(searcher="random")} == {
        ("a", "random"),
        ("b", "random"),
    }
    assert len(study.pending("a", "evolution")) == 2
    assert study.trials("c") == []
    assert [t.number for t in study.trials()] == sorted(t.number for t in study.trials())


def test_asking_for_the_same_again_is_refused_and_leaves_nothing(study: Study) -> None:
    study.ask("a", "random", ARCHS[:1])
    with pytest.raises(StudyError, match="expected a new architecture for random on a"):
        study.ask("a", "random", [ARCHS[1], ARCHS[0]])
    assert [trial.arch for trial in study.trials()] == ARCHS[:1]


def test_the_first_result_stays(study: Study) -> None:
    (trial,) = study.ask("a", "random", ARCHS[:1])
    first = study.record(trial.number, VALUE, raw={"n": 1})
    assert study.record(trial.number, Failure("timeout", "late"), raw={"n": 2}) == first
    assert study.trials() == [first]
    assert study.raw(trial.number) == {"n": 1}


def test_a_result_of_what_was_never_asked_is_refused(study: Study) -> None:
    with pytest.raises(StudyError, match="ask for it first"):
        study.record(17, VALUE)
    assert study.trials() == []


def test_raw_samples_must_be_plain_json(study: Study) -> None:
    (trial,) = study.ask("a", "random", ARCHS[:1])
    with pytest.raises(SearchError, match="plain JSON"):
        study.record(trial.number, VALUE, raw={"x": float("nan")})
    with pytest.raises(SearchError, match="plain JSON"):
        study.record(trial.number, VALUE, raw={"x": object()})
    assert study.pending() == [trial]
    assert study.raw(trial.number) is None


def test_the_latest_budget_holds(study: Study, where: Where) -> None:
    study.set_budget("b", Budget(1.0, 2**20, "first"))
    study.set_budget("a", Budget(3.0, None, "only"))
    study.set_budget("b", Budget(2.0, 2**20, "second"))
    assert study.budgets() == {
        "b": Budget(2.0, 2**20, "second"),
        "a": Budget(3.0, None, "only"),
    }
    with raw(where) as rows:
        assert rows.exec_driver_sql("SELECT count(*) FROM budgets").scalar() == 3


def test_sessions_pile_up_in_order(study: Study) -> None:
    certified = outcome(DIGITS, ARCHS[0], level="certify", slower=1.1)
    study.add_session("a", ARCHS[0], VALUE, raw={"samples_ns": [5, 6]})
    study.add_session("b", ARCHS[0], VALUE)
    study.add_session("a", ARCHS[1], Failure("crash", "died"))
    study.add_session("a", ARCHS[0], certified)
    mine = study.sessions("a", ARCHS[0].id)
    assert [session.result for session in mine] == [VALUE, certified]
    assert study.session_raw(mine[0].position) == {"samples_ns": [5, 6]}
    assert study.session_raw(mine[1].position) is None
    assert [s.result for s in study.sessions(arch_id=ARCHS[1].id)] == [Failure("crash", "died")]
    assert len(study.sessions("a")) == 3
    assert {session.wall_ms for session in study.sessions()} == {1234}
    assert study.sessions()[2].arch == ARCHS[1]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (replace(IDENTITY, checkpoint_sha256="d" * 64), "checkpoint_sha256"),
        (replace(IDENTITY, space="fashion"), "space"),
        (replace(IDENTITY, data_fingerprint="other"), "data_fingerprint"),
        (replace(IDENTITY, seeds={"search": 4, "train": 1}), "seeds"),
    ],
)
def test_mixing_with_another_history_is_refused_by_name(
    study: Study, where: Where, other: object, named: str
) -> None:
    study.ask("a", "random", ARCHS[:1])
    with pytest.raises(StudyMismatchError, match=f"expected the history of {named}") as caught:
        Study.open(where, other)  # type: ignore[arg-type]
    assert "start a new study" in str(caught.value)
    assert str(caught.value.path) == str(Address.parse(where))
    assert study.identity == IDENTITY
    assert len(study.trials()) == 1


def test_a_file_of_another_kind_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"not a database, but a letter to a friend" * 50)
    before = path.read_bytes()
    with pytest.raises(StudyError, match="expected a"):
        Study.open(path, IDENTITY)
    assert path.read_bytes() == before


def test_another_sqlite_database_is_refused_and_left_alone(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE friends (name TEXT)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(StudyError, match="got another database"):
        Study.open(path, IDENTITY)
    with pytest.raises(StudyError, match="got another database"):
        Study.read(path)
    assert path.read_bytes() == before


def test_another_version_is_refused(where: Where) -> None:
    Study.open(where, IDENTITY).close()
    with raw(where) as other:
        other.exec_driver_sql("UPDATE edgenas_version SET version_num='9999'")
    for use in (lambda: Study.open(where, IDENTITY), lambda: Study.read(where)):
        with pytest.raises(StudyError, match="got one of revision 9999"):
            use()


def test_reading_needs_a_study_and_cannot_change_it(path: Path, where: Where, study: Study) -> None:
    with pytest.raises(StudyError, match="got no such file"):
        Study.read(path.with_name("missing.sqlite"))
    assert not path.with_name("missing.sqlite").exists()
    study.ask("a", "random", ARCHS[:1])
    with Study.read(where) as reader:
        assert reader.trials() == study.trials()
        with pytest.raises(StudyError, match=r"read-?only"):
            reader.set_budget("a", Budget(1.0))
        study.ask("a", "random", ARCHS[1:2])
        assert len(reader.trials()) == 2


def test_a_damaged_row_is_named(where: Where, study: Study) -> None:
    (trial,) = study.ask("a", "random", ARCHS[:1])
    study.record(trial.number, VALUE)
    with raw(where) as other:
        other.exec_driver_sql("UPDATE results SET body='{}'")
    with pytest.raises(StudyError, match=r"damaged row in trials: .*outcome or a failure"):
        study.trials()


def test_several_threads_and_connections_lose_nothing(where: Where) -> None:
    asked: list[Trial] = []

    def write(name: str) -> None:
        with Study.open(where, IDENTITY) as mine:
            for arch in ARCHS[:12]:
                (trial,) = mine.ask(name, "random", [arch])
                asked.append(trial)
                mine.record(trial.number, VALUE)

    writers = [threading.Thread(target=write, args=(f"board-{i}",)) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    with Study.read(where) as reader:
        trials = reader.trials()
        assert len(trials) == len({trial.number for trial in trials}) == 36
        assert {trial.number for trial in trials} == {trial.number for trial in asked}
        assert reader.pending() == []


def test_a_search_goes_on_from_the_file_with_what_was_pending(path: Path) -> None:
    def proposals(stops: tuple[int, ...]) -> list[Arch]:
        """Search 30 steps, closing everything and starting again at the given ones."""
        file = place(path.with_name(f"{len(stops)}.sqlite"))
        for end in (*stops, 30):
            with Study.open(file, IDENTITY) as study:
                searcher = SEARCHERS["evolution"](DIGITS, device="a", seed=5)
                searcher.resume(study.trials("a", "evolution"))
                while len(study.trials()) < end:
                    study.ask("a", searcher.name, searcher.ask(1))
                    if len(study.pending()) == 3:
                        oldest = study.pending()[0]
                        searcher.tell(study.record(oldest.number, outcome(DIGITS, oldest.arch)))
        with Study.read(file) as study:
            return [trial.arch for trial in study.trials()]

    assert proposals(()) == proposals((1, 14, 23))


def test_a_result_that_went_stale_is_given_again(where: Where) -> None:
    again = replace(VALUE, latency_p50_ms=VALUE.latency_p50_ms / 2)
    with Study.open(where, IDENTITY) as study:
        one, two, three = study.ask("a", "random", ARCHS[:3])
        study.record(one.number, VALUE, raw={"n": 1})
        study.record(two.number, Failure("oom", "killed"))
        study.invalidate([one.number, three.number], "the board was swapped")
        assert [trial.state for trial in study.trials()] == ["asked", "failed", "asked"]
        assert study.pending() == [three]
        assert study.stale("a") == [one.ended(VALUE)]
        assert (study.renewals(one.number), study.renewals(three.number)) == (1, 0)
        assert study.record(one.number, again, raw={"n": 2}).value == again
        assert study.record(one.number, VALUE).value == again
    with Study.read(where) as study:
        assert study.trials()[0].value == again
        assert study.raw(one.number) == {"n": 2}
        assert study.stale("a") == []
        assert study.voided("a") == study.voided() == [one.ended(VALUE)]
        assert study.voided("b") == []


def test_what_went_stale_twice_is_what_it_was_the_second_time(where: Where) -> None:
    again = replace(VALUE, latency_p50_ms=VALUE.latency_p50_ms / 2)
    with Study.open(where, IDENTITY) as study:
        (trial,) = study.ask("a", "random", ARCHS[:1])
        study.record(trial.number, VALUE)
        study.invalidate([trial.number], "throttled")
        study.record(trial.number, again)
        assert (study.stale("a"), study.voided("a")) == ([], [trial.ended(VALUE)])
        study.invalidate([trial.number], "cooled")
        assert study.stale("a") == study.voided("a") == [trial.ended(again)]
        study.record(trial.number, VALUE)
        assert (study.stale("a"), study.voided("a")) == ([], [trial.ended(again)])


def test_probes_count_until_the_device_drifts(where: Where) -> None:
    probe = Probe("reference", ARCHS[0].id, VALUE)
    with Study.open(where, IDENTITY, clock=lambda: 77) as study:
        study.probes.add("a", Probe("common", ARCHS[1].id, Failure("oom", "killed")))
        study.probes.mark_drift("a", "12 % slower")
        study.probes.add("a", probe)
        study.probes.add("b", probe)
    with Study.read(where) as study:
        assert study.probes.of("a") == [probe]
        assert study.probes.drifts("a") == [(77, "12 % slower")]
        assert study.probes.drifts("b") == []
        assert study.sessions() == []
