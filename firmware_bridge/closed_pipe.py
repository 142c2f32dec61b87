"""Output that nobody reads any more, as after `edgenas-device doctor | head -1`: no error."""

from __future__ import annotations

import os
import select
import sys

READER_LEFT = 141
"""Exit status of a command whose output is no longer read, as shells tell it of SIGPIPE."""


def reader_left() -> bool:
    """Whether nobody reads standard output any more.

    What is still to be written is dropped then, so that the interpreter does not fail on it.
    """
    stdout = sys.stdout.fileno()
    poll = select.poll()
    poll.register(stdout, 0)  # errors are always told
    left = bool(poll.poll(0))
    if left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout)
    return left
