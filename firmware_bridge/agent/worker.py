"""One thread that does the one long thing at a time: pulling, measuring, deploying.

Leaves what to do, and what an outcome means, to the desks of the main loop; itself waits on child
processes and chunks so that the main loop never does.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from firmware_bridge.wire.heartbeat import Heartbeat

_log = logging.getLogger(__name__)


class Cancelled(Exception):
    """The running task was told to stop; a signal between threads, not an error."""


@dataclass(frozen=True)
class Finished:
    """A task has ended.

    Attributes:
        name: Name it was started under.
        value: What it returned, or None if it raised.
        error: What it raised, or None.
    """

    name: str
    value: object
    error: BaseException | None


class Worker:
    """Runs at most one task; reports each end through `report` from its own thread.

    The heartbeat beats whenever a task asks whether it should stop, and rests between tasks.
    """

    def __init__(
        self, report: Callable[[Finished], None], heartbeat: Heartbeat | None = None
    ) -> None:
        self._report = report
        self.heartbeat = heartbeat or Heartbeat()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.name: str | None = None

    @property
    def busy(self) -> bool:
        """Whether a task was started whose end was not yet collected."""
        return self.name is not None

    def start(self, name: str, task: Callable[[], object]) -> None:
        """Run `task` under `name`; only allowed while not busy."""
        if self.busy:
            raise RuntimeError(f"expected an idle worker for {name}, got one busy with {self.name}")
        self.name = name
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(name, task), name="worker")
        self._thread.start()

    def cancel(self) -> None:
        """Ask the running task to stop soon."""
        self._stop.set()

    def cancelled(self) -> bool:
        """Whether the running task should stop; called by the task, again and again."""
        self.heartbeat.beat()
        return self._stop.is_set()

    def check(self) -> None:
        """Leave the running task if it should stop.

        Raises:
            Cancelled: It should.
        """
        if self.cancelled():
            raise Cancelled

    def collect(self) -> None:
        """Take note that the end of the task was read from the inbox."""
        self.name = None
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self, timeout_s: float) -> bool:
        """Cancel and wait; False if the task is still running after `timeout_s` seconds."""
        self.cancel()
        if self._thread is not None:
            self._thread.join(timeout_s)
            return not self._thread.is_alive()
        return True

    def _run(self, name: str, task: Callable[[], object]) -> None:
        self.heartbeat.beat()
        try:
            finished = Finished(name, task(), None)
        except Cancelled as error:
            finished = Finished(name, None, error)
        except Exception as error:
            _log.exception("task %s failed", name)
            finished = Finished(name, None, error)
        self.heartbeat.rest()
        self._report(finished)
