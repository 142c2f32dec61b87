"""What a daemon is made of. Building it is left to `assembly`, using it to `daemon`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from firmware_bridge.agent.answers import Answers
from firmware_bridge.agent.deploy_desk import DeployDesk
from firmware_bridge.agent.idle_temperature import IdleTemperature
from firmware_bridge.agent.inbox import Inbox
from firmware_bridge.agent.job_desk import JobDesk
from firmware_bridge.agent.mailbox import Mailbox
from firmware_bridge.agent.measuring import JobRunner
from firmware_bridge.agent.post import Post
from firmware_bridge.agent.presence import Presence
from firmware_bridge.agent.watchdog import Watchdog
from firmware_bridge.agent.worker import Worker
from firmware_bridge.bench.supervise import RuntimeProbe
from firmware_bridge.store.journal import Journal
from firmware_bridge.wire.link import Link
from firmware_bridge.wire.messages import Hold
from firmware_bridge.wire.topics import Topics

if TYPE_CHECKING:  # loaded by who needs them only: an idle daemon shall weigh little
    from firmware_bridge.agent.errands import Errand
    from firmware_bridge.agent.inspection import Inspection
    from firmware_bridge.agent.renewal import Renewal


@dataclass(frozen=True)
class Parts:
    """Everything that the main loop has at hand."""

    device_id: str
    topics: Topics
    link: Link
    inbox: Inbox
    worker: Worker
    mailbox: Mailbox
    journal: Journal
    post: Post
    answers: Answers
    presence: Presence
    jobs: JobDesk
    job_runner: JobRunner
    deployments: DeployDesk
    holds: Callable[[], tuple[Hold, ...]]
    idle: IdleTemperature
    keyids: tuple[str, ...]
    watchdog: Watchdog
    chores: tuple[Callable[[], None], ...]
    probe_runtime: Callable[[], RuntimeProbe]
    renewal: Renewal | None = None
    inspection: Inspection | None = None

    @property
    def errands(self) -> tuple[Errand, ...]:
        """What the worker does for the daemon itself."""
        return tuple(each for each in (self.renewal, self.inspection) if each is not None)
