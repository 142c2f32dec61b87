"""The key pairs of a fleet on disk: one to sign with, one spare that devices trust from day one.

A lost or leaked signing key is then replaced by the spare one without touching a device; see
`key_rotation`. Leaves the keys' format and their use to `firmware_bridge.wire.signing`.
"""

from dataclasses import dataclass
from pathlib import Path

from edgenas.fleet.errors import KeyFileError
from firmware_bridge.wire.errors import BridgeError
from firmware_bridge.wire.signing import SigningKey, load_verify_key

_NAMES = ("signing", "spare")
ROTATING = "rotating.json"  # there while the signing key is being replaced


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Where the keys of a fleet are.

    Attributes:
        signing: Private key in use, mode 0600.
        spare: Private key to keep elsewhere, mode 0600; need not be there once it was made.
        verify: Public halves of both, for devices.
    """

    signing: Path
    spare: Path
    verify: tuple[Path, Path]


def ensure_keys(directory: Path) -> KeyFiles:
    """Make both key pairs unless they are there, and check that they can be used.

    Raises:
        KeyFileError: A key cannot be written or read, a public half does not fit, or the signing
            key is lost or being replaced.
    """
    if (directory / ROTATING).exists():
        raise KeyFileError(
            f"expected keys that are not being replaced in {directory}, got {ROTATING} of a call "
            "that was cut off; repeat `edgenas keys rotate`, which goes on with it"
        )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _NAMES:
            _ensure_pair(directory, name)
    except (OSError, BridgeError) as error:
        raise KeyFileError(
            f"expected usable keys in {directory}, got {error}; restore them from your copy, "
            "or name an empty directory and enrol the new public keys on the devices"
        ) from error
    signing, spare = (directory / f"{name}.pem" for name in _NAMES)
    verify = (directory / f"{_NAMES[0]}.pub", directory / f"{_NAMES[1]}.pub")
    return KeyFiles(signing, spare, verify)


def public_keys(directory: Path) -> list[Path]:
    """Public keys that devices shall trust from now on, as far as they are there."""
    return [path for name in _NAMES if (path := directory / f"{name}.pub").is_file()]


def load_signing_key(path: Path) -> SigningKey:
    """Read a private key.

    Raises:
        KeyFileError: It cannot be read, is no Ed25519 key, or others may read it.
    """
    try:
        return SigningKey.load(path)
    except (OSError, BridgeError) as error:
        raise KeyFileError(f"expected a signing key at {path}, got {error}") from error


def _ensure_pair(directory: Path, name: str) -> None:
    private, public = directory / f"{name}.pem", directory / f"{name}.pub"
    if not private.exists() and public.exists():
        load_verify_key(public)
        if name == _NAMES[0]:
            raise KeyFileError(
                f"expected {private}, got none, though devices trust {public}; restore it from "
                "your copy, or if it is lost, have `edgenas keys rotate` take the spare one"
            )
        return  # kept elsewhere
    if private.exists():
        key = SigningKey.load(private)
    else:
        key = SigningKey.generate()
        key.save(private)
    if not public.exists():
        key.save_public(public)
    found, _ = load_verify_key(public)
    if found != key.key_id:
        raise KeyFileError(
            f"expected {public} to be the public half of {private}, got key {found[:12]}; "
            "remove the one that is wrong"
        )
