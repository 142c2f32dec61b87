"""Makes the spare key of a fleet the signing one, and a new spare.

What is to be done is written down before anything changes, and each file is replaced in one step:
after a kill at any moment the same call goes on. The former pair stays under a name of its own.
Leaves telling devices to people.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from edgenas.fleet.errors import KeyFileError
from edgenas.fleet.keys import ROTATING
from edgenas.site import files
from edgenas.whole_file import sync_folder
from firmware_bridge.wire.errors import BridgeError
from firmware_bridge.wire.signing import SigningKey, load_verify_key

_NEXT, _SHOWN = "next.pem", 16


@dataclass(frozen=True, slots=True)
class Rotation:
    """What becomes of the keys, by key id.

    Attributes:
        former: Signed until now.
        signing: Signs from now on; was the spare one.
        spare: New.
    """

    former: str
    signing: str
    spare: str


def former_key(directory: Path, key_id: str) -> Path:
    """Where the public half of a former signing key is kept."""
    return directory / f"former-{key_id[:_SHOWN]}.pub"


def rotate(
    directory: Path, note: Callable[[Rotation], None], spare: Path | None = None
) -> Rotation:
    """Have the spare key sign from now on, keep the former pair aside, and make a new spare.

    Args:
        directory: Of the keys, as `ensure_keys` made them; the private signing key may be lost.
        note: Writes down what is to be done, before it is; called again by a call that goes on.
        spare: The private spare key where it is kept elsewhere.

    Raises:
        KeyFileError: The keys are not there, do not fit, or cannot be written.
    """
    spare = spare or directory / "spare.pem"
    try:
        found = _under_way(directory) or _begin(directory, spare)
        note(found)
        _carry_out(directory, found, spare)
    except (OSError, BridgeError) as error:
        raise KeyFileError(
            f"expected to replace the signing key in {directory}, got {error}; mend that (--spare "
            "FILE names a spare key that is kept elsewhere) and repeat: it goes on"
        ) from error
    return found


def _under_way(directory: Path) -> Rotation | None:
    try:
        return Rotation(**json.loads((directory / ROTATING).read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise KeyFileError(
            f"expected key ids in {directory / ROTATING}, got {error}; restore it from your copy"
        ) from error


def _begin(directory: Path, spare_at: Path) -> Rotation:
    signing, public = directory / "signing.pem", directory / "signing.pub"
    former = load_verify_key(public)[0]
    spare, trusted = SigningKey.load(spare_at), load_verify_key(directory / "spare.pub")[0]
    if spare.key_id != trusted or (signing.exists() and SigningKey.load(signing).key_id != former):
        raise KeyFileError(
            f"expected the private halves of {public} and {directory / 'spare.pub'}, got others in "
            f"{signing} or {spare_at}; restore the pairs that devices trust"
        )
    new = SigningKey.generate()
    _put(directory / _NEXT, new.save)
    found = Rotation(former, spare.key_id, new.key_id)
    files.replace(directory / ROTATING, json.dumps(asdict(found)).encode())
    return found


def _carry_out(directory: Path, what: Rotation, spare_at: Path) -> None:
    """Every step may be repeated; the file that says what to do goes last."""
    signing, public, following = (
        directory / name for name in ("signing.pem", "signing.pub", _NEXT)
    )
    spare = _key_of(what.signing, signing, spare_at)
    kept = former_key(directory, what.former)
    if not kept.exists():
        files.replace(kept, public.read_bytes())
    if signing.exists() and (former := SigningKey.load(signing)).key_id == what.former:
        _put(kept.with_suffix(".pem"), former.save)
    _put(public, spare.save_public)
    _put(signing, spare.save)
    if following.exists():
        _put(directory / "spare.pub", SigningKey.load(following).save_public)
        os.replace(following, directory / "spare.pem")
        sync_folder(directory)
    (directory / ROTATING).unlink()
    sync_folder(directory)


def _key_of(key_id: str, *places: Path) -> SigningKey:
    for path in places:
        if path.exists() and (key := SigningKey.load(path)).key_id == key_id:
            return key
    raise KeyFileError(
        f"expected key {key_id[:_SHOWN]} in {' or '.join(map(str, places))}, got none; name the "
        "spare key with --spare"
    )


def _put(path: Path, write: Callable[[Path], None]) -> None:
    """Put a key in place of what is there, which `write` by itself would spare."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    write(temporary)
    os.replace(temporary, path)
    sync_folder(path.parent)
