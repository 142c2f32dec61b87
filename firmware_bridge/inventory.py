"""Looks at what every slot runs, reads its bytes, and signs what was found.

`python -m firmware_bridge.inventory STATE_DIR CERTIFICATE KEY` does so for the daemon in a child
process: hashing takes its time, and signing would cost an idle daemon nine megabytes. What the
journal believes plays no part: the link that an application follows counts, and the bytes behind
it. Leaves when to look to `agent.inspection`, and what to think of it to the host.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from firmware_bridge.certificates import PEM_CAP_BYTES, Signer
from firmware_bridge.slots import CURRENT, FILE_NAMES, MANIFEST_NAME, ONNX_MODEL, SLOTS_NAME
from firmware_bridge.wire.errors import BridgeError, StoreError
from firmware_bridge.wire.inspection import SignedInventory
from firmware_bridge.wire.inventory import PAYLOAD_TYPE, Inventory, Running, SeenFile
from firmware_bridge.wire.jsontext import parse
from firmware_bridge.wire.shape import plain, read
from firmware_bridge.wire.signing import pre_authentication_encoding

_ROLES = {**{name: role for role, name in FILE_NAMES.items()}, ONNX_MODEL: "model"}
_READ_BYTES = 1 << 18


def look(state_dir: Path) -> dict[str, Running | None]:
    """What the slots of a state directory run, by slot.

    Raises:
        StoreError: A link leads to something that cannot be read.
    """
    folder = state_dir / SLOTS_NAME
    try:
        slots = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        return {slot.name: _running(slot / CURRENT) for slot in slots}
    except FileNotFoundError:
        if not folder.exists():
            return {}
        raise StoreError(f"expected the files of a bundle behind the links in {folder}") from None
    except OSError as error:
        raise StoreError(f"expected to read what {folder} leads to, got {error}") from error


def sign(inventory: Inventory, signer: Signer) -> SignedInventory:
    """The statement, signed."""
    payload = inventory.to_bytes()
    signature = signer.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payload_type": PAYLOAD_TYPE,
        "signatures": [{"keyid": signer.key_id, "sig": base64.b64encode(signature).decode()}],
    }
    return SignedInventory(envelope=envelope, certificate=signer.certificate)


def _running(link: Path) -> Running | None:
    try:
        bundle = Path(os.readlink(link)).name
    except FileNotFoundError:
        return None
    inside = link.resolve(strict=True)
    manifest = inside / MANIFEST_NAME
    files = [_seen(path) for path in sorted(inside.iterdir()) if path.name in _ROLES]
    return Running(
        bundle=bundle,
        manifest=_seen(manifest).sha256 if manifest.exists() else None,
        files=tuple(files),
    )


def _seen(path: Path) -> SeenFile:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while piece := stream.read(_READ_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
    return SeenFile(_ROLES.get(path.name, "manifest"), digest.hexdigest(), size_bytes)


def main(words: Sequence[str] | None = None) -> int:
    """Read who is speaking from the input, print the message's body or its flaw as JSON."""
    parser = argparse.ArgumentParser(prog="python -m firmware_bridge.inventory")
    for name in ("state_dir", "certificate", "key"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args(words)
    try:
        said = parse(sys.stdin.buffer.read(PEM_CAP_BYTES), PEM_CAP_BYTES, "inventory")
        speaker: Mapping[str, object] = said if isinstance(said, dict) else {}
        found = {**speaker, "slots": plain(look(given.state_dir))}
        inventory = read(Inventory, found, "inventory", "inventory")
        answer = plain(sign(inventory, Signer.load(given.certificate, given.key)))
    except (BridgeError, ImportError) as error:
        answer = {"flaw": str(error)}
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
