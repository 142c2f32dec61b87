"""Collects what devices have learnt: retained messages, files, and the run folder's own copies.

A folder keeps the latest round of every learner and model with the device that it belongs to, so
that a device may be gone when heads are merged. Leaves what may be added up to `head_claims`, the
sums to `firmware_bridge.wire.heads`, shipping to `edgenas.campaign.heads`.
"""

from __future__ import annotations

import logging
import queue
import ssl
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from edgenas.fleet.errors import HeadError
from edgenas.fleet.head_claims import Chosen, Collected, choose, left_in
from edgenas.whole_file import write_whole
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.heads import HEAD_CAP_BYTES, contribution_of, to_text
from firmware_bridge.wire.link import LinkEvent, Received
from firmware_bridge.wire.messages import Contribution
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import RESULT_CAP_BYTES, new_id

CONNECT_S = 10.0
_SUFFIX = ".contribution.json"
_DOTS = 2 + _SUFFIX.count(".")  # in the name of a kept file: model, learner, device
_NO_DEVICE = "_file"  # no device has a name with an underscore

_log = logging.getLogger(__name__)


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
    if not isinstance(message, Contribution):
        return []
    return [Collected(address.device, message, address.device)]


def keep(
    folder: Path,
    collected: Sequence[Collected],
    model: str,
    leave_out: Collection[str] = (),
    dimension: int | None = None,
) -> Chosen:
    """Choose what may be added up for a model, of what is kept and what came; keep it.

    Args:
        folder: Of the kept contributions; made if missing.
        collected: What came now; those for other models are left alone.
        model: SHA-256 of the model.
        leave_out: Devices and learners that are neither looked at nor kept anew.
        dimension: See `choose`.

    Raises:
        HeadError: Not writable or damaged.
    """
    before, come = read_kept(folder), left_in(collected, leave_out)
    kept = left_in((each for each in before if each.contribution.model == model), leave_out)
    come = [each for each in come if each.contribution.model == model]
    chosen = choose(kept, come, dimension)
    for each in chosen.collected:
        path = folder / _kept_name(each)
        if each.contribution not in [k.contribution for k in kept if k.source == str(path)]:
            _write(path, to_text(each.contribution, "contribution"))
        for older in kept:  # it came by a file, before its device was known
            if older.learner == each.learner and older.device is None and older.source != str(path):
                Path(older.source).unlink(missing_ok=True)
    return chosen


def read_kept(folder: Path) -> list[Collected]:
    """All that is kept, for any model.

    Raises:
        HeadError: A file is damaged.
    """
    return [
        Collected(str(path), _read(path), _device_in(path.name))
        for path in sorted(folder.glob(f"*{_SUFFIX}"))
    ]


def _kept_name(each: Collected) -> str:
    known = each.contribution
    return f"{known.model}.{known.learner}.{each.device or _NO_DEVICE}{_SUFFIX}"


def _device_in(name: str) -> str | None:
    """The device in the name of a kept file; those of an earlier version name the learner alone."""
    *_, device = name.removesuffix(_SUFFIX).split(".")
    return device if name.count(".") == _DOTS and device != _NO_DEVICE else None


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, raw)
    except OSError as error:
        raise HeadError(f"{path}: expected to write it, got {error}; free disk space") from error
