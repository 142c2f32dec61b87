"""Signs releases of tiny models for tests, as a host's release tool would.

Leaves serving the files to `host_double` and judging the release to the device.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from firmware_bridge.wire.messages import Wish
from firmware_bridge.wire.release import (
    PAYLOAD_TYPE,
    ReleaseFile,
    ReleaseManifest,
    Role,
    Target,
    time_text,
)
from firmware_bridge.wire.signing import SigningKey
from firmware_bridge.wire.values import new_id
from tests.firmware_bridge.agent.host_double import FLEET, HostDouble
from tests.firmware_bridge.bench import tiny_model

PROBE_INPUT = np.arange(16, dtype=np.int8).reshape(1, 16)


def some_weights(seed: int) -> tiny_model.Array:
    """Weights of one of many tiny models."""
    return np.random.default_rng(seed).integers(-2, 3, (4, 16), dtype=np.int8)


@dataclass
class Signer:
    """A release key and the files that it signs for."""

    host: HostDouble
    key: SigningKey
    key_file: Path
    now: datetime

    def manifest(self, seed: int, counter: int, **changes: object) -> ReleaseManifest:
        """A forward release of the tiny model number `seed`, with its probe."""
        weights = some_weights(seed)
        answer = tiny_model.dense_answer(weights, PROBE_INPUT)
        fields: dict[str, object] = {
            "fleet": FLEET,
            "counter": counter,
            "target": Target("generic"),
            "files": (
                self.file("model", tiny_model.dense(weights)),
                self.file("labels", b"a\nb\nc\nd\n"),
                self.file("probe_input", PROBE_INPUT.tobytes()),
                self.file("probe_output", answer.tobytes()),
            ),
            "issued": time_text(self.now),
            "expires": time_text(self.now + timedelta(days=90)),
        }
        return ReleaseManifest(**{**fields, **changes})  # type: ignore[arg-type]

    def file(self, role: Role, data: bytes) -> ReleaseFile:
        ref = self.host.add(data)
        return ReleaseFile(role, ref.sha256, ref.size_bytes, ref.chunk_bytes)

    def wish(self, manifest: ReleaseManifest, rev: int, **changes: object) -> Wish:
        """A wish for the signed manifest, under a fresh deployment id."""
        envelope = self.key.sign(manifest.to_bytes(), PAYLOAD_TYPE)
        wish = Wish(rev=rev, deployment=new_id(), release=envelope)
        return replace(wish, **changes)  # type: ignore[arg-type]


def make_signer(host: HostDouble, folder: Path) -> Signer:
    """A signer with a new key, whose public half lies in `folder`."""
    key, key_file = SigningKey.generate(), folder / "release.pub"
    key.save_public(key_file)
    return Signer(host, key, key_file, datetime.now(timezone.utc))
