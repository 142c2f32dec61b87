"""Key files: two pairs from the first day, private ones private, mistakes named."""

from pathlib import Path

import pytest

from edgenas.fleet.errors import KeyFileError
from edgenas.fleet.keys import ensure_keys, load_signing_key
from firmware_bridge.wire.signing import SigningKey, load_verify_key, verify


def test_two_pairs_are_made_once_and_either_is_trusted(tmp_path: Path) -> None:
    files = ensure_keys(tmp_path / "keys")
    assert ensure_keys(tmp_path / "keys") == files
    trusted = dict(load_verify_key(path) for path in files.verify)
    assert len(trusted) == 2
    for path in (files.signing, files.spare):
        assert path.stat().st_mode & 0o777 == 0o600
        envelope = load_signing_key(path).sign(b"payload", "text")
        assert verify(envelope, trusted) == b"payload"


def test_keys_that_do_not_fit_or_are_open_to_others_are_refused(tmp_path: Path) -> None:
    files = ensure_keys(tmp_path)
    files.verify[0].unlink()
    SigningKey.generate().save_public(files.verify[0])
    with pytest.raises(KeyFileError, match="public half"):
        ensure_keys(tmp_path)
    files.signing.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_signing_key(files.signing)
    with pytest.raises(KeyFileError, match="expected usable keys"):
        ensure_keys(tmp_path)
    with pytest.raises(KeyFileError, match="signing key"):
        load_signing_key(tmp_path / "none.pem")
