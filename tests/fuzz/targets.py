"""Every parser of what comes from outside, as a function of bytes with seeds from real messages.

A target returns for sound bytes, and for bytes that its parser refuses by one of its own errors;
anything else that is raised is a find. Where a value can be written again, it is: what was read
must be writable, and must read the same. Needs nothing beyond what the host's base and the device
need, so that an environment with atheris alone can run it. Leaves running them to `run_one`, what
boards and hosts say before they know each other to `enrolling`, signed statements to `inventories`,
and what people write to `written`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import struct
from functools import cache, partial
from pathlib import Path

from edgenas.broker import decoding, topics
from edgenas.broker.errors import PacketError
from edgenas.broker.fields import Framer
from edgenas.fleet.errors import FleetError
from edgenas.fleet.releases import read_unverified
from firmware_bridge.agent.acceptance import claims_back
from firmware_bridge.bench.container import flaw_of
from firmware_bridge.bench.stub import STUB_MODEL
from firmware_bridge.runtimes.errors import InterpreterError
from firmware_bridge.runtimes.features import with_features
from firmware_bridge.wire import jsontext, signing
from firmware_bridge.wire.blobs import ChunkMap, chunk_offsets
from firmware_bridge.wire.broker_url import parse_broker_url
from firmware_bridge.wire.codec import decode, encode
from firmware_bridge.wire.errors import BridgeError, OverCapError, WireError
from firmware_bridge.wire.heads import MergedHead, contribution_of, to_text
from firmware_bridge.wire.messages import KINDS, BlobRequest
from firmware_bridge.wire.release import PAYLOAD_TYPE, ReleaseManifest
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import RESULT_CAP_BYTES, BlobRef
from tests.fuzz import enrolling, inventories, written
from tests.fuzz.target import Target, in_file

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "firmware_bridge" / "wire" / "golden"
PACKET_CAP_BYTES = 1 << 16
# What has broken parsers elsewhere: deep nesting, numbers beyond every limit, text that is no text.
HOSTILE = (
    b"[" * 3000,
    b'{"a":' * 3000,
    b"x = " + b"[" * 3000,
    b"x = " + b"9" * 5000,
    b"x = 1e999\ny = nan\nz = 0x" + b"f" * 4000,
    b"[" + b"9" * 5000 + b"]",
    b'"' + b"\\" * 4001,
    b'"\\ud800"',
    b"\xff\xfe" * 100,
    b"\x00" * 64,
    b"x" + b".x" * 2000 + b" = 1",
    b"[" + b"x." * 2000 + b"x]",
    b"-" * 100 + b"1",
)
SIZE_CAP_BYTES = 8192


# `tests.firmware_bridge.heads.tiny_classifier`, which needs more to be written than to be read.
CLASSIFIER = base64.b64decode((Path(__file__).parent / "classifier.b64").read_bytes())


def _golden(kind: str) -> bytes:
    return (GOLDEN / f"{kind}.json").read_bytes()


def _compact(raw: bytes) -> bytes:
    return json.dumps(json.loads(raw), separators=(",", ":"), ensure_ascii=False).encode()


def _envelope(data: bytes) -> None:
    try:
        read = decode(data)
    except WireError:
        return
    with contextlib.suppress(OverCapError):  # \u escapes may be shorter than what they stand for
        assert decode(encode(read.message, read.t), RESULT_CAP_BYTES).message == read.message


def _kind(kind: str, data: bytes) -> None:
    """Bytes as the body of a message of that kind."""
    _envelope(b'{"v":1,"kind":"%b","body":%b}' % (kind.encode(), data))


def _body(kind: str) -> list[bytes]:
    return [_compact(json.dumps(json.loads(_golden(kind))["body"]).encode())]


def _json(data: bytes) -> None:
    with contextlib.suppress(WireError):
        jsontext.parse(data, RESULT_CAP_BYTES, "fuzz")


def _manifest(data: bytes) -> None:
    try:
        manifest = ReleaseManifest.from_bytes(data)
    except WireError:
        return
    manifest.bundle_id()
    with contextlib.suppress(OverCapError):
        assert ReleaseManifest.from_bytes(manifest.to_bytes()) == manifest


@cache
def _key() -> signing.SigningKey:
    return signing.SigningKey.generate()


def _dsse(data: bytes) -> None:
    with contextlib.suppress(BridgeError):
        envelope = jsontext.parse(data, RESULT_CAP_BYTES, "envelope")
        if isinstance(envelope, dict):
            keys = {_key().key_id: _key().public_bytes}
            # what anybody else has signed never passes
            assert signing.verify(envelope, keys, PAYLOAD_TYPE) == _manifest_bytes()


def _unverified(data: bytes) -> None:
    with contextlib.suppress(WireError, FleetError):
        envelope = jsontext.parse(data, RESULT_CAP_BYTES, "envelope")
        if isinstance(envelope, dict):
            read_unverified(envelope)


def _wished(data: bytes) -> None:
    """The same on the device, before it has checked anything."""
    with contextlib.suppress(WireError):
        release = jsontext.parse(data, RESULT_CAP_BYTES, "release")
        if isinstance(release, dict):
            claims_back(release)


def _manifest_bytes() -> bytes:
    return _compact((GOLDEN / "manifests" / "release.json").read_bytes())


def _signed() -> list[bytes]:
    return [json.dumps(_key().sign(_manifest_bytes(), PAYLOAD_TYPE)).encode()]


def _topic(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    address = Topics("lab").parse(text)
    if address is not None and address.direction != "host":
        levels = ["edgenas/v1/lab", address.direction, address.device, address.family]
        assert "/".join([*levels, *address.tail]) == text


def _topic_seeds() -> list[bytes]:
    spelt, digest = Topics("lab"), "1a" * 32
    job = "6f" * 16
    return [
        text.encode()
        for text in (
            spelt.state("dev-1"), spelt.facts("dev-1"), spelt.event("dev-1", job),
            spelt.result("dev-1", job), spelt.blob_request("dev-1"), spelt.head("dev-1", "main"),
            spelt.wish("dev-1", "main"), spelt.job("dev-1", job), spelt.ack("dev-1", job),
            spelt.chunk("dev-1", digest, 65536), spelt.refuse("dev-1", digest),
            spelt.resync("dev-1"), spelt.host_state(),
        )
    ]  # fmt: skip


def _url(data: bytes) -> None:
    with contextlib.suppress(WireError):
        parse_broker_url(data.decode("utf-8", "replace"))


def _blobs(data: bytes) -> None:
    """A blob of the first bytes' size, a request for it, and chunks that arrive at any offset."""
    if len(data) < 6:
        return
    size, shift, rest = *struct.unpack_from("<IB", data), data[5:]
    try:
        chunks = ChunkMap(size, 1 << (shift % 24))
        request = BlobRequest(digest="1a" * 32, first=size % 4096, want=rest[:16].decode("latin-1"))
        offsets = chunk_offsets(request, size, chunks.chunk_bytes)
        for offset in offsets:
            index = offset // chunks.chunk_bytes
            chunks.mark(offset, chunks.chunk_length(index))
        chunks.mark(int.from_bytes(rest[16:24], "little", signed=True), len(rest))
    except WireError:
        return
    assert 0 <= chunks.bytes_done <= size


def _blob_seeds() -> list[bytes]:
    return [struct.pack("<IB", 300_000, 16) + b"f" + bytes(24), struct.pack("<IB", 1, 14) + b"1"]


def _packets(version: int, data: bytes) -> None:
    """A stream of packets as the broker cuts and reads it; what was read can be written."""
    framer = Framer(PACKET_CAP_BYTES)
    with contextlib.suppress(PacketError):
        for first_byte, body in framer.feed(data):
            packet = decoding.decode(first_byte, body, version)
            spoken = getattr(packet, "version", version)
            again = next(Framer(2 * PACKET_CAP_BYTES).feed(packet.encode(spoken)))
            assert decoding.decode(*again, spoken) == packet


def _packet_seeds(version: int) -> list[bytes]:
    from edgenas.broker import packets

    will = packets.Will("edgenas/v1/lab/up/dev-1/state", b"{}", 1, True)
    made: list[packets.Packet] = [
        packets.Connect("dev-1", version, False, 30, will, "name", b"secret"),
        packets.Publish("edgenas/v1/lab/up/dev-1/state", _golden("state"), 1, True, False, 7),
        packets.Subscribe(3, (packets.Subscription("edgenas/v1/lab/dn/dev-1/job/+", 1),)),
        packets.Unsubscribe(4, ("edgenas/v1/lab/host/state",)),
        packets.Puback(7),
        packets.Pingreq(),
        packets.Disconnect(),
    ]
    return [packet.encode(version) for packet in made]


def _filters(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    one, _, other = text.partition("\n")
    if topics.filter_problem(one) is None and topics.topic_problem(other) is None:
        by_filter: topics.TopicTree[int] = topics.TopicTree()
        by_topic: topics.TopicTree[int] = topics.TopicTree()
        by_filter.put(one, 1)
        by_topic.put(other, 1)
        matches = list(by_filter.filters_matching(other))
        assert matches == list(by_topic.topics_matched(one))
        by_filter.remove(one)
        assert by_filter.get(one) is None


def _model_file(data: bytes) -> None:
    flaw_of(in_file(data, "model"))


def _features(data: bytes) -> None:
    with contextlib.suppress(InterpreterError):
        view = with_features(data)
        with contextlib.suppress(InterpreterError):
            with_features(view.model)  # has two outputs now, and is refused for that
            raise AssertionError("a view was taken for a classifier")


def _head(data: bytes) -> None:
    try:
        head = MergedHead.from_bytes(data)
    except WireError:
        return
    assert MergedHead.from_bytes(head.to_bytes()) == head


def _contribution(data: bytes) -> None:
    try:
        made = contribution_of(data)
    except WireError:
        return
    assert contribution_of(to_text(made, "contribution")) == made


def _merged_seed() -> list[bytes]:
    body = json.loads(_golden("head"))["body"]
    head = {name: body[name] for name in ("model", "dimension", "classes")}
    more = {"format": "edgenas-head/1", "included": {body["learner"]: body["round"]}}
    return [_compact(json.dumps(head | more).encode())]


def _refs(data: bytes) -> None:
    """A release file's own check, on sizes that JSON can hold."""
    if len(data) >= 16:
        size, chunk = struct.unpack_from("<qq", data)
        with contextlib.suppress(WireError):
            BlobRef(data[16:].decode("latin-1"), size, chunk)


def _verify_key(data: bytes) -> None:
    with contextlib.suppress(BridgeError):
        signing.load_verify_key(in_file(data, "verify.pub"))


def _key_seeds() -> list[bytes]:
    path = in_file(b"", "seed.pub")
    path.unlink()
    _key().save_public(path)
    return [path.read_bytes()]


def _all_golden() -> list[bytes]:
    return [_compact(_golden(kind)) for kind in KINDS]


TARGETS: dict[str, Target] = {
    "json": Target(_json, _all_golden),
    "envelope": Target(_envelope, _all_golden),
    **{f"kind-{kind}": Target(partial(_kind, kind), partial(_body, kind)) for kind in KINDS},
    "manifest": Target(_manifest, lambda: [_manifest_bytes()]),
    "dsse": Target(_dsse, _signed),
    "dsse-unverified": Target(_unverified, _signed),
    "dsse-wished": Target(_wished, _signed),
    "verify-key": Target(_verify_key, _key_seeds),
    "head-merged": Target(_head, _merged_seed),
    "head-contribution": Target(_contribution, lambda: _body("head")),
    "blobs": Target(_blobs, _blob_seeds),
    "blob-ref": Target(_refs, lambda: [struct.pack("<qq", 300_000, 65_536) + b"1a" * 32]),
    "topics": Target(_topic, _topic_seeds),
    "broker-url": Target(_url, lambda: [b"mqtts://name:secret@[::1]:8883", b"mqtt://pi.local"]),
    "packets-3": Target(partial(_packets, 4), partial(_packet_seeds, 4)),
    "packets-5": Target(partial(_packets, 5), partial(_packet_seeds, 5)),
    "filters": Target(_filters, lambda: [b"edgenas/v1/+/up/#\nedgenas/v1/lab/up/dev-1/state"]),
    "model-file": Target(_model_file, lambda: [STUB_MODEL]),
    "features": Target(_features, lambda: [STUB_MODEL, CLASSIFIER]),
    **enrolling.TARGETS,
    **inventories.TARGETS,
    **written.TARGETS,
}
