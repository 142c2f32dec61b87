"""`edgenas fleet invite|requests|accept|refuse|revoke|serve`: who may join, and for how long."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.cli.fleet_devices import place

if TYPE_CHECKING:
    from edgenas.fleet.enrolment_desk import EnrolmentDesk, Terms
    from edgenas.site.folder import SiteFolder
    from firmware_bridge.wire.enrolment import EnrolReply, EnrolRequest


def run_invite(args: argparse.Namespace) -> int:
    """Invite, and serve while somebody can come."""
    import contextlib

    from edgenas.fleet.enrolment_desk import EnrolmentDesk
    from edgenas.fleet.enrolment_server import EnrolmentServer
    from edgenas.fleet.journal import FleetJournal
    from edgenas.site.authority import certificate_sha256, now_utc

    site = _site(args)
    terms = None if args.reopen else _terms(args)
    bind, port = _address(args.listen, "--listen")
    certificate, key = site.enrolment_server(now_utc())
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(contextlib.closing(FleetJournal(place(args))))
        journal.bind(args.fleet)
        desk = EnrolmentDesk(journal, site)
        alone = stack.enter_context(site.sole_server())
        server = None
        if alone:
            answer = _Told(desk).answer
            server = stack.enter_context(EnrolmentServer(bind, port, certificate, key, answer))
            port = server.port
        if terms is not None:
            _print_token(args, site, desk, terms, certificate_sha256(certificate), port)
        _warn_of_missing_keys(desk)
        if server is None:
            print("another `edgenas fleet invite` serves it; this one ends")
            return 0
        print("serving; Ctrl-C ends that", flush=True)
        try:
            server.run_while(lambda: bool(desk.open_invites()))
        except KeyboardInterrupt:
            print("served no longer; `edgenas fleet invite --reopen` goes on with what is open")
            return 130
        print("nobody is invited any more")
    return 0


def run_requests(args: argparse.Namespace) -> int:
    """List requests."""
    import contextlib
    import json
    from dataclasses import asdict

    from edgenas.fleet.journal import FleetJournal

    with contextlib.closing(FleetJournal(place(args))) as journal:
        rows = journal.enrolments.requests()
    if args.json:
        print(
            json.dumps([asdict(row) | {"decision": row.decision.value} for row in rows], indent=1)
        )
        return 0
    for row in rows:
        facts = ", ".join(f"{name} {value}" for name, value in row.facts.items())
        why = f" ({row.why})" if row.why else ""
        print(f"{row.request_id} {row.decision.value}{why}: {row.device_id}")
        print(f"  board {row.board or 'without serial number'}, key {row.key_sha256[:16]}; {facts}")
    if not rows:
        print("no board has asked yet")
    return 0


def run_settle(args: argparse.Namespace) -> int:
    """Accept or refuse."""
    import contextlib
    from datetime import UTC, datetime

    from edgenas.fleet.enrolment_desk import EnrolmentDesk
    from edgenas.fleet.journal import FleetJournal

    with contextlib.closing(FleetJournal(place(args))) as journal:
        desk = EnrolmentDesk(journal, _site(args))
        row, collect_by_ms = desk.settle(args.request, args.accept, args.note)
    if args.accept:
        until = datetime.fromtimestamp(collect_by_ms // 1000, UTC)
        print(f"{row.device_id} is let in; it gets its certificate when it asks again, until")
        print(
            f"{until:%Y-%m-%d %H:%M} UTC; `edgenas fleet invite --reopen` answers it if none runs"
        )
    else:
        print(f"{row.device_id} is turned away")
    return 0


def run_revoke(args: argparse.Namespace) -> int:
    """Revoke."""
    import contextlib

    from edgenas.fleet.enrolment_desk import EnrolmentDesk
    from edgenas.fleet.journal import FleetJournal

    site = _site(args)
    with contextlib.closing(FleetJournal(place(args))) as journal:
        ended, told = EnrolmentDesk(journal, site).revoke(args.device, args.why)
    print(f"{args.device}: {len(ended)} certificates ended" if ended else f"{args.device}: again")
    if told:
        print("the broker that runs here reads that now")
    else:
        print(f"no broker runs from {site.broker}: copy crl.pem and acl to the one that does, and")
        print("have it reload (SIGHUP); until then the device is not shut out")
    return 0


def run_serve(args: argparse.Namespace) -> int:
    """Be the host until Ctrl-C."""
    import signal

    from edgenas.campaign.fleet_session import fleet_host
    from edgenas.campaign.rundir import RunDir

    site = _site(args)
    folder = RunDir(args.folder or site.path / "host-state")
    url = args.broker or site.settings.url
    signals = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        with fleet_host(folder, url, args.fleet, place(args), args.tls) as host:
            print(f"host of fleet {args.fleet} at {url}; Ctrl-C ends it", flush=True)
            while signal.sigtimedwait(signals, 5.0) is None:
                host.devices()  # tells if the host has stopped
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 0


class _Told:
    """Answers boards, and says each new answer aloud."""

    def __init__(self, desk: EnrolmentDesk) -> None:
        self._desk = desk
        self._said: set[tuple[str, str]] = set()

    def answer(self, request: EnrolRequest) -> EnrolReply:
        """See `EnrolmentDesk.answer`."""
        reply = self._desk.answer(request)
        told = (request.csr, reply.status)
        if told not in self._said and len(self._said) < 1000:
            self._said.add(told)
            name = reply.device_id or request.device_id
            what = f": {reply.detail}" if reply.detail else ""
            ask = f"; edgenas fleet accept {reply.request}" if reply.status == "waiting" else ""
            print(f"{name} {reply.status}{what}{ask}", flush=True)
        return reply


def _print_token(
    args: argparse.Namespace,
    site: SiteFolder,
    desk: EnrolmentDesk,
    terms: Terms,
    pin: str,
    port: int,
) -> None:
    from firmware_bridge.wire.enrolment import Token

    host, given = _address(args.address or site.settings.names[0], "--address", port)
    _, secret = desk.invite(terms)
    print(f"for {terms.uses} board(s) of fleet {terms.fleet}, on the board:")
    print(f"  sudo edgenas-device enroll {Token(host, given, pin, secret).text()}", flush=True)


def _terms(args: argparse.Namespace) -> Terms:
    from edgenas.fleet.enrolment import Mode
    from edgenas.fleet.enrolment_desk import Terms

    serials = [*args.serials]
    if args.serial_file is not None:
        serials += _serials_in(args.serial_file)
    listed = frozenset(filter(None, (serial.strip() for serial in serials)))
    uses = args.uses if args.uses is not None else max(1, len(listed))
    return Terms(args.fleet, args.profile, Mode(args.mode), uses, args.ttl, listed, _keys(args))


def _serials_in(path: Path) -> list[str]:
    from edgenas.fleet.errors import EnrolmentRefusedError

    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EnrolmentRefusedError(
            f"--serials {path}: expected a text file (UTF-8) of serial numbers, one a line, got "
            f"{error}; save it as that"
        ) from error


def _keys(args: argparse.Namespace) -> tuple[str, ...]:
    """The public keys (PEM) that boards shall trust."""
    from edgenas.campaign.rundir import RunDir
    from edgenas.fleet.errors import KeyFileError
    from edgenas.fleet.keys import public_keys
    from firmware_bridge.wire.signing import load_verify_key

    paths: list[Path] = args.keys
    if not paths and args.folder is not None:
        paths = public_keys(RunDir(args.folder).keys)
    try:
        for path in paths:
            load_verify_key(path)
        return tuple(path.read_text("ascii") for path in paths)
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(
            f"--verify-key: expected a file with a public key, got {error}; name RUN/keys/*.pub"
        ) from error


def _warn_of_missing_keys(desk: EnrolmentDesk) -> None:
    without = [invite.invite_id for invite in desk.open_invites() if not invite.verify_keys]
    if without:
        print(
            f"warning: invitation {', '.join(without)} names no release key: whoever comes by it "
            "measures, and refuses every release; invite with --run RUN (or --verify-key FILE) for "
            "boards that shall take models",
            file=sys.stderr,
            flush=True,
        )


def _site(args: argparse.Namespace) -> SiteFolder:
    from edgenas.site.errors import SiteError
    from edgenas.site.folder import SiteFolder

    if args.tls is None:
        raise SiteError("expected --tls DIR (or EDGENAS_TLS), the folder of `edgenas broker init`")
    site = SiteFolder(args.tls)
    if not site.has_authority:
        raise SiteError(
            f"--tls: expected the folder that `edgenas broker init` made, got {args.tls} without "
            "its authority; a copy of `host` alone cannot let boards in"
        )
    return site


def _address(text: str, what: str, port: int | None = None) -> tuple[str, int]:
    from edgenas.fleet.errors import EnrolmentRefusedError

    host, colon, number = text.rpartition(":")
    if port is not None and (not colon or (text.count(":") > 1 and not host.endswith("]"))):
        return text.strip("[]"), port
    if not number.isdecimal() or int(number) > 65_535:
        raise EnrolmentRefusedError(f"{what}: expected ADDRESS:PORT, got {text!r}")
    return host.strip("[]"), int(number)
