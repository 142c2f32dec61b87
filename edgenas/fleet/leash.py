"""A leash for child processes: when this process ends, however it ends, the child gets SIGTERM.

The child's stdin is the reading end of a pipe whose only writing end is held here. The kernel
closes that end with this process, SIGKILL included, and then signals the owner of the pipe. No
helper process, no code between fork and exec, and no tie to the thread that started the child (a
parent-death signal fires when that *thread* ends). Linux only. Leaves starting and stopping the
child to `local`.
"""

import contextlib
import fcntl
import os
import signal


class Leash:
    """One pipe for one child; hand `stdin` to the child, then `attach` its process id.

    Only a process that was forked from this one without exec, and so holds a copy of the writing
    end, can keep the child alive longer.
    """

    def __init__(self) -> None:
        self.stdin, self._held = os.pipe2(os.O_CLOEXEC)

    def attach(self, pid: int) -> None:
        """Name the child that gets SIGTERM, and give up this process's copy of its stdin."""
        fcntl.fcntl(self.stdin, fcntl.F_SETOWN, pid)
        fcntl.fcntl(self.stdin, fcntl.F_SETSIG, signal.SIGTERM)
        flags = fcntl.fcntl(self.stdin, fcntl.F_GETFL)
        fcntl.fcntl(self.stdin, fcntl.F_SETFL, flags | os.O_ASYNC)
        os.close(self.stdin)

    def release(self) -> None:
        """Let go after the child has ended; may be repeated."""
        if self._held >= 0:
            with contextlib.suppress(OSError):
                os.close(self._held)
            self._held = -1
