"""Deadlines of jobs, transfers and deployments against a clock that the test turns by hand."""

from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edgenas.fleet.clock import SystemClock
from edgenas.fleet.deploy_desk import DeployDesk
from edgenas.fleet.deployments import Progress, excused, gives_up, step
from edgenas.fleet.job_desk import JobDesk
from edgenas.fleet.jobs import MeasureSpec, build_job, patience_s
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.post import Post
from edgenas.fleet.releases import ReleaseSpec, build_release, sign_release
from edgenas.fleet.roster import Roster
from edgenas.fleet.shelf import BlobShelf
from edgenas.fleet.timers import HostTimers
from firmware_bridge.bench.plan import STARTUP_MS
from firmware_bridge.bench.preflight import RETRY_PAUSES_S
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.messages import Event, Facts, MeasureJob, State, Wish
from firmware_bridge.wire.release import Role, Target
from firmware_bridge.wire.signing import SigningKey
from firmware_bridge.wire.values import BlobRef
from tests.databases import place
from tests.edgenas.fleet.conftest import PATIENT, Lab

TIMERS = HostTimers(lost_after_s=10, job_slack_s=5, step_s=300, outer_s=1800, offer_ttl_s=1000)
DEVICE, JOB = "dev-1", "a" * 32


class HandClock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_ms(self) -> int:
        return round(self.now_s * 1000) + 1_700_000_000_000


class RecordingPost(Post):
    """Remembers what was sent instead of publishing it."""

    def __init__(self) -> None:
        self.jobs: list[MeasureJob] = []
        self.resyncs = 0

    def job(self, device_id: str, job_id: str, job: MeasureJob) -> None:
        self.jobs.append(job)

    def resync(self, device_id: str) -> None:
        self.resyncs += 1

    def wish(self, device_id: str, slot: str, wish: Wish) -> None:
        pass


class Desk:
    """A job desk with everything around it, and one job of an online device on it."""

    def __init__(self, directory: Path) -> None:
        self.clock, self.post = HandClock(), RecordingPost()
        self.journal = FleetJournal(place(directory / "fleet.sqlite"))
        self.roster = Roster(self.journal, self.clock, TIMERS)
        self.jobs = JobDesk(self.journal, self.post, self.roster, self.clock, TIMERS)
        shelf = BlobShelf(directory / "shelf")
        self.model = shelf.add_bytes(b"model")
        self.request = build_job(
            MeasureSpec(label="m", model=self.model, level="quick", ttl_ms=60_000), shelf
        )
        self.say(online=True)
        self.jobs.submit(DEVICE, JOB, self.request)

    def say(self, *, online: bool) -> None:
        state = State(online=online, sess=1, install_id="i", reason=None if online else "shutdown")
        self.roster.hear_state(DEVICE, state, "b", live=True)

    def passes(self, seconds: float) -> bool:
        self.clock.now_s += seconds
        self.roster.tick()
        return self.jobs.tick()


def test_a_job_on_an_online_but_silent_device_is_given_up_at_its_deadline(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    limit_s = patience_s(desk.request, TIMERS.job_slack_s)
    assert limit_s > 65  # its own lifetime and the slack at least
    assert not desk.passes(limit_s - 1)
    desk.jobs.hear_event(DEVICE, JOB, Event(attempt=1, rev=1, state="PULLING"))
    assert not desk.passes(limit_s - 1)  # progress starts the time afresh
    assert desk.jobs.next_due_s() == desk.clock.now_s + 1
    assert desk.passes(1)
    failure = desk.jobs.ready[0].failure
    assert failure is not None
    assert failure.code == "DEVICE_LOST"
    assert "silent" in failure.detail
    desk.journal.close()


def test_a_lost_job_may_still_pull_until_its_lifetime_is_over(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.say(online=False)
    assert not desk.passes(9)
    assert desk.passes(1)
    assert desk.jobs.blob(DEVICE, desk.model.sha256) == desk.model
    assert desk.jobs.blob("dev-2", desk.model.sha256) is None
    desk.passes(patience_s(desk.request, 0))
    assert desk.jobs.blob(DEVICE, desk.model.sha256) is None
    desk.journal.close()


def test_time_offline_before_the_job_does_not_count(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.say(online=False)
    assert desk.passes(100)
    desk.jobs.submit(DEVICE, "b" * 32, desk.request)
    assert not desk.passes(9)
    assert desk.passes(1)
    desk.journal.close()


def test_reports_out_of_order_are_ignored_and_a_gap_asks_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for attempt, rev, resyncs in ((1, 1, 0), (1, 4, 1), (1, 3, 1), (1, 4, 1), (1, 5, 1), (2, 1, 1)):
        event = Event(attempt=attempt, rev=rev, state="MEASURING")
        desk.jobs.hear_event(DEVICE, JOB, event)
        assert desk.post.resyncs == resyncs
    desk.jobs.hear_event("dev-2", JOB, Event(attempt=9, rev=9, state="MEASURING"))
    assert desk.post.resyncs == 1
    desk.journal.close()


def test_a_job_is_sent_again_with_its_whole_lifetime(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.passes(50)
    desk.jobs.born(DEVICE, new_install=False)
    first, second = (job.expires_wall_ms for job in desk.post.jobs)
    assert first is not None
    assert second is not None
    assert second - first == 50_000
    desk.journal.close()


def test_an_accepted_deployment_has_a_step_and_an_outer_timer() -> None:
    offered = Progress(100.0)
    assert gives_up(offered, TIMERS) == (1100.0, "EXPIRED")
    assert gives_up(step(offered, "OFFERED", 900.0), TIMERS) == (1100.0, "EXPIRED")
    progress = step(offered, "ACCEPTED", 200.0)
    assert gives_up(progress, TIMERS) == (500.0, "TIMED_OUT")
    for second in range(300, 2000, 100):
        progress = step(progress, "DOWNLOADING", float(second))
    assert gives_up(progress, TIMERS) == (2000.0, "TIMED_OUT")


def test_time_in_staged_does_not_count() -> None:
    staged = step(step(Progress(0.0), "ACCEPTED", 10.0), "STAGED", 20.0)
    assert gives_up(staged, TIMERS)[0] is None
    rejected = step(staged, "CANCEL_REJECTED", 5000.0)
    assert rejected.phase == "STAGED"
    activating = step(rejected, "ACTIVATING", 10_020.0)
    assert gives_up(activating, TIMERS) == (10_320.0, "TIMED_OUT")
    for second in range(10_100, 11_900, 100):
        activating = step(activating, "PROBATION", float(second))
    assert gives_up(activating, TIMERS) == (11_810.0, "TIMED_OUT")


def test_time_without_the_bytes_does_not_count() -> None:
    offered = Progress(100.0)
    assert excused(offered, 900.0) == offered  # nobody waits yet
    pulling = step(step(offered, "ACCEPTED", 200.0), "DOWNLOADING", 210.0)
    waiting = excused(excused(pulling, 400.0), 5_210.0)
    assert gives_up(waiting, TIMERS) == (5_510.0, "TIMED_OUT")  # the step timer, from then on
    later = step(waiting, "VERIFYING", 6_900.0)
    assert gives_up(later, TIMERS) == (7_000.0, "TIMED_OUT")  # 1,800 s in all without the 5,000


def test_a_changed_fingerprint_is_said_and_kept(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    roster = Roster(lab.journal, SystemClock(), PATIENT)
    before = Facts(
        profile="pi4", fingerprint={"runtime": None, "governor": "ondemand"}, ram_bytes=1,
        disk_free_bytes=1, measure=True, can_verify=True,
    )  # fmt: skip
    learned = replace(before, fingerprint={"runtime": "litert 2.1", "governor": "ondemand"})
    upgraded = replace(before, fingerprint={"runtime": "litert 2.2", "governor": "ondemand"})
    for facts in (before, learned, replace(learned, disk_free_bytes=2)):
        roster.hear_facts("dev-1", facts)
    assert caplog.text == ""
    roster.hear_facts("dev-1", upgraded)
    assert "dev-1: runtime changed" in caplog.text
    assert Roster(lab.journal, SystemClock(), PATIENT).view("dev-1").facts == upgraded


@pytest.mark.parametrize("level", LEVELS)
def test_patience_outlasts_the_longest_silence_of_an_honest_device(
    level: str, tmp_path: Path
) -> None:
    shelf = BlobShelf(tmp_path)
    job = build_job(MeasureSpec(label="m", model=shelf.add_bytes(b"m"), level=level), shelf)
    tries = len(RETRY_PAUSES_S) + 1
    quiet_s = sum(RETRY_PAUSES_S) + tries * job.quiet.window_ms / 1000
    cooling_s = job.quiet.wait_ms / 1000
    children_s = 2 * (job.cap_ms + STARTUP_MS) / 1000
    # the lock is waited for no longer than the lifetime; without a window nothing waits for quiet
    silence_s = job.ttl_ms / 1000 + cooling_s + children_s
    silence_s += quiet_s if job.quiet.window_ms else 0.0
    assert patience_s(job, HostTimers().job_slack_s) > silence_s


def test_deployments_are_given_up_in_the_order_in_which_they_are_due(tmp_path: Path) -> None:
    """An accepted one is due long before one that was offered earlier."""
    clock, post, key = HandClock(), RecordingPost(), SigningKey.generate()
    files: dict[Role, BlobRef] = {"model": BlobShelf(tmp_path / "shelf").add_bytes(b"model")}
    spec = ReleaseSpec(fleet="lab", target=Target("twin"), files=files)
    release = sign_release(build_release(spec, counter=2, now=datetime.now(timezone.utc)), key)
    with closing(FleetJournal(place(tmp_path / "fleet.sqlite"))) as journal:
        desk = DeployDesk(journal, post, Roster(journal, clock, TIMERS), clock, TIMERS)
        assert desk.next_due_s() is None
        for device, deployment in (("dev-1", "a" * 32), ("dev-2", "b" * 32)):
            desk.offer((device, "main"), deployment, release)
        assert desk.next_due_s() == clock.now_s + TIMERS.offer_ttl_s
        desk.hear_event("dev-2", "b" * 32, Event(attempt=1, rev=1, state="ACCEPTED"))
        assert desk.next_due_s() == clock.now_s + TIMERS.step_s
        clock.now_s += TIMERS.step_s - 1
        assert not desk.tick()
        desk.hear_event("dev-2", "b" * 32, Event(attempt=1, rev=2, state="VERIFYING"))
        clock.now_s += 2
        assert not desk.tick()  # it was looked at too early, which costs nothing else
        clock.now_s += TIMERS.step_s
        assert desk.tick()
        outcome = desk.outcome("b" * 32)
        assert outcome is not None
        assert (outcome.outcome, outcome.device_id) == ("TIMED_OUT", "dev-2")
        assert desk.phase("a" * 32) == "OFFERED"
        clock.now_s += TIMERS.offer_ttl_s
        assert desk.tick()
        assert desk.next_due_s() is None
