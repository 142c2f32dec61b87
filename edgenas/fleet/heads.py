"""Collects what devices have learnt: retained messages, files, and the run folder's own copies.

A folder keeps the latest round of every learner and model, so that a device may be gone when heads
are merged. Leaves the sums to `firmware_bridge.wire.heads`, shipping to `edgenas.campaign.heads`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgenas.fleet.errors import HeadError
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.heads import HEAD_CAP_BYTES, contribution_of, merge, to_text
from firmware_bridge.wire.link import LinkEvent, Received
from firmware_bridge.wire.messages import Contribution
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import RESULT_CAP_BYTES, new_id

CONNECT_S = 10.0
_SUFFIX = ".contribution.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collected:
    """A contribution, and where it came from: a device, or a file."""

    source: str
    contribution: Contribution


def read_files(paths: Iterable[Path]) -> list[Collected]:
    """Contributions that `edgenas-device learn --export` wrote.

    Raises:
        HeadError: A file cannot be read, or is none.
    """
    return [Collected(str(path), _read(path)) for path in paths]


def collect(
    url: str, fleet: str, listen_s: float, tls: ssl.SSLContext | None = None
) -> list[Collected]:
    """What the devices of a fleet have handed out, by device; they need not be online.

    Only listens, under a name of its own. A message that is none is left out and logged.

    Args:
        url: Where the broker is.
        fleet: Name of the fleet.
        listen_s: For so long.
        tls: Settings for a broker that asks for a certificate.

    Raises:
        BrokerUnreachableError: Nobody answers at `url`.
    """
    topics = Topics(fleet)
    heard: queue.SimpleQueue[LinkEvent] = queue.SimpleQueue()
    link = MqttLink(url, f"heads-{new_id()}", session_expiry_s=0, tls=tls)
    link.subscribe(topics.host_filters()[0].replace("#", "+/head/+"))
    link.open(heard.put, None)
    try:
        link.wait_connected(CONNECT_S)
        time.sleep(listen_s)  # retained messages arrive at once
    finally:
        link.close()
    found: list[Collected] = []
    while not heard.empty():
        event = heard.get()
        if isinstance(event, Received):
            found += _heard(topics, event)
    return sorted(found, key=lambda each: each.source)


def _heard(topics: Topics, event: Received) -> list[Collected]:
    address = topics.parse(event.topic)
    if address is None or not event.payload:
        return []
    try:
        message = decode(event.payload, RESULT_CAP_BYTES).message
    except WireError as error:
        _log.warning("device %s: head left out: %s", address.device, error)
        return []
    return [Collected(address.device, message)] if isinstance(message, Contribution) else []


def keep(folder: Path, collected: Sequence[Collected], model: str) -> list[Contribution]:
    """Keep the latest round of every learner of a model; returns all that are kept now.

    Args:
        folder: Of the kept contributions; made if missing.
        collected: What came now; those for other models are left out.
        model: SHA-256 of the model.

    Raises:
        HeadError: Not writable or damaged, or one round of one learner came with two contents.
    """
    kept = read_kept(folder)
    ours = [each for each in [*kept, *(c.contribution for c in collected)] if each.model == model]
    _check_agree(ours)
    latest: dict[str, Contribution] = {}
    for each in ours:
        if each.learner not in latest or each.round > latest[each.learner].round:
            latest[each.learner] = each
    for each in latest.values():
        if each not in kept:
            _write(folder / f"{each.learner}{_SUFFIX}", to_text(each, "contribution"))
    return [each for _, each in sorted(latest.items())]


def read_kept(folder: Path) -> list[Contribution]:
    """All that is kept, for any model.

    Raises:
        HeadError: A file is damaged.
    """
    return [_read(path) for path in sorted(folder.glob(f"*{_SUFFIX}"))]


def _check_agree(contributions: Sequence[Contribution]) -> None:
    """Merging refuses what contradicts itself; nothing of it is kept."""
    if contributions:
        try:
            merge(contributions)
        except WireError as error:
            raise HeadError(f"what devices have learnt does not fit together: {error}") from error


def _read(path: Path) -> Contribution:
    try:
        with path.open("rb") as stream:
            return contribution_of(stream.read(HEAD_CAP_BYTES + 1))
    except (OSError, WireError) as error:
        raise HeadError(
            f"{path}: expected what `edgenas-device learn --export` writes, got {error}; export it "
            "again, or delete the file"
        ) from error


def _write(path: Path, raw: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise HeadError(f"{path}: expected to write it, got {error}; free disk space") from error
