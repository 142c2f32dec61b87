"""A measurer whose devices are the formula of `tests.edgenas.search.analytic`: long searches, soon.

Nothing is exported and nothing sent; what is wanted is answered in the order of asking.
"""

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from edgenas.campaign.measurer import Answer, Measurer, Task
from edgenas.campaign.scoring import Candidate, Probe
from edgenas.export.exporter import Exported
from edgenas.export.parity import Parity
from edgenas.search.trial import Failure
from edgenas.space.arch import Arch
from firmware_bridge.runtimes.choice import FileFormat
from tests.edgenas.search.analytic import DIGITS, outcome

_NO_CODES = np.zeros((0, 1), np.int8)


class FormulaMeasurer(Measurer):
    """Answers with the formula.

    Args:
        slowness: by the number of earlier measurements, the factor on all latencies.
    """

    def __init__(self, slowness: Callable[[int], float] = lambda _: 1.0) -> None:
        self._slowness = slowness
        self._waiting: deque[Task] = deque()
        self.asked: list[Task] = []

    def candidate(self, arch: Arch, file_format: FileFormat = "tflite") -> Candidate | Failure:
        found = outcome(DIGITS, arch)
        parity = Parity(1, 1.0, 0.0, 0, 1.0)
        exported = Exported(arch, Path(), found.sha256, found.model_bytes, parity, {}, True)
        return Candidate(exported, found.accuracy, found.macs, Probe(_NO_CODES, _NO_CODES))

    def quietly(self, work: Callable[[], None], timeout_s: float = 0.0) -> bool:
        work()
        return True

    def start(self, task: Task) -> None:
        self._waiting.append(task)
        self.asked.append(task)

    @property
    def outstanding(self) -> Mapping[str, Task]:
        return {task.key: task for task in self._waiting}

    def wait(self) -> Answer:
        task = self._waiting.popleft()
        done = len(self.asked) - len(self._waiting) - 1
        found = outcome(DIGITS, task.candidate.arch, task.level, self._slowness(done))
        return Answer(task, found, {"device": task.setup.device_id}, None)
