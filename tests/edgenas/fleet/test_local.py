"""Local daemons as processes: early deaths explained, stubborn ones killed, none outlives us."""

import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edgenas.fleet.errors import LocalDeviceError
from edgenas.fleet.local import LocalDevice, LocalDeviceSpec, LocalFleet
from firmware_bridge.wire.errors import InvalidValueError
from tests.edgenas.fleet.conftest import WAIT_S, eventually

SLEEP = "import time; print('ready', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


def spec_of(directory: Path, program: str, device_id: str = "dev-1") -> LocalDeviceSpec:
    """A process that runs `program` in place of the daemon."""
    return LocalDeviceSpec(
        device_id=device_id,
        broker_url="mqtt://user:secret@127.0.0.1:1",
        fleet="lab",
        state_dir=directory / device_id,
        log_path=directory / "logs" / f"{device_id}.log",
        python=(sys.executable, "-c", program),
    )


def ended(pid: int) -> bool:
    """Whether a process that need not be our child ends in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(WAIT_S * 1000))
    finally:
        os.close(descriptor)


def test_the_command_line_says_everything_but_the_secret(tmp_path: Path) -> None:
    spec = LocalDeviceSpec(
        device_id="dev-1",
        broker_url="mqtt://user:secret@broker:1883",
        fleet="lab",
        state_dir=tmp_path,
        log_path=tmp_path / "log",
        verify_keys=(tmp_path / "a.pub", tmp_path / "b.pub"),
        lock_path=tmp_path / "lock",
        measure=False,
    )
    words = " ".join(spec.argv())
    assert "secret" not in words
    for part in ("-m firmware_bridge.cli run", "--id dev-1", "--no-measure", "--lock", "b.pub"):
        assert part in words
    with pytest.raises(InvalidValueError):
        spec_of(tmp_path, SLEEP, "Not An Id")


def test_the_daemon_gets_the_broker_by_environment(tmp_path: Path) -> None:
    show = f"import os; print(os.environ['EDGENAS_BROKER']); {SLEEP}"
    with LocalDevice(spec_of(tmp_path, show)) as device:
        eventually(lambda: "ready" in device.log_tail())
        assert "mqtt://user:secret@127.0.0.1:1" in device.log_tail()
        device.check()


def test_an_early_death_is_explained_by_the_end_of_the_log(tmp_path: Path) -> None:
    program = "import sys; print('x' * 9000); print('no such broker'); sys.exit(3)"
    with LocalDevice(spec_of(tmp_path, program)) as device:
        assert ended(device.pid)
        with pytest.raises(LocalDeviceError, match="status 3") as caught:
            device.check()
        assert str(caught.value).endswith("no such broker")
        assert len(str(caught.value)) < 5000


def test_an_interpreter_that_is_missing_is_named(tmp_path: Path) -> None:
    spec = LocalDeviceSpec(
        device_id="dev-1",
        broker_url="mqtt://127.0.0.1:1",
        fleet="lab",
        state_dir=tmp_path,
        log_path=tmp_path / "log",
        python=("/no/such/python",),
    )
    device = LocalDevice(spec)
    with pytest.raises(LocalDeviceError, match="/no/such/python"):
        device.start()
    with pytest.raises(LocalDeviceError, match="start it first"):
        _ = device.pid


def test_a_stubborn_daemon_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    child = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); {STUBBORN}"
    )
    device = LocalDevice(spec_of(tmp_path, child))
    device.start()
    eventually(lambda: device.log_tail().count("ready") == 2)
    group = [int(pid) for pid in _group_of(device.pid)]
    assert len(group) == 2
    device.stop(timeout_s=0.05)
    assert all(ended(pid) for pid in group)
    device.stop()


def test_several_start_and_stop_together(tmp_path: Path) -> None:
    specs = [spec_of(tmp_path, SLEEP, f"dev-{number}") for number in (1, 2)]
    with LocalFleet(specs) as fleet:
        pids = [device.pid for device in fleet.devices]
        with pytest.raises(LocalDeviceError, match="not to run yet"):
            fleet.devices[0].start()
    assert all(ended(pid) for pid in pids)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_no_daemon_outlives_the_process_that_started_it(
    tmp_path: Path, end: signal.Signals
) -> None:
    # Started from a thread that ends at once: the leash holds the process, not the thread.
    parent = textwrap.dedent(
        f"""
        import threading, time
        from pathlib import Path
        from edgenas.fleet.local import LocalDevice
        from tests.edgenas.fleet.test_local import SLEEP, spec_of
        device = LocalDevice(spec_of(Path({str(tmp_path)!r}), SLEEP))
        starter = threading.Thread(target=device.start)
        starter.start()
        starter.join()
        print(device.pid, flush=True)
        time.sleep(600)
        """
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=root, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        log = tmp_path / "logs" / "dev-1.log"
        eventually(lambda: "ready" in log.read_text())
        process.send_signal(end)
    assert ended(pid)


def _group_of(leader: int) -> list[str]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "-g", str(leader)], capture_output=True, text=True, check=True
    )
    return listed.stdout.split()
