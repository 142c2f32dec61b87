"""Scripts for device twins: figures that follow from the bytes, and answers in a given order.

The twin itself, with its real messages, is `tests.edgenas.fleet.device_twin`.
"""

import threading
from collections.abc import Callable, Sequence

from firmware_bridge.wire.messages import FailureCode, Leg, MeasureJob, Measurement
from firmware_bridge.wire.values import MIB
from tests.edgenas.fleet.device_twin import Answer, Script
from tests.edgenas.fleet.scripted import failed

SAMPLES = 100


def by_size(_job_id: str, _job: MeasureJob, model: bytes) -> Measurement:
    """A device on which every byte costs 20 ns and a byte of memory, and 1 MiB comes on top."""
    base_ns = 20 * len(model)
    samples = tuple(base_ns + 10 * index for index in range(SAMPLES))
    return Measurement(
        attempt=1,
        rev=1,
        verdict="ok",
        fingerprint_sha256="f" * 64,
        legs=(Leg(0, "C", samples, 0, None, None, None),),
        memory={"peak_delta_bytes": MIB + len(model), "method": "scripted"},
        golden_max_lsb=0,
        measuring_ms=7,
        runtime="twin 1.0",
    )


def busy(_job_id: str, _job: MeasureJob, _model: bytes) -> Measurement:
    """A board that never became quiet enough."""
    return Measurement(
        attempt=1,
        rev=1,
        verdict="busy",
        fingerprint_sha256="f" * 64,
        detail="97 % busy for 60 s",
    )


def failing(code: FailureCode) -> Script:
    """A device that fails every job with `code`."""
    return lambda job_id, job, model: failed(code)


class InTurn:
    """Plays its scripts one after the other, and the last one for ever."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts: Sequence[Script] = scripts
        self.played = 0

    def __call__(self, job_id: str, job: MeasureJob, model: bytes) -> Answer | None:
        script = self._scripts[min(self.played, len(self._scripts) - 1)]
        self.played += 1
        return script(job_id, job, model)


class WhenMeasuring:
    """Calls back from a thread of its own at the first job, which then waits to be let go."""

    def __init__(self, act: Callable[[Callable[[], object]], object]) -> None:
        self._act = act
        self._leave = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, job_id: str, job: MeasureJob, model: bytes) -> Answer | None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._act, args=(self._leave.set,))
            self._thread.start()
        assert self._leave.wait(30.0)
        return by_size(job_id, job, model)

    def join(self) -> None:
        """Wait until the call has ended."""
        assert self._thread is not None, "no job ever came"
        self._thread.join()
