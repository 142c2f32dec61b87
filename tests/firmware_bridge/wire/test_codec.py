"""Encoding and decoding: golden files, growth by adding, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.wire.codec import Envelope, decode, encode
from firmware_bridge.wire.errors import (
    DecodeError,
    IncompatibleError,
    InvalidValueError,
    OverCapError,
    WireError,
)
from firmware_bridge.wire.messages import (
    KINDS,
    Ack,
    BlobRequest,
    Event,
    Facts,
    JobFailed,
    Leg,
    MeasureJob,
    Measurement,
    Message,
    State,
    Wish,
)
from tests.firmware_bridge.wire.samples import MESSAGES, STAMP

GOLDEN = Path(__file__).parent / "golden"
CAP = 65_536


def golden(kind: str) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((GOLDEN / f"{kind}.json").read_text())
    return raw


def dumped(raw: object) -> bytes:
    return json.dumps(raw).encode()


def refusal(raw: object) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(dumped(raw), CAP)
    return caught.value


def with_field(kind: str, name: str, value: object) -> dict[str, Any]:
    raw = golden(kind)
    raw["body"][name] = value
    return raw


def test_every_kind_has_a_sample_and_a_golden_file() -> None:
    assert {message.kind for message in MESSAGES} == set(KINDS)
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(KINDS)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
def test_golden_files_read_as_they_always_did(message: Message) -> None:
    raw = (GOLDEN / f"{message.kind}.json").read_bytes()
    assert decode(raw, CAP) == Envelope(1, message.kind, STAMP, message)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
def test_messages_are_written_as_the_golden_files_say(message: Message) -> None:
    assert json.loads(encode(message, STAMP)) == golden(message.kind)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
def test_unknown_fields_are_ignored(message: Message) -> None:
    raw = golden(message.kind)
    raw["later"] = {"a": 1}
    raw["body"]["later"] = [1, {"b": None}]
    raw["t"]["later"] = 1
    assert decode(dumped(raw), CAP).message == message


@pytest.mark.parametrize(
    ("kind", "name"),
    [("ack", "rev"), ("measurement", "verdict"), ("measure_job", "model"), ("facts", "profile")],
)
def test_a_missing_required_field_is_refused_by_name(kind: str, name: str) -> None:
    raw = golden(kind)
    del raw["body"][name]
    error = refusal(raw)
    assert (error.kind, error.field) == (kind, f"body.{name}")
    assert "required" in error.expected


def test_a_missing_optional_field_takes_its_default() -> None:
    raw = golden("measure_job")
    for name in ("golden", "leg", "warmup_ms", "quiet", "cpus"):
        del raw["body"][name]
    job = decode(dumped(raw), CAP).message
    assert isinstance(job, MeasureJob)
    assert (job.golden, job.leg, job.warmup_ms, job.cpus) == (None, None, 1000, ())
    assert job.quiet.window_ms == 3000


def test_no_stamp_is_needed() -> None:
    assert decode(encode(Ack(attempt=1, rev=2)), CAP).t is None


@pytest.mark.parametrize(
    ("kind", "name", "value", "expected"),
    [
        ("ack", "rev", "3", "whole number"),
        ("ack", "rev", True, "whole number"),
        ("ack", "rev", 1.0, "whole number"),
        ("ack", "rev", 2**63, "whole number"),
        ("ack", "rev", None, "whole number"),
        ("host_state", "online", 1, "true or false"),
        ("job_failed", "detail", 7, "string"),
        ("job_failed", "detail", "\ud800", "surrogates"),
        ("job_failed", "code", 7, "string"),
        ("state", "proto", [1], "list of 2"),
        ("state", "proto", {"a": 1}, "list"),
        ("state", "slots", [], "object"),
        ("facts", "keyids", "abc", "list"),
        ("measure_job", "threads", 0, "1 to 256"),
        ("measure_job", "model", "abc", "object"),
        ("blob_request", "want", "1f", "4 bits"),
        ("blob_request", "want", "0", "4 bits"),
        ("blob_request", "want", "g", "hex"),
        ("blob_request", "digest", "AB" * 32, "hex"),
        ("wish", "deployment", None, "id beside a release"),
        ("deploy_report", "log_tail", "ü" * 4097, "8192"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    kind: str, name: str, value: object, expected: str
) -> None:
    error = refusal(with_field(kind, name, value))
    assert error.kind == kind
    assert error.field.startswith(f"body.{name}")
    assert expected in error.expected


@pytest.mark.parametrize("value", [-1, 2**53, 2**63 - 1])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("state", "sess"),
        ("host_state", "sess"),
        ("wish", "rev"),
        ("event", "attempt"),
        ("event", "rev"),
        ("ack", "attempt"),
        ("ack", "rev"),
        ("job_failed", "attempt"),
        ("job_failed", "rev"),
        ("measurement", "attempt"),
        ("measurement", "rev"),
        ("deploy_report", "attempt"),
        ("deploy_report", "rev"),
        ("deploy_report", "counter"),
        ("blob_request", "first"),
    ],
)
def test_what_is_counted_on_from_stays_far_from_the_end_of_its_range(
    kind: str, name: str, value: int
) -> None:
    error = refusal(with_field(kind, name, value))
    assert (error.field, error.got) == (f"body.{name}", value)
    assert decode(dumped(with_field(kind, name, 2**53 - 1)), CAP)


@pytest.mark.parametrize("value", [-1, 2**53, 2**63 - 1])
@pytest.mark.parametrize("name", ["wish_rev", "counter"])
def test_a_slot_counts_within_the_same_range(name: str, value: int) -> None:
    raw = golden("state")
    raw["body"]["slots"]["main"][name] = value
    assert refusal(raw).field == f"body.slots.main.{name}"


@pytest.mark.parametrize("word", ["a\0b", "a\nb", "\x1b[2J", "x" * 129])
def test_what_no_log_and_no_database_could_hold_is_no_id(word: str) -> None:
    named = [("state", "install_id"), ("measurement", "fingerprint_sha256")]
    named += [("deploy_report", "active"), ("deploy_report", "previous")]
    for kind, name in named:
        assert refusal(with_field(kind, name, word)).field == f"body.{name}"
    for name in ("active", "previous", "phase", "deployment"):
        raw = golden("state")
        raw["body"]["slots"]["main"][name] = word
        assert refusal(raw).field == f"body.slots.main.{name}"
    raw = golden("ack")
    raw["t"]["boot_id"] = word
    assert refusal(raw).field == "envelope.t.boot_id"


def test_the_path_leads_to_the_wrong_sample() -> None:
    raw = golden("measurement")
    raw["body"]["legs"][1]["samples_ns"][1] = "slow"
    error = refusal(raw)
    assert error.field == "body.legs[1].samples_ns[1]"
    assert error.got == "slow"


def test_negative_samples_are_refused() -> None:
    raw = golden("measurement")
    raw["body"]["legs"][0]["samples_ns"] = [5, -1]
    assert refusal(raw).field == "body.legs[0].samples_ns"


def test_samples_come_as_plain_integers() -> None:
    message = decode(encode(MESSAGES[8], STAMP), CAP).message
    assert isinstance(message, Measurement)
    assert message.legs[0].samples_ns == (201_000, 200_100)
    assert isinstance(message.legs[0], Leg)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("measurement", "verdict"),
        ("job_failed", "code"),
        ("event", "state"),
        ("state", "status"),
        ("deploy_report", "outcome"),
        ("blob_refused", "code"),
    ],
)
def test_an_enum_value_of_a_later_version_reads_as_unknown(kind: str, name: str) -> None:
    message = decode(dumped(with_field(kind, name, "from_the_future")), CAP).message
    assert getattr(message, name) == "UNKNOWN"


def test_an_enum_without_unknown_refuses() -> None:
    raw = golden("measurement")
    raw["body"]["legs"][0]["model"] = "X"
    assert refusal(raw).expected == "one of R, C"


def test_a_higher_version_is_incompatible_even_if_all_else_changed() -> None:
    with pytest.raises(IncompatibleError) as caught:
        decode(b'{"v":2,"novel":true}', CAP)
    assert caught.value.got == 2


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff\xfe", b"[1]", b"null", b'{"v":0}', b'{"v":"1"}', b'{"v":true}', b"1 2"],
)
def test_what_is_no_envelope_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(raw, CAP)


def test_an_unknown_kind_is_refused() -> None:
    assert refusal({"v": 1, "kind": "gossip", "body": {}}).field == "kind"


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
def test_numbers_that_are_none_are_refused(text: str) -> None:
    raw = json.dumps(with_field("measurement", "energy_mj", 0.5)).replace("0.5", text)
    with pytest.raises(DecodeError):
        decode(raw.encode(), CAP)


def test_a_name_that_occurs_twice_is_refused() -> None:
    with pytest.raises(DecodeError, match="twice"):
        decode(b'{"v":1,"kind":"ack","body":{"attempt":1,"rev":1,"rev":2}}', CAP)


def test_length_is_capped_before_parsing() -> None:
    with pytest.raises(OverCapError) as caught:
        decode(b"not even JSON" * 10, 100)
    assert (caught.value.cap, caught.value.got) == (100, 130)


def test_a_control_message_has_a_lower_cap_than_a_result() -> None:
    raw = golden("ack")
    raw["later"] = "x" * 20_000
    with pytest.raises(OverCapError, match="ack"):
        decode(dumped(raw), CAP)


def test_depth_is_capped_before_parsing() -> None:
    deep = b'{"v":1,"kind":"facts","body":{"fingerprint":' + b"[" * 7 + b"1"
    with pytest.raises(OverCapError, match="nesting"):
        decode(deep + b"]" * 7 + b"}}", CAP)
    with pytest.raises(OverCapError, match="nesting"):
        decode(b"[" * CAP, CAP)


def test_brackets_in_strings_are_no_depth() -> None:
    message = Event(attempt=1, rev=1, state="PULLING", detail='[[[[[[[[[["{{{{{{{{{{\\')
    assert decode(encode(message), CAP).message == message


def test_what_nobody_could_read_is_not_written() -> None:
    with pytest.raises(DecodeError, match="detail"):
        encode(Event(attempt=1, rev=1, state="PULLING", detail=2))  # type: ignore[arg-type]
    with pytest.raises(OverCapError):
        encode(JobFailed(attempt=1, rev=1, code="INTERNAL", detail="x" * CAP, retryable=True))
    with pytest.raises(OverCapError):
        encode(State(online=True, sess=1, install_id="x", error="x" * 16_384))


def test_a_message_checks_its_own_values() -> None:
    with pytest.raises(InvalidValueError, match="want"):
        BlobRequest(digest="1a" * 32, first=0, want="ff")
    with pytest.raises(InvalidValueError, match="rev"):
        Wish(rev=-1)


def test_text_beyond_ascii_survives() -> None:
    facts = Facts(
        profile=None,
        fingerprint={"board": "Gerät – μ 板", "nested": {"list": [1, 2.5, None, True, "x"]}},
        ram_bytes=0,
        disk_free_bytes=0,
        measure=False,
        can_verify=False,
    )
    assert decode(encode(facts), CAP).message == facts


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise_anything_else(raw: bytes) -> None:
    with pytest.raises(WireError):
        decode(raw, CAP)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(KINDS)), st.data(), JSON)
def test_any_value_in_any_field_reads_or_is_refused(
    kind: str, data: st.DataObject, value: object
) -> None:
    raw = golden(kind)
    raw["body"][data.draw(st.sampled_from([*sorted(raw["body"]), "later"]))] = value
    try:
        message = decode(dumped(raw), CAP).message
    except WireError:
        return
    assert decode(encode(message), CAP).message == message
