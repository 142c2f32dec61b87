"""The end of the log in a report: whole lines, bounded, and only while the agent lives."""

import logging

from firmware_bridge.agent.log_tail import LINE_CAP, LogTail
from firmware_bridge.wire.deployments import LOG_TAIL_CAP_BYTES

LOG = logging.getLogger("firmware_bridge.agent.test")


def test_the_newest_lines_are_kept_whole_and_bounded() -> None:
    tail = LogTail()
    for number in range(1000):
        LOG.warning("line %s ü", number)
    LOG.warning("x" * 10_000)
    text = tail.text()
    tail.close()
    lines = text.split("\n")
    assert len(text.encode()) <= LOG_TAIL_CAP_BYTES
    assert len(lines[-1]) == LINE_CAP
    assert lines[-2].endswith("WARNING firmware_bridge.agent.test: line 999 ü")
    assert all("firmware_bridge.agent.test: line" in line for line in lines[:-1])
    LOG.warning("after the end")
    assert tail.text() == text


def test_lines_of_others_do_not_count() -> None:
    tail = LogTail()
    logging.getLogger("somebody.else").warning("not ours")
    assert tail.text() == ""
    tail.close()
