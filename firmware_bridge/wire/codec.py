"""Turns messages into bytes and back: the envelope, its version and its caps.

``{"v":1,"kind":"...","t":{...},"body":{...}}`` in UTF-8. Which fields a kind has is left to
its dataclass, see ``messages`` and ``shape``; raw chunks of blobs never pass through here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from firmware_bridge.wire.errors import DecodeError, IncompatibleError, OverCapError
from firmware_bridge.wire.jsontext import parse
from firmware_bridge.wire.messages import KINDS, Message
from firmware_bridge.wire.shape import plain, read
from firmware_bridge.wire.values import RESULT_CAP_BYTES, check_word

VERSION = 1
PROTO = (1, 1)  # lowest and highest version spoken here


@dataclass(frozen=True)
class Stamp:
    """When a device said something, by its own clocks.

    Attributes:
        boot_id: Identifies the boot that ``mono_us`` counts from.
        mono_us: Monotonic clock, microseconds; the only one to take differences of.
        wall_ms: Wall clock, milliseconds since 1970.
        clock_synced: The wall clock is synchronised.
    """

    boot_id: str
    mono_us: int
    wall_ms: int
    clock_synced: bool

    def __post_init__(self) -> None:
        check_word(self.boot_id, "boot_id")


@dataclass(frozen=True)
class Envelope:
    """A decoded message with what surrounded it.

    Attributes:
        v: Wire version.
        kind: Message kind.
        t: Sender's stamp, None if it sent none.
        message: The message, an instance of ``KINDS[kind]``.
    """

    v: int
    kind: str
    t: Stamp | None
    message: Message


@dataclass(frozen=True)
class _Head:
    v: int
    kind: str
    body: Any  # read by the kind's own rules
    t: Stamp | None = None


def encode(message: Message, t: Stamp | None = None) -> bytes:
    """Serialise a message.

    Args:
        message: What to say.
        t: The device's stamp; the host and a Will send none.

    Raises:
        OverCapError: Longer than its kind may be.
        DecodeError: A value is not of its field's type, so that no reader would take it.
    """
    body = plain(message)
    read(type(message), body, message.kind, "body")
    envelope = {"v": VERSION, "kind": message.kind}
    if t is not None:
        envelope["t"] = plain(t)
    envelope["body"] = body
    raw = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
    if len(raw) > message.cap_bytes:
        raise OverCapError(message.kind, message.cap_bytes, len(raw))
    return raw


def decode(payload: bytes, cap_bytes: int = RESULT_CAP_BYTES) -> Envelope:
    """Read a message from outside.

    Args:
        payload: Bytes as received.
        cap_bytes: Greatest length to look at; the cap of the kind found applies as well.

    Raises:
        OverCapError: Too long or nested too deeply.
        IncompatibleError: A newer wire version.
        DecodeError: Anything else that is not as agreed; names kind, field, expected, got.
    """
    raw = parse(payload, cap_bytes, "?")
    _check_version(raw)
    head = read(_Head, raw, "?", "envelope")
    cls = KINDS.get(head.kind)
    if cls is None:
        raise DecodeError(head.kind, "kind", "one of " + ", ".join(KINDS), head.kind)
    if len(payload) > cls.cap_bytes:
        raise OverCapError(head.kind, cls.cap_bytes, len(payload))
    return Envelope(head.v, head.kind, head.t, read(cls, head.body, head.kind, "body"))


def _check_version(raw: object) -> None:
    version = raw.get("v") if isinstance(raw, dict) else None
    if type(version) is int and version > PROTO[1]:
        raise IncompatibleError(PROTO, version)
    if isinstance(raw, dict) and (type(version) is not int or version < PROTO[0]):
        raise DecodeError("?", "envelope.v", f"a whole number from {PROTO[0]}", version)
