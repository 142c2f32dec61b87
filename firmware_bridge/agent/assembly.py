"""Builds a daemon out of its settings: the one place that knows every part.

Also takes the lock that keeps a second daemon off the same state directory, and settles what a
power cut has left. Leaves running it to `daemon`.
"""

from __future__ import annotations

import fcntl
import os
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_bridge.agent.acceptance import DeviceView
from firmware_bridge.agent.activating import Activating, subject_of
from firmware_bridge.agent.answers import Answers
from firmware_bridge.agent.book import DeploymentBook
from firmware_bridge.agent.clock import Clock, clock_synced
from firmware_bridge.agent.daemon import Daemon
from firmware_bridge.agent.deploy_desk import DeployDesk
from firmware_bridge.agent.floor import raise_counters
from firmware_bridge.agent.head_post import HeadPost
from firmware_bridge.agent.holds import HoldReader
from firmware_bridge.agent.idle_temperature import IdleTemperature
from firmware_bridge.agent.inbox import Inbox
from firmware_bridge.agent.job_desk import JobDesk, JobRules
from firmware_bridge.agent.known_time import KnownTime
from firmware_bridge.agent.life_signs import LifeSocket
from firmware_bridge.agent.log_tail import LogTail
from firmware_bridge.agent.mailbox import Mailbox
from firmware_bridge.agent.measuring import JobRunner
from firmware_bridge.agent.parts import Parts
from firmware_bridge.agent.post import Post
from firmware_bridge.agent.preparing import Instruments, Preparing
from firmware_bridge.agent.presence import Presence, agent_version
from firmware_bridge.agent.pull import Puller
from firmware_bridge.agent.recovery import needed_digests, recover
from firmware_bridge.agent.salvage import open_journal
from firmware_bridge.agent.settings import MIB, AgentSettings
from firmware_bridge.agent.watchdog import Watchdog
from firmware_bridge.agent.worker import Worker
from firmware_bridge.bench import supervise
from firmware_bridge.bench.plan import GoldenFile, MeasurePlan
from firmware_bridge.bench.sensors import Sensors
from firmware_bridge.facts import read_board
from firmware_bridge.faults import FAULTS
from firmware_bridge.machine_lock import MachineLock, default_lock_path
from firmware_bridge.slots import Slots
from firmware_bridge.store.blobs import BlobStore
from firmware_bridge.wire.errors import StoreError
from firmware_bridge.wire.heartbeat import Heartbeat
from firmware_bridge.wire.link import Link
from firmware_bridge.wire.messages import Hold
from firmware_bridge.wire.signing import can_verify, load_verify_key
from firmware_bridge.wire.tls import TlsFiles
from firmware_bridge.wire.topics import Topics

if TYPE_CHECKING:  # loaded by daemons with a certificate only
    from firmware_bridge.agent.inspection import Inspection
    from firmware_bridge.agent.renewal import Renewal


class Assembly:
    """All parts of one daemon, wired together.

    Attributes:
        inbox: Where a Stop ends the daemon.
        daemon: Ready to run.
    """

    def __init__(
        self,
        settings: AgentSettings,
        link: Link,
        use_tls: Callable[[ssl.SSLContext], None] | None = None,
    ) -> None:
        """Open the state directory and build everything.

        Args:
            settings: What the operator set.
            link: Connection to the broker, not opened yet.
            use_tls: Has the link answer with a renewed certificate from the next connection on;
                None if it has none.

        Raises:
            StoreError: The state directory cannot be used, or another daemon uses it.
            SignatureInvalidError: A verify key file holds no key.
        """
        self._settings = settings
        self._keys = _load_keys(settings.verify_keys)
        self._lock = hold_state_directory(settings.state_dir)
        try:
            self._slots = Slots(settings.state_dir, settings.run_directory)
            self._journal, self._loss = open_journal(settings.state_dir, self._slots)
            self._unbarred = raise_counters(self._journal, settings.state_dir)
        except BaseException:
            os.close(self._lock)
            raise
        self.inbox = Inbox()
        self._clock = Clock()
        self._topics = Topics(settings.fleet)
        self._blobs = _blob_store(settings)
        self._mailbox = Mailbox()
        self._worker = Worker(self.inbox.put, self._heartbeat("worker"))
        link.heartbeat = self._heartbeat("link")
        self._post = Post(link, self._topics, settings.device_id, self._clock.stamp)
        self._answers = Answers(self._journal, self._post, settings.resend_s)
        self._tail = LogTail()
        self._locks = HoldReader(settings.run_directory / "inhibit.d")
        self._life = LifeSocket(settings.run_directory / "app.sock")
        self._time = KnownTime(
            self._journal.last_time_s, self._journal.set_last_time_s, clock_synced
        )
        self._board = read_board(settings.proc_root, settings.sys_root)
        self._idle = IdleTemperature(lambda: Sensors(settings.sys_root).read().temp_c)
        self._machine_lock = MachineLock(settings.lock_path or default_lock_path(os.environ))
        self._use_tls = use_tls
        self.daemon = Daemon(self._parts(link))

    def close(self) -> None:
        """Let another daemon use the state directory."""
        self._tail.close()
        self._life.close()
        self._journal.close()
        os.close(self._lock)

    def _heartbeat(self, thread: str) -> Heartbeat:
        return Heartbeat(self._settings.patience_s, FAULTS.at_beat(thread))

    def _watchdog(self, link: Link) -> Watchdog:
        return Watchdog(
            self._settings.supervision,
            lambda: (link.heartbeat.due_s, self._worker.heartbeat.due_s),
            self._journal.answers,
            self._settings.patience_s,
        )

    def _parts(self, link: Link) -> Parts:
        book = DeploymentBook(self._journal, self._answers, self._post, self._tail.text)
        recover(book, self._slots, self._clock.boot_id, self._journal.last_runtime())
        jobs = JobDesk(self._journal, self._answers, self._post, self._job_rules())
        self._blobs.pin(lambda: needed_digests(book, self._slots) | jobs.needed_digests())
        presence = Presence(self._settings, self._journal, self._slots, self._board)
        if self._loss is not None:
            presence.troubles.standing["journal"] = self._loss
        if self._unbarred is not None:
            presence.troubles.standing["counters"] = self._unbarred
        argv = self._settings.worker_argv
        return Parts(
            device_id=self._settings.device_id,
            topics=self._topics,
            link=link,
            inbox=self.inbox,
            worker=self._worker,
            mailbox=self._mailbox,
            journal=self._journal,
            post=self._post,
            answers=self._answers,
            presence=presence,
            jobs=jobs,
            job_runner=JobRunner(
                self._puller, self._measure, self._worker.check, lambda: self._idle.temp_c
            ),
            deployments=self._deploy_desk(book),
            holds=self._holds,
            idle=self._idle,
            keyids=tuple(self._keys),
            watchdog=self._watchdog(link),
            chores=(
                self._time.tick,
                lambda: self._life.read(time.monotonic()),
                self._trim,
                lambda: self._tell_of_locks(presence),
                HeadPost(
                    self._settings.state_dir,
                    lambda: presence.sess if self.daemon.connected else None,
                    self._post.head,
                ).tick,
            ),
            probe_runtime=partial(supervise.probe_runtime, argv, cancelled=self._worker.cancelled),
            renewal=self._renewal(),
            inspection=self._inspection(presence),
        )

    def _renewal(self) -> Renewal | None:
        chosen = self._settings
        files = TlsFiles(chosen.tls_ca, chosen.tls_cert, chosen.tls_key)
        if self._use_tls is None or files.ca is None or files.certificate is None:
            return None
        from firmware_bridge.agent.renewal import Renewal

        return Renewal(files, chosen.device_id, chosen.worker_argv, self._use_tls, self._ask_for)

    def _ask_for(self, csr: str) -> None:
        if self.daemon.connected:
            self._post.csr(csr)

    def _inspection(self, presence: Presence) -> Inspection | None:
        """Statements of what runs here; only who has a certificate can sign them."""
        chosen = self._settings
        files = TlsFiles(chosen.tls_ca, chosen.tls_cert, chosen.tls_key)
        if self._use_tls is None or files.certificate is None:
            return None
        from firmware_bridge.agent.inspection import Board, Inspection

        board = Board(
            chosen.state_dir,
            lambda: presence.sess if self.daemon.connected else None,
            lambda: tuple((name, self._slots.pointed(name)) for name in self._slots.names()),
            lambda: self._speaker(presence),
        )
        return Inspection(board, files, chosen.worker_argv, self._post.inventory)

    def _speaker(self, presence: Presence) -> Mapping[str, object]:
        stamp = self._clock.stamp()
        return {
            "fleet": self._settings.fleet,
            "device": self._settings.device_id,
            "install_id": self._journal.install_id(),
            "boot_id": stamp.boot_id,
            "sess": presence.sess,
            "wall_ms": stamp.wall_ms,
            "clock_synced": stamp.clock_synced,
            "agent_version": agent_version(),
        }

    def _job_rules(self) -> JobRules:
        return JobRules(
            measure=self._settings.measure,
            locks=lambda: [f"locked by {h.holder}: {h.reason}" for h in self._holds()],
            boot_id=self._clock.boot_id,
            runtime=self._journal.last_runtime,
            clock_synced=clock_synced,
        )

    def _deploy_desk(self, book: DeploymentBook) -> DeployDesk:
        instruments = Instruments(
            book=book,
            slots=self._slots,
            blobs=self._blobs,
            make_puller=self._puller,
            measure=self._measure,
            self_test=self._self_test,
            view=self._view,
            check=self._worker.check,
            threads=self._settings.threads,
        )
        activating = Activating(
            book=book,
            slots=self._slots,
            self_test=self._self_test,
            measure=self._measure,
            view=self._view,
            check=self._worker.check,
            boot_id=self._clock.boot_id,
            runtime=self._journal.last_runtime,
            threads=self._settings.threads,
        )
        return DeployDesk(
            book,
            self._answers,
            self._slots,
            Preparing(instruments),
            activating,
            self._holds,
            self._life.signs,
            self._settings.probation_s,
        )

    def _puller(self, check: Callable[[], None]) -> Puller:
        silence_s = self._settings.silence_s
        return Puller(
            self._blobs,
            self._mailbox,
            self._post.ask,
            check,
            silence_s,
            online=lambda: self.daemon.connected,
        )

    def _measure(self, plan: MeasurePlan, lock_timeout_s: float) -> supervise.MeasureOutcome:
        return supervise.measure(
            plan,
            argv_prefix=self._settings.worker_argv,
            lock=self._machine_lock,
            lock_timeout_s=lock_timeout_s,
            proc_root=self._settings.proc_root,
            sys_root=self._settings.sys_root,
            known_runtime=self._journal.last_runtime() or None,
            cancelled=self._worker.cancelled,
        )

    def _self_test(
        self, model: Path, probe: GoldenFile | None, tolerance_lsb: int
    ) -> supervise.SelfTest:
        return supervise.self_test(
            model,
            probe,
            self._settings.threads,
            tolerance_lsb=tolerance_lsb,
            argv_prefix=self._settings.worker_argv,
            cancelled=self._worker.cancelled,
        )

    def _holds(self) -> tuple[Hold, ...]:
        return self._locks.holds()

    def _trim(self) -> None:
        self._blobs.trim()

    def _tell_of_locks(self, presence: Presence) -> None:
        ignored = self._locks.look().ignored
        presence.troubles.standing.pop("locks", None)
        if ignored:
            presence.troubles.standing["locks"] = "; ".join(ignored)

    def _view(self) -> DeviceView:
        runtime = self._journal.last_runtime()
        return DeviceView(
            fleet=self._settings.fleet,
            device_id=self._settings.device_id,
            profile=self._settings.profile,
            keys=self._keys,
            now=datetime.fromtimestamp(time.time(), timezone.utc),
            clock_trusted=self._time.trusted(),
            arch=self._board.machine,
            cpu_features=frozenset(self._board.cpu_features),
            runtime=runtime,
            free_bytes=self._blobs.room_bytes(),
            has_blob=lambda digest: self._blobs.path(digest).exists(),
            broken_reason=lambda bundle: self._journal.strikes.broken_reason(
                subject_of(bundle), runtime
            ),
        )


def hold_state_directory(directory: Path) -> int:
    """Create the state directory and lock it for this process.

    Returns:
        The descriptor that holds the lock until it is closed.

    Raises:
        StoreError: It cannot be created, or another daemon holds it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"expected a writable state directory {directory}, got {error}; "
            "create it for this user or pass another --state-dir"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StoreError(
            f"expected {directory} for this daemon alone, another one is using it; "
            "stop that one or pass another --state-dir"
        ) from error
    return descriptor


def _blob_store(settings: AgentSettings) -> BlobStore:
    reserve_mb = settings.disk_reserve_mb
    return BlobStore(
        settings.state_dir,
        cap_bytes=settings.disk_cap_mb * MIB,
        reserve_bytes=None if reserve_mb is None else reserve_mb * MIB,
    )


def _load_keys(paths: tuple[Path, ...]) -> Mapping[str, bytes]:
    return dict(load_verify_key(path) for path in paths) if can_verify() else {}
