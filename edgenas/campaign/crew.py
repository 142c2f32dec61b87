"""The devices of one team at work: who has how much to do, who is gone, who has changed.

Keeps count and decides; submitting and recording is left to `edgenas.campaign.lane`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgenas.campaign.errands import AHEAD
from edgenas.campaign.measuring import RETRYABLE, SILENT, DeviceSetup
from edgenas.search.disturbance import (
    REMEMBERED,
    alone,
    common_disturbance,
    samples_of,
    slow_share,
)
from edgenas.search.equivalence import LOOKS, reference_state
from edgenas.search.study import Study
from edgenas.search.trial import Failure, Outcome

FAILED_LOOKS = 3  # in a row, after which a device's reference model is not measured any more


@dataclass
class Worker:
    """One device of a team.

    Attributes:
        setup: the device.
        open: jobs it has.
        since_reference: results since its reference model was measured.
        looking: its reference model is being measured.
        doubtful: how often in a row the reference took another time than it used to, so that it
            has to be looked at again.
        failed_looks: how often in a row the reference gave no figures.
        silent: it has stopped answering.
        changed: it is no longer the device that it was.
        slow: share of slow samples and of processors used by others, of its newest measurements.
    """

    setup: DeviceSetup
    open: int = 0
    since_reference: int = 0
    looking: bool = False
    doubtful: int = 0
    failed_looks: int = 0
    silent: bool = False
    changed: bool = False
    slow: deque[tuple[float, float | None]] = field(
        default_factory=lambda: deque(maxlen=REMEMBERED)
    )

    def undisturbed(self, outcome: Outcome, raw: Mapping[str, Any] | None) -> Outcome:
        """The figures of a new measurement without what other programs did to its newest ones."""
        samples = samples_of(raw)
        if not samples or raw is None:
            return outcome
        self.slow.append((slow_share([samples]), raw.get("busy_pct")))
        share = common_disturbance([s for s, _ in self.slow], [pct for _, pct in self.slow])
        return alone(outcome, samples, share)

    def heard(self, result: Outcome | Failure) -> None:
        """Note whether it answers: after a word about a network, one that was silent is back."""
        code = result.code if isinstance(result, Failure) else ""
        self.silent = code in SILENT or (self.silent and code in RETRYABLE)

    @property
    def at_work(self) -> bool:
        """Whether it takes work."""
        return not self.silent and not self.changed


class Crew:
    """The devices of one team.

    Args:
        study: the history.
        setups: the devices.
        reference_id: id of the reference model.
        every: results of a device between two measurements of its reference model; 0 measures
            none.
    """

    def __init__(
        self, study: Study, setups: Sequence[DeviceSetup], reference_id: str, every: int
    ) -> None:
        self.workers = {setup.device_id: Worker(setup) for setup in setups}
        self.every = every
        self._study, self._reference_id = study, reference_id

    @property
    def at_work(self) -> list[Worker]:
        """Those that take work, in their order."""
        return [worker for worker in self.workers.values() if worker.at_work]

    @property
    def silent(self) -> list[str]:
        """Ids of those that stopped answering."""
        return [name for name, worker in self.workers.items() if worker.silent]

    @property
    def left(self) -> list[str]:
        """Ids of those that take no more work: they are silent, or no longer equal."""
        return [name for name, worker in self.workers.items() if not worker.at_work]

    def idle(self) -> Worker | None:
        """The device that has least to do, if one may have more."""
        free = [worker for worker in self.at_work if worker.open < AHEAD]
        return min(free, key=lambda worker: worker.open, default=None)

    def wants_reference(self, worker: Worker, is_more_to_do: Callable[[], bool]) -> bool:
        """Whether its reference model is due.

        Args:
            worker: the device.
            is_more_to_do: whether networks are left to be measured. Where none are, only a doubt
                is worth another look, and that not for ever.
        """
        if not self.every or worker.looking or worker.failed_looks >= FAILED_LOOKS:
            return False
        if 0 < worker.doubtful < 2 * LOOKS:
            return True
        known = len(self._times(worker))
        is_due = known < LOOKS or worker.doubtful > 0 or worker.since_reference >= self.every
        return is_due and is_more_to_do()

    def look_failed(self, worker: Worker) -> bool:
        """Note that the reference model gave no figures; whether it is given up on this device."""
        worker.looking, worker.since_reference = False, 0
        worker.failed_looks += 1
        return worker.failed_looks >= FAILED_LOOKS

    def judge_reference(self, worker: Worker) -> str:
        """Look at a new time of the reference model; in words how far it moved, or nothing."""
        worker.looking, worker.since_reference, worker.failed_looks = False, 0, 0
        times = self._times(worker)
        baseline, later = times[:LOOKS], times[LOOKS:]
        state = reference_state(baseline, later)
        worker.doubtful = worker.doubtful + 1 if state == "look again" else 0
        if state != "moved":
            return ""
        usual = sorted(baseline)[len(baseline) // 2]
        return (
            f"its reference model takes {later[-1]:.3g} ms, {100 * (later[-1] / usual - 1):+.1f} % "
            f"of what it took"
        )

    def _times(self, worker: Worker) -> list[float]:
        """Median latencies of the reference model on it, in ms, since it last changed."""
        return [
            probe.result.latency_p50_ms
            for probe in self._study.probes.of(worker.setup.device_id)
            if probe.arch_id == self._reference_id and isinstance(probe.result, Outcome)
        ]
