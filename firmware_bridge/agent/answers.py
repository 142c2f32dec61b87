"""Answers that survive everything until the host says it has them.

Leaves the contents to the desks. An answer is durable before it is first published, and goes out
again on every connect and every minute while the host is online.
"""

from firmware_bridge.agent.post import Post
from firmware_bridge.store.journal import Journal
from firmware_bridge.store.outbox import Answer
from firmware_bridge.wire.messages import Ack, DeployReport, JobFailed, Measurement

Result = Measurement | JobFailed | DeployReport


class Answers:
    """The outbox and the timer over it; used by the main loop and the worker."""

    def __init__(self, journal: Journal, post: Post, resend_s: float) -> None:
        """Take over an outbox.

        Args:
            journal: Holds the outbox.
            post: Publishes.
            resend_s: Seconds between two tries.
        """
        self._outbox = journal.outbox
        self._post = post
        self._resend_s = resend_s
        self._next_s = 0.0

    def keep(self, work_id: str, result: Result) -> Answer:
        """Make the answer to `work_id` durable, without sending it yet."""
        payload = self._post.encoded(result)
        answer = Answer(work_id, result.attempt, result.rev, payload)
        self._outbox.put(answer)
        return answer

    def send(self, answer: Answer) -> None:
        """Publish an answer that is durable already."""
        self._post.answer(answer)

    def repeat(self, work_id: str) -> bool:
        """Send the answer to `work_id` once more; False if there is none."""
        answer = self._outbox.get(work_id)
        if answer is None:
            return False
        self.send(answer)
        return True

    def resend(self, now_s: float) -> None:
        """Send everything that the host has not acknowledged."""
        self._next_s = now_s + self._resend_s
        for answer in self._outbox.pending():
            self.send(answer)

    def tick(self, now_s: float, host_online: bool) -> None:
        """Send again what is due."""
        if host_online and now_s >= self._next_s:
            self.resend(now_s)

    def acknowledged(self, work_id: str, ack: Ack) -> bool:
        """The host has the answer; False if it means another revision."""
        return self._outbox.acknowledge(work_id, ack.attempt, ack.rev)
