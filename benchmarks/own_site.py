"""A mosquitto with TLS as the commands set it up, and an invitation that boards can answer.

`edgenas broker init`, `edgenas broker run` and `edgenas fleet invite` are run as a user runs them,
on loopback ports. Leaves brokers without TLS to `own_broker`, and who joins to `simulated_fleet`.
"""

from __future__ import annotations

import getpass
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.ports import free_port, listens
from benchmarks.record import ROOT
from benchmarks.rollout_runs import Cost, RunFolder, cost_so_far

START_S, END_S = 60.0, 60.0


class OwnSite:
    """One broker with an authority of its own for as long as the object lives; a context manager.

    Attributes:
        tls: The folder that `init` made.
        url: Where the broker is.
    """

    def __init__(self, folder: Path) -> None:
        """Make the authority, the certificates and the configuration.

        Args:
            folder: Theirs gets a folder in it, and so does the broker's log.
        """
        self.tls = folder / "site"
        self._log = folder / "mosquitto.log"
        self._port = free_port()
        self.url = f"mqtts://127.0.0.1:{self._port}"
        place = ("--host", "127.0.0.1", "--port", str(self._port), "--bind", "127.0.0.1")
        words = ("broker", "init", "--tls", str(self.tls), *place, "--user", getpass.getuser())
        subprocess.run(_command(*words), check=True, capture_output=True, env=_environment())
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process of mosquitto.

        Raises:
            RuntimeError: It does not run.
        """
        if self._process is None:
            raise RuntimeError("expected a broker that runs; start it first")
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii").split()
        if len(children) != 1:
            raise RuntimeError(f"expected one mosquitto below process {parent}, got {children}")
        return int(children[0])

    @contextmanager
    def invitation(self, folder: RunFolder, uses: int) -> Iterator[Invitation]:
        """`edgenas fleet invite` for so many boards, until the end of the block."""
        words = ("fleet", "invite", "--tls", str(self.tls), "--run", str(folder.folder))
        more = ("--fleet", folder.fleet, "--uses", str(uses), "--listen", "127.0.0.1:0")
        with subprocess.Popen(
            _command(*words, *more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_environment(),
        ) as process:
            assert process.stdout is not None
            said = ""
            while (found := re.search(r"edgenas1-\S+", said)) is None:
                line = process.stdout.readline()
                if not line:
                    raise RuntimeError(f"expected a token, the command ended: {said}")
                said += line
            drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
            try:
                yield Invitation(found[0], process.pid)
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(END_S)
                drain.wait(END_S)

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            command = _command("broker", "run", str(self.tls))
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=_environment())
        deadline_s = time.monotonic() + START_S
        while not listens(self._port):
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"mosquitto did not start: {self._log.read_text()[-1000:]}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(END_S)
            self._process = None


@dataclass(frozen=True)
class Invitation:
    """An enrolment server that runs.

    Attributes:
        token: What boards need.
        pid: Its process.
    """

    token: str
    pid: int

    def cost(self) -> Cost:
        """What it has taken until now."""
        return cost_so_far(self.pid)


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "edgenas", *words]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
