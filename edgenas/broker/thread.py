"""The in-process form of the broker: its own event loop in its own thread.

For the demo and for tests; a broker of its own process is `server.serve`.
"""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Final

from edgenas.broker.errors import BrokerStartError
from edgenas.broker.server import BrokerServer, run_until
from edgenas.broker.settings import BrokerSettings

_START_DEADLINE_S: Final = 10.0


class BrokerThread:
    """A broker for the length of a `with` block.

    Example:
        >>> with BrokerThread(port=0) as broker:
        ...     connect(broker.url)

    Attributes:
        url: where it listens, `mqtt://127.0.0.1:PORT`, once entered.
        port: its TCP port, once entered.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        settings: BrokerSettings | None = None,
    ) -> None:
        """Takes a loopback `host`, a `port` (0 picks a free one) and limits; starts nothing."""
        self.url = ""
        self.port = port
        self._host = host
        self._settings = settings or BrokerSettings()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._decided = threading.Event()
        self._failure: BaseException | None = None

    def __enter__(self) -> "BrokerThread":
        """Starts the broker and returns once it listens.

        Raises:
            NotLoopbackError: the host is not loopback.
            BrokerStartError: the port cannot be bound, or it already runs.
        """
        if self._thread is not None:
            raise BrokerStartError("expected one `with` block at a time; this broker already runs")
        self._decided.clear()
        self.url = ""
        self._thread = threading.Thread(target=self._run, name="edgenas-broker", daemon=True)
        self._thread.start()
        if not self._decided.wait(_START_DEADLINE_S):
            raise BrokerStartError(f"expected a start within {_START_DEADLINE_S} s; machine busy?")
        if not self.url:
            self._join()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnects all clients, stops the loop and joins the thread."""
        del kind, error, traceback
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has already ended with a failure
                self._loop.call_soon_threadsafe(self._stop.set)
        self._join()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # handed to the thread that waits in __enter__
            self._failure = error
        finally:
            self._decided.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await run_until(self._stop.wait, self._host, self.port, self._settings, self._listening)

    def _listening(self, server: BrokerServer) -> None:
        self.url, self.port = server.url, server.port
        self._decided.set()

    def _join(self) -> None:
        """Waits for the thread and raises in this one what ended it."""
        if self._thread is not None:
            self._thread.join()
        failure, self._thread, self._failure = self._failure, None, None
        if failure is not None:
            raise failure
