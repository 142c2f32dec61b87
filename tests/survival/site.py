"""One broker, one real host and one real daemon process, and what must be true after any fault.

The daemon is started with faults in its environment, is killed and comes back; `Site.work` gives it
jobs and a release, and `Site.check_settled` holds what was promised: one outcome for everything,
nothing left over, the retained state right. Leaves the faults to the tests.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.host import FleetHost
from edgenas.fleet.jobs import JobOutcome, MeasureSpec
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.keys import ensure_keys, load_signing_key
from edgenas.fleet.releases import ReleaseSpec, build_release, sign_release
from edgenas.fleet.shelf import BlobShelf
from edgenas.fleet.timers import HostTimers
from firmware_bridge.bench.stub import STUB_INPUT, STUB_MODEL
from firmware_bridge.store.journal import Journal
from firmware_bridge.wire.messages import Golden
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.release import Role, Target
from firmware_bridge.wire.values import new_id
from tests.firmware_bridge.wire.brokers import START, BrokerProcess

ROOT = Path(__file__).resolve().parents[2]
FLEET = "survival"
WAIT_S = 60.0  # a safety net on a machine that may be busy, never a measured bound
LOOK_EVERY_S = 0.05
PINGS = 8
# Nothing is lost because somebody is away for long: the host waits longer than any test runs.
PATIENT = HostTimers(lost_after_s=3600.0, job_slack_s=3600.0, step_s=3600.0, outer_s=3600.0)


def until(so: Callable[[], bool], what: str, daemon: "Daemon | None" = None) -> None:
    """Wait until `so` is true; after the safety net, fail with `what` and the daemon's log."""
    deadline_s = time.monotonic() + WAIT_S
    while not so():
        told = "" if daemon is None else daemon.told()
        assert time.monotonic() < deadline_s, f"it did not come about: {what}\n{told}"
        time.sleep(LOOK_EVERY_S)


class Daemon:
    """`edgenas-device run` as a process, with a state directory that outlives it.

    Args:
        url: Broker.
        folder: Holds its log and, unless told otherwise, its state.
        device_id: Its id.
        more: Further arguments.
        program: What Python runs instead of the plain command line.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        device_id: str,
        more: Sequence[str] = (),
        state_dir: Path | None = None,
        program: Sequence[str] = ("-m", "firmware_bridge.cli"),
    ) -> None:
        self.device_id, self.log = device_id, folder / f"{device_id}.log"
        self.state_dir = state_dir or folder / device_id
        self._command = [sys.executable, *program, "run", "--broker", url, "--fleet", FLEET]
        self._command += ["--id", device_id, "--state-dir", str(self.state_dir)]
        self._command += ["--lock", str(folder / "measure.lock"), "--disk-reserve-mb", "0"]
        self._command += ["--probation-s", "0", *more]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        """Start it; `environment` comes on top of this process's own."""
        assert self.process is None
        ours = {"EDGENAS_RESEND_S": "1", "EDGENAS_SILENCE_S": "1", "PYTHONPATH": str(ROOT)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stderr=log, cwd=ROOT, env={**os.environ, **ours, **environment}
            )

    def wait_ended(self) -> int:
        """Wait until it has ended by itself; returns its status."""
        assert self.process is not None
        status = self.process.wait(WAIT_S)
        self.process = None
        return status

    def kill(self) -> None:
        """SIGKILL, as from the kernel."""
        if self.process is not None:
            self.process.kill()
            self.wait_ended()

    def stop(self) -> int:
        """Ask it to end; returns its status."""
        assert self.process is not None
        self.process.terminate()
        return self.wait_ended()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def told(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else "(no log)"


@dataclass
class Work:
    """What was asked of the daemon."""

    jobs: list[str] = field(default_factory=list)
    deployment: str | None = None


class Site:
    """Everything but the daemons."""

    def __init__(self, broker: str, folder: Path, cleanup: ExitStack) -> None:
        self.folder, self._cleanup, self._kind = folder, cleanup, broker
        self.broker: BrokerProcess = START[broker](folder, None, 0)
        cleanup.callback(lambda: self.broker.stop())
        self.keys = ensure_keys(folder / "keys")
        self.shelf = BlobShelf(folder / "shelf")
        self._journal = FleetJournal(folder / "fleet.sqlite")
        cleanup.callback(self._journal.close)
        link = MqttLink(self.url, f"host-{new_id()[:8]}")
        self.host = FleetHost(link, FLEET, self.shelf, self._journal, timers=PATIENT)
        cleanup.enter_context(self.host)
        self.outcomes: dict[str, JobOutcome] = {}

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.broker.port}"

    def stop_broker(self) -> None:
        self.broker.stop()

    def start_broker(self) -> None:
        """Another broker at the same address; it knows nothing of what the first one kept."""
        self.broker = START[self._kind](self.folder, None, self.broker.port)

    def daemon(self, *more: str, url: str | None = None, **options: object) -> Daemon:
        """A daemon of its own id that is not started yet; it is ended with the site."""
        keys = [word for key in self.keys.verify for word in ("--verify-key", str(key))]
        made = Daemon(
            url or self.url,
            self.folder,
            str(options.pop("device_id", f"dev-{new_id()[:8]}")),
            [*keys, *more],
            **options,  # type: ignore[arg-type]
        )
        self._cleanup.callback(made.kill)
        return made

    def wait_online(self, daemon: Daemon) -> None:
        until(lambda: self.online(daemon), "online", daemon)

    def view(self, daemon: Daemon) -> DeviceView | None:
        """What the host knows of a daemon, None before any word."""
        known = {view.device_id: view for view in self.host.devices()}
        return known.get(daemon.device_id)

    def online(self, daemon: Daemon) -> bool:
        view = self.view(daemon)
        return view is not None and view.online

    def status(self, daemon: Daemon) -> str | None:
        """What its worker does, as far as the host knows."""
        view = self.view(daemon)
        return None if view is None or view.state is None else view.state.status

    def strays(self) -> list[tuple[str, str, bytes]]:
        """Answers to what the host had never asked."""
        return self._journal.devices.strays()

    def stub_number(self, number: int) -> bytes:
        """A model that works, in bytes of its own."""
        return STUB_MODEL + bytes([number + 1])

    def submit(self, daemon: Daemon, model: bytes = STUB_MODEL, **changes: object) -> str:
        golden = Golden(self.shelf.add_bytes(STUB_INPUT), 1, STUB_INPUT.hex())
        fields = {"label": "stub", "model": self.shelf.add_bytes(model), "level": "quick"}
        golden_of = {"golden": golden} if model.startswith(STUB_MODEL) else {}
        spec = MeasureSpec(**{**fields, **golden_of, **changes})  # type: ignore[arg-type]
        return self.host.submit(daemon.device_id, spec)

    def offer(self, daemon: Daemon, model: bytes = STUB_MODEL) -> str:
        contents: dict[Role, bytes] = {
            "model": model,
            "probe_input": STUB_INPUT,
            "probe_output": STUB_INPUT,
        }
        files = {role: self.shelf.add_bytes(content) for role, content in contents.items()}
        spec = ReleaseSpec(fleet=FLEET, target=Target("generic"), files=files)
        counter = self.host.next_release_counter()
        manifest = build_release(spec, counter=counter, now=datetime.now(timezone.utc))
        envelope = sign_release(manifest, load_signing_key(self.keys.signing))
        return self.host.offer(daemon.device_id, "main", envelope)

    def work(self, daemon: Daemon) -> Work:
        """A job and a release."""
        return Work([self.submit(daemon)], self.offer(daemon))

    def outcome(self, job_id: str, daemon: Daemon) -> JobOutcome:
        """The one outcome of a job; fails on a second one, of this job or another."""
        deadline_s = time.monotonic() + WAIT_S
        while job_id not in self.outcomes:
            came = self.host.next_outcome(max(0.0, deadline_s - time.monotonic()))
            assert came is not None, f"no outcome of {job_id}\n{daemon.told()}"
            assert came.job_id not in self.outcomes, f"a second outcome: {came}"
            self.outcomes[came.job_id] = came
        return self.outcomes[job_id]

    def answered(self, work: Work) -> bool:
        """Whether the host has an answer to everything, good or bad."""
        jobs = all(self.host.outcome(job_id) is not None for job_id in work.jobs)
        return jobs and (
            work.deployment is None or self.host.wait_deployment(work.deployment, 0) is not None
        )

    def check_settled(self, daemon: Daemon, work: Work) -> None:
        """Wait until all of `work` is answered, end the daemon, and look at what is left."""
        for job_id in work.jobs:
            done = self.outcome(job_id, daemon)
            assert done.measurement is not None, (done.failure, daemon.told())
            assert done.measurement.verdict in ("ok", "noisy"), done
        if work.deployment is not None:
            ended = self.host.wait_deployment(work.deployment, WAIT_S)
            assert ended is not None, daemon.told()
            assert ended.succeeded, (ended, daemon.told())
        self.check_at_rest(daemon, work)

    def check_at_rest(self, daemon: Daemon, work: Work) -> None:
        """Every answer is acknowledged, once; the last word of the daemon is a clean farewell."""
        until(lambda: self._idle(daemon), "idle and without trouble", daemon)
        for _ in range(PINGS):  # it answers again; a refusal of the disk may last a little longer
            ping = self.outcome(self.submit(daemon), daemon)
            if ping.failure is None or ping.failure.code != "NO_SPACE":
                break
        assert ping.measurement is not None, ping
        until(lambda: self._acknowledged(daemon), "all acknowledged", daemon)
        assert daemon.stop() == 0, daemon.told()
        until(lambda: not self.online(daemon), "the farewell")
        assert self.host.next_outcome(0) is None
        for job_id in work.jobs:
            assert self.host.late_answers(job_id) == []
        if work.deployment is not None:
            current = daemon.state_dir / "slots" / "main" / "current" / "model.tflite"
            assert current.read_bytes() == STUB_MODEL
        leftovers = [path.name for path in daemon.state_dir.rglob("*.tmp")]
        assert leftovers == []

    def _idle(self, daemon: Daemon) -> bool:
        view = self.view(daemon)
        state = None if view is None else view.state
        if state is None or state.status != "idle":
            return False
        return state.error is None or state.error.startswith("dropped ")

    def _acknowledged(self, daemon: Daemon) -> bool:
        with closing(Journal(daemon.state_dir / "journal.sqlite")) as journal:
            return journal.outbox.pending() == [] and journal.jobs.open_jobs() == []


def forget(daemon: Daemon) -> None:
    """Remove what a daemon has kept, so that another case finds room."""
    shutil.rmtree(daemon.state_dir, ignore_errors=True)


def python_that(folder: Path, body: str) -> Mapping[str, str]:
    """Environment whose measuring children run `body` (Python) before they do their work."""
    script = folder / f"child-{new_id()[:8]}.py"
    script.write_text(f"import os, runpy, sys\n{body}\nsys.argv = sys.argv[2:]\n{_RUN}")
    return {"EDGENAS_WORKER_ARGV": f"{sys.executable} {script}"}


_RUN = "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
