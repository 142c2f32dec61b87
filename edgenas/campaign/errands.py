"""Measurements of known networks on several devices at once: each device works off its own list.

For what is not a search: common models, budgets' extremes, finalists. What the figures mean is left
to the callers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from edgenas.campaign.measurer import Measurer, Task
from edgenas.campaign.measuring import SILENT, DeviceSetup
from edgenas.campaign.scoring import Candidate
from edgenas.search.trial import Failure, Outcome
from edgenas.space.arch import Arch

AHEAD = 2  # jobs a device has at a time: one that runs and one that waits


@dataclass(frozen=True)
class Errand:
    """One measurement that is wanted.

    Attributes:
        key: names it within the campaign, for ever.
        setup: the device.
        arch: the network.
        level: how thoroughly.
    """

    key: str
    setup: DeviceSetup
    arch: Arch
    level: str


@dataclass(frozen=True)
class Done:
    """What came of an errand; `raw` as in `Answer`."""

    errand: Errand
    result: Outcome | Failure
    raw: dict[str, Any] | None


def run_errands(measurer: Measurer, errands: Iterable[Errand]) -> Iterator[Done]:
    """Carry errands out, those of each device in order and the devices side by side.

    A device that has stopped answering gets nothing more; its other errands are left out.

    Raises:
        LocalDeviceError, FleetStoppedError: measuring cannot go on.
    """
    queues: dict[str, deque[Errand]] = {}
    for errand in errands:
        queues.setdefault(errand.setup.device_id, deque()).append(errand)
    open_: dict[tuple[str, str], Errand] = {}
    while True:
        for device, queue in queues.items():
            while queue and sum(name == device for name, _ in open_) < AHEAD:
                errand = queue.popleft()
                found = _launch(measurer, errand)
                if found is not None:
                    yield found
                else:
                    open_[device, errand.key] = errand
        if not open_:
            return
        answer = measurer.wait()
        device = answer.task.setup.device_id
        if isinstance(answer.result, Failure) and answer.result.code in SILENT:
            queues[device].clear()
        yield Done(open_.pop((device, answer.task.key)), answer.result, answer.raw)


def _launch(measurer: Measurer, errand: Errand) -> Done | None:
    candidate = measurer.candidate(errand.arch, errand.setup.file_format)
    if isinstance(candidate, Candidate):
        measurer.start(Task(errand.key, errand.setup, candidate, errand.level))
        return None
    return Done(errand, candidate, None)
