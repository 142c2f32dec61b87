"""The HTTPS door of enrolment: open only while somebody is invited, for one small kind of request.

Boards know its certificate by the digest in their token, so nobody has to vouch for it. Each
connection has a thread and a deadline of its own and is one request long; what it says is capped
before it is read. Leaves every decision to `enrolment_desk`, which is asked by one thread at a
time.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from edgenas.fleet.errors import EnrolmentRefusedError
from firmware_bridge.wire.enrolment import (
    PATH,
    REQUEST_CAP_BYTES,
    EnrolReply,
    EnrolRequest,
    encode_enrolment,
    read_request,
)
from firmware_bridge.wire.errors import WireError

_log = logging.getLogger(__name__)

PEER_S = 10.0
PEERS_CAP = 32
LOOK_S, STOP_LOOK_S = 1.0, 0.1
LINGER_S = 15.0  # a board whose answer was lost comes back within that time

Answer = Callable[[EnrolRequest], EnrolReply]


class EnrolmentServer:
    """Listens from the start until `close`; a context manager.

    Attributes:
        port: TCP port.
    """

    def __init__(
        self, bind: str, port: int, certificate: bytes, key: bytes, answer: Answer
    ) -> None:
        """Listen.

        Args:
            bind: Address, empty for all.
            port: TCP port, 0 picks a free one.
            certificate: Its certificate (PEM), whose digest tokens hold.
            key: The private key (PEM).
            answer: Decides about a request; called by one thread at a time.

        Raises:
            EnrolmentRefusedError: The port cannot be had.
        """
        context = _context(certificate, key)
        try:
            self._server = _Server((bind, port), context, answer)
        except (OSError, UnicodeError) as error:  # UnicodeError: no name of a machine
            raise EnrolmentRefusedError(
                f"expected to listen for enrolment on {bind or 'all addresses'} port {port}, got: "
                f"{error}; name another --listen"
            ) from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(STOP_LOOK_S,), name="enrolment"
        )
        self._thread.start()

    def __enter__(self) -> EnrolmentServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; requests that are being answered end first."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def run_while(self, is_open: Callable[[], bool], linger_s: float | None = None) -> None:
        """Stay until nobody is invited any more, and a little longer."""
        linger_s = LINGER_S if linger_s is None else linger_s
        open_s = time.monotonic()
        while True:
            with self._server.asking:
                still = is_open()
            if still:
                open_s = time.monotonic()
            elif time.monotonic() >= open_s + linger_s:
                return
            time.sleep(LOOK_S)


def _context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as folder:  # load_cert_chain reads files only
        chain = Path(folder) / "enrolment.pem"
        chain.touch(mode=0o600)
        chain.write_bytes(key + certificate)
        context.load_cert_chain(chain)
    return context


def _cut(connection: ssl.SSLSocket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = PEERS_CAP
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, answer: Answer) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.context = context
        self.answer = answer
        self.asking = threading.Lock()
        self._places = threading.BoundedSemaphore(PEERS_CAP)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)  # too many at once: it comes again
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands on the connection's own thread, where one that stalls holds up nobody.

        A peer that sends a byte now and then never runs into a timeout of single reads: a timer
        cuts it off.
        """
        request.settimeout(PEER_S)
        with self.context.wrap_socket(
            request, server_side=True, do_handshake_on_connect=False
        ) as secured:
            deadline = threading.Timer(PEER_S, _cut, (secured,))
            deadline.start()
            try:
                secured.do_handshake()
                super().finish_request(secured, client_address)
            finally:
                deadline.cancel()
                deadline.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.info("enrolment: %s hung up or made no sense", client_address)


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "edgenas", ""
    timeout = PEER_S

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != PATH:
            self._reply(404, EnrolReply(status="refused", detail=f"expected POST {PATH}"))
        elif not length.isdecimal() or int(length) > REQUEST_CAP_BYTES:
            detail = f"expected a length of at most {REQUEST_CAP_BYTES} B"
            self._reply(413, EnrolReply(status="refused", detail=detail))
        else:
            self._answer(self.rfile.read(int(length)))

    def _answer(self, raw: bytes) -> None:
        server = cast(_Server, self.server)
        try:
            request = read_request(raw)
        except WireError as error:
            self._reply(400, EnrolReply(status="refused", detail=str(error)))
            return
        try:
            with server.asking:
                reply = server.answer(request)
        except Exception:
            _log.exception("enrolment of %s", request.device_id)
            self._reply(500, EnrolReply(status="refused", detail="the host failed; see its log"))
            return
        _log.info("enrolment: %s: %s %s", request.device_id, reply.status, reply.detail)
        self._reply(200, reply)

    def _reply(self, code: int, reply: EnrolReply) -> None:
        body = encode_enrolment(reply)
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """What was asked for is logged once it is understood."""
