"""The folder of a broker of one's own: the authority, the broker's files, the host's files.

::

    DIR/site.json    names, port, account
    DIR/ca/          the authority's key and who was revoked; stays on this machine
    DIR/broker/      all that mosquitto reads and writes
    DIR/host/        certificates of the host and of those who only look; may be copied elsewhere

Everything is made again from the authority, so that a cut between two files is mended by the next
call. Leaves who may have a certificate to `edgenas.fleet`.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import pwd
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from edgenas.site import authority, files, mosquitto, running
from edgenas.site.authority import Authority
from edgenas.site.errors import SiteError

SERVER_DAYS = 730.0
_SITE = "site.json"


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """What is said once, when the folder is made.

    Attributes:
        names: Host names and addresses of the broker; devices use the first one.
        port: TCP port of the broker.
        bind: Address that it listens on, empty for all.
        user: Account that mosquitto runs as when root starts it.
    """

    names: tuple[str, ...]
    port: int = 8883
    bind: str = ""
    user: str = ""

    def __post_init__(self) -> None:
        if not self.names or not all(_plausible(name) for name in self.names):
            raise SiteError(
                f"--host: expected names or addresses of this machine such as "
                f"broker.example,192.168.1.10, got {','.join(self.names)!r}"
            )
        if not 0 < self.port < 65_536:
            raise SiteError(f"--port: expected 1 to 65535, got {self.port}")

    @property
    def url(self) -> str:
        """What devices connect to."""
        name = self.names[0]
        return f"mqtts://[{name}]:{self.port}" if ":" in name else f"mqtts://{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `SiteFolder.prepare` has done.

    Attributes:
        new: The authority was made.
        issued: Whose certificates were made or renewed.
        reloaded: A running broker has been told.
    """

    new: bool
    issued: tuple[str, ...]
    reloaded: bool


class SiteFolder:
    """One such folder; usable by several processes at once."""

    def __init__(self, path: Path) -> None:
        """Name it; nothing is read yet."""
        self.path = path.absolute()
        self.broker = self.path / "broker"
        self.host = self.path / "host"
        self._ca = self.path / "ca"

    @property
    def settings(self) -> SiteSettings:
        """What was said when it was made.

        Raises:
            SiteError: There is none, or it cannot be read.
        """
        try:
            body = json.loads((self.path / _SITE).read_text("utf-8"))
            known = SiteSettings.__dataclass_fields__
            body = {name: value for name, value in body.items() if name in known}
            return SiteSettings(**body | {"names": tuple(body["names"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise SiteError(
                f"expected a broker's folder at {self.path}, got {error}; make one with "
                f"`edgenas broker init --tls {self.path} --host NAME`"
            ) from error

    @property
    def exists(self) -> bool:
        """Whether it was made."""
        return (self.path / _SITE).exists()

    @property
    def authority(self) -> Authority:
        """The authority with its key.

        Raises:
            SiteError: It is not here, or this user may not read it.
        """
        try:
            key, certificate = (self._ca / "ca.key").read_bytes(), self._certificate()
        except OSError as error:
            raise SiteError(
                f"expected the authority's key below {self._ca}, got {error.strerror}; do this on "
                "the machine and as the user that ran `edgenas broker init`"
            ) from error
        return Authority.load(key, certificate)

    @property
    def has_authority(self) -> bool:
        """Whether certificates can be signed here."""
        return os.access(self._ca / "ca.key", os.R_OK)

    def prepare(self, settings: SiteSettings, now: datetime) -> Prepared:
        """Make the folder, or bring it to these settings; keeps the authority and all it signed.

        Certificates of broker and host are renewed when two thirds of their life are over.

        Raises:
            SiteError: It cannot be written, or the account is not known.
        """
        settings = _with_user(settings)
        try:
            new = self._make_folders(settings.user, now)
            with self._locked():
                issued = [*self._issue_server(settings, now), *self._issue_clients(now)]
                text = json.dumps(asdict(settings), indent=1) + "\n"
                files.replace(self.path / _SITE, text.encode())
                place = mosquitto.Place(self.broker, settings.port, settings.bind, settings.user)
                self._give("mosquitto.conf", mosquitto.configuration(place).encode())
                self._write_rules(self._revoked(), now)
        except (OSError, ValueError) as error:
            raise SiteError(
                f"expected to write below {self.path}, got {error}; name a folder of your own"
            ) from error
        return Prepared(new, tuple(issued), running.reload(self.broker))

    def enrolment_server(self, now: datetime) -> tuple[bytes, bytes]:
        """Certificate and key (PEM) of the enrolment server; the same as long as they last.

        A token holds the digest of the certificate, so that one outlives a restart of the server.
        """
        certificate = self._ca / "enrolment.pem"
        with self._locked():
            if not _is_fresh(certificate, now):
                pem, key = authority.self_signed(self.settings.names, now, SERVER_DAYS)
                files.replace(certificate.with_suffix(".key"), key, files.SECRET)
                files.replace(certificate, pem)
            return certificate.read_bytes(), certificate.with_suffix(".key").read_bytes()

    @contextlib.contextmanager
    def sole_server(self) -> Iterator[bool]:
        """Whether nobody else serves enrolment here; nobody else does, for as long as it lasts."""
        descriptor = os.open(self._ca / "serving", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def revoke(self, name: str, serials: Sequence[str], now: datetime) -> bool:
        """Shut certificates out, and their bearer if it is connected now; may be repeated.

        Returns:
            Whether a broker that runs here has been told.
        """
        with self._locked():
            revoked = self._revoked()
            for serial in serials:
                revoked.serials.setdefault(serial, now.timestamp())
            revoked.denied.add(name)
            self._write_rules(revoked, now)
        return running.reload(self.broker)

    def admit(self, name: str, serials: Sequence[str], now: datetime) -> None:
        """Let a device in again under a new certificate; its older ones stay shut out.

        Args:
            name: Its id.
            serials: Its older certificates.
            now: The time.
        """
        with self._locked():
            revoked = self._revoked()
            if name not in revoked.denied and set(serials) <= revoked.serials.keys():
                return
            for serial in serials:
                revoked.serials.setdefault(serial, now.timestamp())
            revoked.denied.discard(name)
            self._write_rules(revoked, now)
        running.reload(self.broker)

    def _make_folders(self, user: str, now: datetime) -> bool:
        files.make_folder(self.path, 0o755)
        for folder in (self._ca, self.host):
            files.make_folder(folder, 0o700)
        for folder in (self.broker, self.broker / "data"):
            files.make_folder(folder, 0o700, user)
        with self._locked():
            if (self._ca / "ca.pem").exists():
                return False
            made = Authority.create(f"edgenas {self.path.name}", now)
            files.replace(self._ca / "ca.key", made.key_pem, files.SECRET)
            files.replace(self._ca / "ca.pem", made.certificate_pem)
        return True

    def _issue_server(self, settings: SiteSettings, now: datetime) -> Iterator[str]:
        self._give("ca.pem", self._certificate(), user=settings.user)
        path = self.broker / "server.pem"
        if _is_fresh(path, now) and authority.names_of(path.read_bytes()) == settings.names:
            return
        issued, key = self.authority.issue_server(settings.names, now, SERVER_DAYS)
        self._give("server.key", key, files.SECRET, user=settings.user)
        self._give("server.pem", issued.pem, user=settings.user)
        yield "broker"

    def _issue_clients(self, now: datetime) -> Iterator[str]:
        files.replace(self.host / "ca.pem", self._certificate())
        for name in (mosquitto.HOST, mosquitto.VIEWER, mosquitto.CLERK):
            path = self.host / f"{name}.pem"
            if _is_fresh(path, now):
                continue
            issued, key = self.authority.issue_with_key(name, now, SERVER_DAYS)
            files.replace(self.host / f"{name}.key", key, files.SECRET)
            files.replace(path, issued.pem)
            yield name

    def _write_rules(self, revoked: _Revoked, now: datetime) -> None:
        files.replace(self._ca / "revoked.json", revoked.text().encode(), files.SECRET)
        dated = {
            serial: datetime.fromtimestamp(int(at_s), UTC)
            for serial, at_s in revoked.serials.items()
        }
        path = self.broker / "crl.pem"
        previous = path.read_bytes() if path.exists() else None
        self._give("crl.pem", self.authority.revocations(dated, now, previous))
        self._give("acl", mosquitto.access_rules(revoked.denied).encode(), 0o600)

    def _revoked(self) -> _Revoked:
        path = self._ca / "revoked.json"
        return _Revoked.read(path.read_text("utf-8")) if path.exists() else _Revoked({}, set())

    def _certificate(self) -> bytes:
        return (self._ca / "ca.pem").read_bytes()

    def _give(
        self, name: str, content: bytes, mode: int = files.OPEN, user: str | None = None
    ) -> None:
        """Write a file of the broker's, as the account that its folder belongs to."""
        owner = user or pwd.getpwuid(self.broker.stat().st_uid).pw_name
        files.replace(self.broker / name, content, mode, owner)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else changes the folder meanwhile."""
        descriptor = os.open(self._ca / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


@dataclass(slots=True)
class _Revoked:
    """Serial numbers with when (seconds since 1970), and the names that are shut out as a whole."""

    serials: dict[str, float]
    denied: set[str]

    @classmethod
    def read(cls, text: str) -> _Revoked:
        body = json.loads(text)
        return cls(dict(body["serials"]), set(body["denied"]))

    def text(self) -> str:
        body = {"serials": self.serials, "denied": sorted(self.denied)}
        return json.dumps(body, indent=1, sort_keys=True) + "\n"


def _with_user(settings: SiteSettings) -> SiteSettings:
    """The account that mosquitto runs as: the one named, else the one it brings, else our own."""
    named = settings.user
    if not named:
        named = "mosquitto" if os.geteuid() == 0 and _is_account("mosquitto") else getpass.getuser()
    if not _is_account(named):
        raise SiteError(f"--user: expected an account of this machine, got {named!r}")
    return SiteSettings(settings.names, settings.port, settings.bind, named)


def _is_fresh(certificate: Path, now: datetime) -> bool:
    """Whether a certificate is there, belongs to the key beside it, and need not be renewed."""
    try:
        ssl.create_default_context().load_cert_chain(certificate, certificate.with_suffix(".key"))
    except OSError:  # ssl.SSLError is one
        return False
    return not authority.needs_renewal(certificate.read_bytes(), now)


def _is_account(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _plausible(name: str) -> bool:
    return bool(name) and len(name) < 254 and not set(name) - _NAME


_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-")
