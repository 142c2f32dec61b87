"""Rotating keys: the spare one signs, a new spare is made, and a kill in between loses nothing."""

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edgenas.cli.main import main
from edgenas.fleet.errors import KeyFileError
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.key_rotation import Rotation, former_key, rotate
from edgenas.fleet.keys import ensure_keys, load_signing_key, public_keys
from firmware_bridge.wire.signing import SigningKey, load_verify_key, verify


def key_ids(directory: Path) -> list[str]:
    """Of the keys that devices shall trust."""
    return [load_verify_key(path)[0] for path in public_keys(directory)]


def check_rotated(directory: Path, before: list[str], done: Rotation) -> None:
    files = ensure_keys(directory)
    assert key_ids(directory) == [before[1], done.spare]
    assert (done.former, done.signing) == (before[0], before[1])
    assert load_signing_key(files.signing).key_id == before[1]
    assert load_signing_key(files.spare).key_id == done.spare
    assert load_verify_key(former_key(directory, before[0]))[0] == before[0]
    kept = sorted(path.name for path in directory.iterdir() if not path.name.startswith("former-"))
    assert kept == ["signing.pem", "signing.pub", "spare.pem", "spare.pub"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in directory.glob("*.pem"))


def test_the_command_rotates_and_says_so_in_the_audit_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ensure_keys(tmp_path / "keys")
    before = key_ids(tmp_path / "keys")
    trusted = dict(map(load_verify_key, public_keys(tmp_path / "keys")))
    assert main(["keys", "rotate", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"{before[1][:16]} signs from now on" in said
    assert "enroll --force TOKEN" in said
    with closing(FleetJournal(tmp_path / "fleet.sqlite")) as journal:
        (entry,) = journal.audit.entries()
    assert (entry.action, entry.subject) == ("keys.rotated", before[1])
    done = Rotation(before[0], before[1], key_ids(tmp_path / "keys")[1])
    check_rotated(tmp_path / "keys", before, done)
    assert load_signing_key(former_key(tmp_path / "keys", before[0]).with_suffix(".pem"))
    envelope = load_signing_key(ensure_keys(tmp_path / "keys").signing).sign(b"payload", "text")
    assert verify(envelope, trusted) == b"payload", "who knew both keys before takes it"
    assert main(["keys", "rotate", str(tmp_path / "none")]) == 1
    assert "expected keys in" in capsys.readouterr().err


def cut_off_at(step: int) -> Callable[[object, object], None]:
    """`os.replace` that fails at one of its calls."""
    left = [step]

    def replace(source: object, target: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError("cut off")
        shutil.move(str(source), str(target))

    return replace


@pytest.mark.parametrize("lost", [False, True])
def test_cut_off_anywhere_the_same_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    steps = 0
    while True:
        directory = tmp_path / str(steps)
        files = ensure_keys(directory)
        before, noted = key_ids(directory), list[Rotation]()
        if lost:
            files.signing.unlink()
            with pytest.raises(KeyFileError, match="edgenas keys rotate"):
                ensure_keys(directory)
            assert not files.signing.exists(), "no other key was made in its place"
        with monkeypatch.context() as cut:
            cut.setattr("edgenas.fleet.key_rotation.os.replace", cut_off_at(steps))
            try:
                rotate(directory, noted.append)
            except KeyFileError:
                assert "rotating.json" not in os.listdir(directory) or noted
                if noted:
                    with pytest.raises(KeyFileError, match="repeat `edgenas keys rotate`"):
                        ensure_keys(directory)
            else:
                break
        done = rotate(directory, noted.append)
        assert set(noted) == {done}
        check_rotated(directory, before, done)
        steps += 1
    assert steps == 8 - lost


def test_a_spare_key_that_is_kept_elsewhere_is_named(tmp_path: Path) -> None:
    directory, elsewhere = tmp_path / "keys", tmp_path / "safe.pem"
    files = ensure_keys(directory)
    before = key_ids(directory)
    files.spare.rename(elsewhere)
    assert ensure_keys(directory) == files
    assert not files.spare.exists(), "none is made in its place"
    with pytest.raises(KeyFileError, match="--spare FILE"):
        rotate(directory, lambda _: None)
    wrong = tmp_path / "wrong.pem"
    SigningKey.generate().save(wrong)
    with pytest.raises(KeyFileError, match="restore the pairs that devices trust"):
        rotate(directory, lambda _: None, wrong)
    assert ensure_keys(directory) == files
    check_rotated(directory, before, rotate(directory, lambda _: None, elsewhere))
