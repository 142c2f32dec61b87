"""The checks of a release, one by one and in their order, over plain values."""

import hashlib
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from firmware_bridge.agent.acceptance import (
    Accepted,
    DeviceView,
    Rejected,
    claims_back,
    judge,
    takes_back,
)
from firmware_bridge.store.slot_log import SlotRow
from firmware_bridge.wire.release import (
    PAYLOAD_TYPE,
    ReleaseFile,
    ReleaseManifest,
    Requires,
    Target,
)
from firmware_bridge.wire.signing import SigningKey

KEY = SigningKey.generate()
NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
VIEW = DeviceView(
    fleet="lab",
    device_id="board-1",
    profile="pi4",
    keys={KEY.key_id: KEY.public_bytes},
    now=NOW,
    clock_trusted=True,
    arch="aarch64",
    cpu_features=frozenset({"asimd"}),
    runtime="ai-edge-litert 2.1.2 xnnpack",
    free_bytes=1000,
    has_blob=lambda digest: False,
    broken_reason=lambda bundle: None,
)
MANIFEST = ReleaseManifest(
    fleet="lab",
    counter=4,
    target=Target("pi4"),
    files=(ReleaseFile("model", "a" * 64, 1000, 65536),),
    issued="2026-05-01T00:00:00Z",
    expires="2026-07-01T00:00:00Z",
)
SLOT = SlotRow("main", counter=2)


def outcome(
    manifest: ReleaseManifest = MANIFEST, row: SlotRow = SLOT, view: DeviceView = VIEW
) -> str:
    verdict = judge(KEY.sign(manifest.to_bytes(), PAYLOAD_TYPE), row, view)
    return verdict.code if isinstance(verdict, Rejected) else "accepted"


def test_what_fits_is_accepted_with_its_digest() -> None:
    verdict = judge(KEY.sign(MANIFEST.to_bytes(), PAYLOAD_TYPE), SLOT, VIEW)
    assert isinstance(verdict, Accepted)
    assert verdict.digest == hashlib.sha256(MANIFEST.to_bytes()).hexdigest()
    assert not verdict.already_installed
    assert not verdict.time_unverified


def test_only_known_keys_and_the_right_type_count() -> None:
    raw = MANIFEST.to_bytes()
    for envelope in (
        SigningKey.generate().sign(raw, PAYLOAD_TYPE),
        KEY.sign(raw, "application/json"),
        {**KEY.sign(raw, PAYLOAD_TYPE), "signatures": []},
        {},
    ):
        verdict = judge(envelope, SLOT, VIEW)
        assert isinstance(verdict, Rejected)
        assert verdict.code == "bad_signature"
    verdict = judge(KEY.sign(b'{"fleet": "lab"}', PAYLOAD_TYPE), SLOT, VIEW)
    assert isinstance(verdict, Rejected)
    assert verdict.code == "bad_manifest"


@pytest.mark.parametrize(
    "changes",
    [
        {"fleet": "other"},
        {"slot": "spare"},
        {"target": Target("pi5")},
        {"target": Target("pi4", "board-2")},
    ],
)
def test_another_target_is_refused(changes: dict[str, object]) -> None:
    assert outcome(replace(MANIFEST, **changes)) == "wrong_target"  # type: ignore[arg-type]
    assert outcome(replace(MANIFEST, target=Target("pi4", "board-1"))) == "accepted"


def test_the_counter_only_goes_up_but_the_same_manifest_may_come_again() -> None:
    digest = hashlib.sha256(MANIFEST.to_bytes()).hexdigest()
    assert outcome(row=replace(SLOT, counter=6)) == "old_counter"
    assert outcome(row=replace(SLOT, counter=4, manifest_sha256="b" * 64)) == "old_counter"
    assert outcome(row=replace(SLOT, counter=4, manifest_sha256=digest)) == "accepted"


def test_expiry_counts_only_on_a_clock_that_is_right() -> None:
    late = replace(VIEW, now=datetime(2026, 8, 1, tzinfo=timezone.utc))
    assert outcome(view=late) == "expired"
    doubtful = replace(late, clock_trusted=False)
    verdict = judge(KEY.sign(MANIFEST.to_bytes(), PAYLOAD_TYPE), SLOT, doubtful)
    assert isinstance(verdict, Accepted)
    assert verdict.time_unverified


def test_what_runs_already_needs_no_further_check() -> None:
    running = replace(SLOT, committed=MANIFEST.bundle_id())
    full = replace(VIEW, free_bytes=0)
    verdict = judge(KEY.sign(MANIFEST.to_bytes(), PAYLOAD_TYPE), running, full)
    assert isinstance(verdict, Accepted)
    assert verdict.already_installed


BACK = replace(MANIFEST, mode="back", counter=5, replaces_bundle="c" * 64)


def test_a_way_back_is_taken_only_from_the_bundle_it_replaces() -> None:
    there = replace(SLOT, committed="c" * 64, counter=4)
    assert outcome(BACK, there) == "accepted"
    assert outcome(BACK, replace(there, committed="d" * 64)) == "other_incumbent"
    assert outcome(BACK, replace(there, committed=None)) == "other_incumbent"
    assert outcome(BACK, replace(there, counter=6)) == "old_counter"
    marked = replace(VIEW, broken_reason={BACK.bundle_id(): "it crashed"}.get)
    assert outcome(BACK, there, marked) == "broken_here"


def test_a_way_back_without_files_empties_the_slot() -> None:
    empty = replace(BACK, files=())
    there = replace(SLOT, committed="c" * 64, counter=4)
    verdict = judge(KEY.sign(empty.to_bytes(), PAYLOAD_TYPE), there, VIEW)
    assert isinstance(verdict, Accepted)
    assert (verdict.bundle, verdict.already_installed) == (None, False)
    verdict = judge(KEY.sign(empty.to_bytes(), PAYLOAD_TYPE), SLOT, VIEW)
    assert isinstance(verdict, Accepted)
    assert verdict.already_installed


def test_a_way_back_from_what_is_in_probation_is_told_from_others() -> None:
    new, old = BACK.replaces_bundle, BACK.bundle_id()
    watched = replace(SLOT, committed=old, target=new, phase="PROBATION")
    assert takes_back(BACK, watched)
    assert not takes_back(BACK, replace(watched, target="d" * 64))
    assert not takes_back(BACK, replace(watched, committed="d" * 64))
    assert not takes_back(replace(MANIFEST, replaces_bundle=new), watched)
    assert outcome(BACK, watched) == "accepted"


def test_what_calls_itself_a_way_back_is_noticed_before_any_check() -> None:
    signed = SigningKey.generate().sign(BACK.to_bytes(), PAYLOAD_TYPE)
    assert claims_back(signed)
    assert not claims_back(KEY.sign(MANIFEST.to_bytes(), PAYLOAD_TYPE))
    for payload in (None, 3, "e30=", "no base64", "A" * 100_000):
        assert not claims_back({**signed, "payload": payload})


def test_replaces_bundle_must_be_the_one_that_runs() -> None:
    replacing = replace(MANIFEST, replaces_bundle="c" * 64)
    assert outcome(replacing) == "other_incumbent"
    assert outcome(replacing, replace(SLOT, committed="c" * 64)) == "accepted"


def test_a_bundle_that_was_broken_here_is_refused() -> None:
    view = replace(VIEW, broken_reason={MANIFEST.bundle_id(): "it crashed"}.get)
    assert outcome(view=view) == "broken_here"


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        (Requires(), "accepted"),
        (Requires("ai-edge-litert", "2.1", "aarch64", ("asimd",)), "accepted"),
        (Requires("ai_edge_litert", "2.1.2"), "accepted"),
        (Requires("ai-edge-litert", "2.1.3"), "requires"),
        (Requires("ai-edge-litert", "2.10"), "requires"),
        (Requires("tflite-runtime"), "requires"),
        (Requires(arch="armv7l"), "requires"),
        (Requires(cpu_features=("asimd", "sve")), "requires"),
    ],
)
def test_requirements_are_compared_with_the_board(requires: Requires, expected: str) -> None:
    assert outcome(replace(MANIFEST, requires=requires)) == expected


def test_disk_is_needed_only_for_what_is_not_here_yet() -> None:
    full = replace(VIEW, free_bytes=999)
    assert outcome(view=full) == "no_space"
    assert outcome(view=replace(full, has_blob=lambda digest: True)) == "accepted"
