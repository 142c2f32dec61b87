"""Listens on loopback, hands sockets to `connection`, stops cleanly.

What a client may do is left to `connection` and `router`.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from edgenas.broker.connection import Connection
from edgenas.broker.errors import BrokerStartError
from edgenas.broker.loopback import broker_url, loopback_address, open_address
from edgenas.broker.router import Router
from edgenas.broker.settings import BrokerSettings
from edgenas.whole_file import write_whole

_LOG = logging.getLogger(__name__)

_BACKLOG: Final = 1024
_STOP_GRACE_S: Final = 1.0


class BrokerServer:
    """One listening broker inside a running event loop."""

    def __init__(self, settings: BrokerSettings) -> None:
        """Does not listen yet; must be made inside a running loop."""
        loop = asyncio.get_running_loop()
        self._settings = settings
        self._router = Router(loop, settings.queue)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._all_gone = asyncio.Event()
        self.port = 0
        self.url = ""

    async def start(self, host: str, port: int, *, open_to_network: bool = False) -> None:
        """Binds and listens; port 0 picks a free one, `open_to_network` allows any address.

        Raises:
            NotLoopbackError: `host` is not loopback.
            BrokerStartError: the port cannot be bound.
        """
        address = open_address(host) if open_to_network else loopback_address(host)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._accept, address, port, backlog=_BACKLOG)
        except (OSError, OverflowError) as error:
            raise BrokerStartError(
                f"expected to listen on {address} port {port}, got: {error}; "
                "stop what uses the port, or choose another (0 picks a free one)"
            ) from error
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.url = broker_url(address, self.port)
        if open_to_network:
            _LOG.warning("embedded broker on %s: whoever reaches it commands all devices", self.url)
        else:
            _LOG.info("embedded broker listens on %s (loopback only)", self.url)

    async def stop(self) -> None:
        """Stops listening and disconnects everybody, at the latest after a grace time."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.shut_down()
        self._router.close()
        try:
            await asyncio.wait_for(self._wait_gone(), _STOP_GRACE_S)
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
            await self._wait_gone()

    def _accept(self) -> Connection:
        return Connection(self._router, self._settings, self._connections, self._lost)

    def _lost(self) -> None:
        if not self._connections:
            self._all_gone.set()

    async def _wait_gone(self) -> None:
        while self._connections:
            self._all_gone.clear()
            await self._all_gone.wait()


async def run_until(
    stopped: Callable[[], Awaitable[object]],
    host: str,
    port: int,
    settings: BrokerSettings,
    listening: Callable[[BrokerServer], None],
    *,
    open_to_network: bool = False,
) -> None:
    """Runs a broker: calls `listening` once it does, ends when `stopped()` returns.

    Raises:
        NotLoopbackError: `host` is not loopback.
        BrokerStartError: the port cannot be bound.
    """
    server = BrokerServer(settings)
    await server.start(host, port, open_to_network=open_to_network)
    try:
        listening(server)
        await stopped()
    finally:
        await server.stop()


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    port_file: Path | None = None,
    settings: BrokerSettings | None = None,
    open_to_network: bool = False,
) -> None:
    """Runs a broker in this thread, which must be the main one, until SIGTERM or SIGINT.

    Args:
        host: a loopback address or name.
        port: TCP port; 0 picks a free one.
        port_file: gets the port in decimal, whole or not at all, once the broker listens.
        settings: limits; the defaults if None.
        open_to_network: allow any address, though nothing is protected there.

    Raises:
        NotLoopbackError: `host` is not loopback.
        BrokerStartError: the port cannot be bound.
    """
    asyncio.run(_serve(host, port, port_file, settings or BrokerSettings(), open_to_network))


async def _serve(
    host: str, port: int, port_file: Path | None, settings: BrokerSettings, open_to_network: bool
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def listening(server: BrokerServer) -> None:
        if port_file is not None:
            write_whole(port_file, f"{server.port}\n".encode())

    await run_until(stop.wait, host, port, settings, listening, open_to_network=open_to_network)
