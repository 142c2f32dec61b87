"""What the workflows run on: the commands as child processes, a broker, real daemons.

Every site has a measuring lock of its own, so that nothing on this machine waits for a test.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

from edgenas.broker import BrokerThread
from edgenas.campaign.rundir import RunDir
from edgenas.fleet.host import FleetHost
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.keys import ensure_keys
from edgenas.fleet.local import LocalDevice, LocalDeviceSpec, LocalFleet
from edgenas.fleet.shelf import BlobShelf
from edgenas.fleet.timers import HostTimers
from edgenas.search.errors import StudyError
from edgenas.search.study import Study
from edgenas.search.trial import Trial
from firmware_bridge.wire.mqtt import MqttLink

ROOT = Path(__file__).resolve().parents[2]
FLEET = "lab"
DEVICES = ("dev-a", "dev-b")
WAIT_S = 100.0  # a safety net: children import torch and a runtime on a machine that may be busy
LOOK_EVERY_S = 0.02


class Commands:
    """`edgenas` as a user calls it, each call a process of its own.

    Args:
        folder: the directory that the commands are called in.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / "measure.lock"

    def start(self, *words: object) -> "subprocess.Popen[str]":
        """Begin a command."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "EDGENAS_MEASURE_LOCK": str(self.lock),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.Popen(
            [sys.executable, "-m", "edgenas.cli.main", *map(str, words)],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: object, code: int = 0) -> str:
        """Run a command to its end; what it printed, on stderr if it should fail."""
        with self.start(*words) as child:
            try:
                out, err = child.communicate(timeout=WAIT_S)
            finally:
                child.kill()
        assert child.returncode == code, f"{words} ended with {child.returncode}:\n{out}\n{err}"
        assert "Traceback" not in err, err
        return out if code == 0 else err


class Site:
    """A broker and daemons that trust the keys of one run folder."""

    def __init__(self, run: RunDir, url: str, lock: Path, cleanup: ExitStack) -> None:
        self.run, self.url, self.cleanup = run, url, cleanup
        keys = ensure_keys(run.keys)
        self.folder = run.path.parent
        specs = [
            LocalDeviceSpec(
                device_id=device_id,
                broker_url=url,
                fleet=FLEET,
                state_dir=self.folder / device_id,
                log_path=self.folder / f"{device_id}.log",
                verify_keys=keys.verify,
                lock_path=lock,
            )
            for device_id in DEVICES
        ]
        self.daemons = cleanup.enter_context(LocalFleet(specs))

    def daemon(self, device_id: str) -> LocalDevice:
        return self.daemons.devices[DEVICES.index(device_id)]

    def host(self, timers: HostTimers | None = None) -> FleetHost:
        """A host on the run folder's journal, with all daemons online."""
        journal = FleetJournal(self.run.fleet)
        self.cleanup.callback(journal.close)
        link = MqttLink(self.url, f"host-{FLEET}")
        shelf = BlobShelf(self.run.shelf)
        host = FleetHost(link, FLEET, shelf, journal, timers=timers or HostTimers())
        self.cleanup.enter_context(host)
        self.daemons.wait_online(host, WAIT_S)
        return host

    def model_digest(self, device_id: str) -> str | None:
        """Digest of the model that a device runs."""
        current = self.folder / device_id / "slots" / "main" / "current"
        found = next(iter(current.glob("model.*")), None)
        return sha256(found.read_bytes()).hexdigest() if found else None


@contextmanager
def site_of(run: RunDir, lock: Path) -> Iterator[Site]:
    """A site with the embedded broker in this process."""
    with BrokerThread() as broker, ExitStack() as cleanup:
        yield Site(run, broker.url, lock, cleanup)


def until(so: Callable[[], bool], going_on: Callable[[], object] = lambda: None) -> None:
    """Wait for something that must come about; `going_on` fails if it no longer can."""
    deadline_s = time.monotonic() + WAIT_S
    while not so():
        going_on()
        assert time.monotonic() < deadline_s, "it did not come about"
        time.sleep(LOOK_EVERY_S)


def ended_trials(run: RunDir) -> Sequence[Trial]:
    """The trials with a result, also while a search writes them."""
    try:
        with Study.read(run.study) as study:
            return [trial for trial in study.trials() if trial.state != "asked"]
    except StudyError:
        return []  # it has not begun
