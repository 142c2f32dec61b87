"""Tokens and the two messages of enrolment: what is read back, and what is refused."""

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from firmware_bridge.wire.counters import (
    COUNTERS_CAP,
    SlotCounter,
    encode_counters,
    read_counters,
)
from firmware_bridge.wire.enrolment import (
    REQUEST_CAP_BYTES,
    EnrolReply,
    EnrolRequest,
    Token,
    encode_enrolment,
    parse_token,
    read_reply,
    read_request,
)
from firmware_bridge.wire.errors import WireError

TOKEN = Token("broker.example", 8884, "ab" * 32, "5c" * 20)
CSR = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
REQUEST = EnrolRequest(
    secret="5c" * 20, device_id="pi4-1", board="10000000abc", csr=CSR, facts={"arch": "aarch64"}
)
REPLY = EnrolReply(
    status="enrolled",
    request="1f",
    device_id="pi4-1",
    fleet="lab",
    profile="generic",
    broker="mqtts://broker.example:8883",
    certificate=PEM,
    ca=PEM,
    verify_keys=(PEM,),
    counters=(
        SlotCounter(slot="main", counter=12, manifest_sha256="ab" * 32),
        SlotCounter(slot="ears", counter=3),
    ),
)


@pytest.mark.parametrize("host", ["broker.example", "192.0.2.7", "2001:db8::7"])
def test_a_token_is_one_word_and_reads_back(host: str) -> None:
    token = replace(TOKEN, host=host)
    text = token.text()
    assert parse_token(f" {text}\n") == token
    assert text.isascii()
    assert not set(text) & set(" +/=$\"'\\")
    assert "5c5c" not in repr(token), "the secret is in no log"


def test_any_slip_in_a_token_is_noticed() -> None:
    text, rng = TOKEN.text(), random.Random(5)
    slips = {
        text[:-1],
        text + "A",
        text[:40],
        "edgenas1-",
        "",
        "nonsense",
        text.replace("1-", "2-"),
    }
    for _ in range(100):
        at = rng.randrange(len("edgenas1-"), len(text) - 1)
        slips.add(text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :])
        slips.add(text[:at] + text[at + 1 :])
    for slip in slips:
        with pytest.raises(WireError) as refused:
            parse_token(slip)
        assert slip not in str(refused.value) or len(slip) < 20


def test_both_messages_read_back() -> None:
    assert read_request(encode_enrolment(REQUEST)) == REQUEST
    assert read_reply(encode_enrolment(REPLY)) == REPLY
    waiting = EnrolReply(status="waiting", request="1f", detail="a person decides", retry_s=3)
    assert read_reply(encode_enrolment(waiting)) == waiting
    assert "5c5c" not in repr(REQUEST)
    assert read_counters(encode_counters(REPLY.counters)) == REPLY.counters


def test_an_older_server_tells_no_counters() -> None:
    older = json.loads(encode_enrolment(REPLY))
    del older["counters"]
    assert read_reply(json.dumps(older).encode()) == replace(REPLY, counters=())


@pytest.mark.parametrize(
    "counters",
    [
        [{"slot": "main", "counter": 1}] * (COUNTERS_CAP + 1),
        [{"slot": "main", "counter": -1}],
        [{"slot": "a/b", "counter": 1}],
        [{"slot": "main", "counter": 1, "manifest_sha256": "ab"}],
        [{"counter": 1}],
    ],
)
def test_counters_that_are_none_are_refused(counters: list[dict[str, Any]]) -> None:
    reply = {**json.loads(encode_enrolment(REPLY)), "counters": counters}
    with pytest.raises(WireError):
        read_reply(json.dumps(reply).encode())
    with pytest.raises(WireError):
        read_counters(json.dumps({"counters": counters}).encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("secret", "5c" * 19),
        ("secret", "ZZ" * 20),
        ("secret", 5),
        ("device_id", "Not An Id"),
        ("device_id", "host"),
        ("device_id", "a" * 41),
        ("board", "x" * 129),
        ("board", "a\nb"),
        ("csr", "no request"),
        ("csr", CSR + "A" * 9000),
        ("facts", {"a": 1}),
        ("facts", {str(number): "x" for number in range(40)}),
    ],
)
def test_a_hostile_request_is_refused(name: str, value: Any) -> None:
    body = json.loads(encode_enrolment(REQUEST)) | {name: value}
    with pytest.raises(WireError):
        read_request(json.dumps(body).encode())


def test_a_request_that_is_too_long_or_no_json_is_refused() -> None:
    for raw in (b" " * (REQUEST_CAP_BYTES + 1), b"", b"{", b"[]", b"\xff", b"[" * 9 + b"]" * 9):
        with pytest.raises(WireError):
            read_request(raw)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("device_id", ""),
        ("device_id", "../../etc"),
        ("profile", "a/b"),
        ("fleet", ""),
        ("certificate", ""),
        ("ca", "x"),
        ("verify_keys", ["x"]),
        ("verify_keys", [PEM] * 5),
        ("retry_s", 0),
    ],
)
def test_a_hostile_server_is_refused(name: str, value: Any) -> None:
    body = json.loads(encode_enrolment(REPLY)) | {name: value}
    with pytest.raises(WireError):
        read_reply(json.dumps(body).encode())
