"""By which a change is seen: when devices are asked for their reference model, and when no more."""

from pathlib import Path

import pytest

from edgenas.campaign.crew import FAILED_LOOKS, Crew
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.progress import Silent
from edgenas.campaign.searching import SearchPlan, search
from edgenas.campaign.teams import reference_arch
from edgenas.campaign.workbench import Workbench
from edgenas.search.equivalence import LOOKS
from edgenas.search.probes import Probe
from edgenas.search.study import Study
from firmware_bridge.wire.messages import MeasureJob, Measurement
from tests.edgenas.campaign.conftest import Measuring
from tests.edgenas.campaign.runs import Listener
from tests.edgenas.campaign.scripted_devices import by_size
from tests.edgenas.fleet.conftest import Lab
from tests.edgenas.search.analytic import DIGITS, outcome
from tests.edgenas.search.study_cases import IDENTITY

ONE = [DeviceSetup("dev-1")]


class TooSmall:
    """A board whose memory is too small for one network, and how often that was tried."""

    def __init__(self, model: bytes) -> None:
        self._model = model
        self.tries = 0

    def __call__(self, job_id: str, job: MeasureJob, model: bytes) -> Measurement:
        if model != self._model:
            return by_size(job_id, job, model)
        self.tries += 1
        return Measurement(
            attempt=1,
            rev=1,
            verdict="oom",
            fingerprint_sha256="f" * 64,
            detail="killed above its cap",
        )


def test_a_reference_that_cannot_be_measured_is_given_up(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    space, listener = bench.checkpoint.space, Listener()
    path = bench.scorer.candidate(reference_arch(space)).exported.path
    board = TooSmall(path.read_bytes())
    lab.twin(measure=board)
    plan = SearchPlan({"evolution": 5}, reference_every=12)
    search(measuring(lab.host()), bench.study, space, ONE, plan, listener)
    assert len(bench.study.trials()) == 5
    assert all(trial.state != "asked" for trial in bench.study.trials())
    assert board.tries == FAILED_LOOKS
    (note,) = [note for note in listener.notes if "changes of dev-1 are not seen" in note]
    assert "oom: killed above its cap" in note


def test_a_search_that_has_all_its_trials_asks_for_no_reference(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    twin, space = lab.twin(measure=by_size), bench.checkpoint.space
    search(measuring(lab.host()), bench.study, space, ONE, SearchPlan({"random": 2}), Silent())
    assert len(twin.received_jobs) == 2
    plan = SearchPlan({"random": 2}, reference_every=1)
    search(measuring(lab.current), bench.study, space, ONE, plan, Silent())
    assert len(twin.received_jobs) == 2


@pytest.mark.parametrize("is_more", [True, False])
def test_a_doubt_is_looked_into_but_not_for_ever_where_nothing_else_is_left(
    tmp_path: Path, is_more: bool
) -> None:
    with Study.open(tmp_path / "study.sqlite", IDENTITY) as study:
        arch = reference_arch(DIGITS)
        crew = Crew(study, ONE, arch.id, every=12)
        worker = crew.workers["dev-1"]

        def look(slower: float) -> bool:
            probe = Probe("reference", arch.id, outcome(DIGITS, arch, slower=slower))
            study.probes.add("dev-1", probe)
            assert crew.judge_reference(worker) == ""
            return crew.wants_reference(worker, lambda: is_more)

        assert [look(1.0) for _ in range(LOOKS)] == [is_more] * (LOOKS - 1) + [False]
        wanted = [look(1.2 if number % 2 else 0.8) for number in range(3 * LOOKS)]
        assert all(wanted[: 2 * LOOKS - 1])
        assert set(wanted[2 * LOOKS - 1 :]) == {is_more}
        assert not look(1.0)
