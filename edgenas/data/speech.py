"""Speech Commands (Warden 2018): ten words, silence and unknown words, as features of 49 frames.

Reads a file of log-mel features with the split in it, or the folder of WAV files that the official
test set is, and then cuts by speaker itself. No speaker is in two splits either way: who speaks is
easier to learn than what is said. The formula of the features is `frontend`.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.data import frontend
from edgenas.data.errors import DamagedFileError, DataNotFoundError
from edgenas.data.locate import Layout, locate
from edgenas.data.source import Source
from edgenas.data.split import Images, Labels, Split
from edgenas.data.wav import read_wav

CLASSES = (
    *("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"),
    *("_silence_", "_unknown_"),
)
TRAIN, SEARCH, TEST = 0, 1, 2
SEARCH_SHARE, TEST_SHARE = 0.125, 0.185  # of the speakers, where the files bring no split
MAX_BYTES = 512 * 2**20  # unpacked; the official test set has 10 MB
FOLDERS = ("", "speech_commands", "speech_commands_test", "speech_commands_test_set_v0.02")
FEATURES = Layout("the features", FOLDERS, {"features": ("logmel40_u8.npz",)})


def read_log_mel(root: Path | None) -> Source:
    """Log-mel bands of every clip, [N, 49, 40, 1].

    Raises:
        DataNotFoundError: Neither the features nor the recordings are below `root`.
        DamagedFileError: A file is not what it should be.
    """
    return _source(*_read(root))


def read_mfcc(root: Path | None) -> Source:
    """The first ten MFCC of every clip, [N, 49, 10, 1].

    Raises:
        DataNotFoundError: Neither the features nor the recordings are below `root`.
        DamagedFileError: A file is not what it should be.
    """
    images, labels, parts = _read(root)
    return _source(frontend.mfcc_pixels(images), labels, parts)


def _source(images: Images, labels: Labels, parts: Labels) -> Source:
    def part(number: int) -> Split:
        rows = np.flatnonzero(parts == number)
        return Split(images[rows][..., np.newaxis], labels[rows])

    return Source(
        CLASSES, part(TRAIN), part(SEARCH), lambda: part(TEST), (images.shape[1], images.shape[2]),
        by_class=True,
    )  # fmt: skip


def _read(root: Path | None) -> tuple[Images, Labels, Labels]:
    """Log-mel pixels [N, 49, 40], labels [N] and parts [N]."""
    recordings = _recordings(root)
    if recordings is not None:
        return _read_recordings(recordings)
    _, files = locate("speech_commands", root, [FEATURES])
    return _read_features(files["features"])


# --- features ----------------------------------------------------------------------------------


def _read_features(path: Path) -> tuple[Images, Labels, Labels]:
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(member.file_size for member in packed.infolist())
        if size > MAX_BYTES:
            raise DamagedFileError(path, f"at most {MAX_BYTES} bytes", f"{size}")
        with np.load(path, allow_pickle=False) as stored:
            held = {name: stored[name] for name in ("x", "y", "split", "classes", "lo", "step")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedFileError(path, "x, y, split, classes, lo and step", f"{error}") from error
    _check_features(path, held)
    return held["x"], held["y"].astype(np.int64), held["split"].astype(np.int64)


def _check_features(path: Path, held: dict[str, NDArray[Any]]) -> None:
    x, labels, parts = held["x"], held["y"], held["split"]
    shape = (len(x) if x.ndim else 0, frontend.FRAMES, frontend.BANDS)
    if x.dtype != np.uint8 or x.shape != shape:
        raise DamagedFileError(path, "uint8 x [N, 49, 40]", f"{x.dtype} {list(x.shape)}")
    if tuple(np.atleast_1d(held["classes"]).tolist()) != CLASSES:
        raise DamagedFileError(path, f"the classes {', '.join(CLASSES)}", f"{held['classes']}")
    for name, known in (("y", range(len(CLASSES))), ("split", (TRAIN, SEARCH, TEST))):
        values = held[name]
        if values.shape != shape[:1] or not set(values.tolist()) <= set(known):
            expected = f"one {name} a clip, {known[0]} to {known[-1]}"
            raise DamagedFileError(path, expected, f"{list(values.shape)}, others")
    if not all((parts == part).any() for part in (TRAIN, SEARCH, TEST)) or not len(labels):
        raise DamagedFileError(path, "clips in all three parts", "a part without")
    grid = [float(np.ravel(held[name])[0]) for name in ("lo", "step")]
    if not np.allclose(grid, (frontend.LOGMEL_LOWEST, frontend.LOGMEL_STEP), rtol=1e-5):
        expected = f"lowest value {frontend.LOGMEL_LOWEST} and step {frontend.LOGMEL_STEP}"
        raise DamagedFileError(path, expected, f"{grid[0]:.6g} and {grid[1]:.6g}")


# --- recordings --------------------------------------------------------------------------------


def _recordings(root: Path | None) -> Path | None:
    """The folder that holds one folder of recordings a class, if there is one."""
    if root is None:
        return None
    for folder in (root / name for name in FOLDERS):
        if all((folder / name).is_dir() for name in CLASSES):
            return folder
    return None


def _read_recordings(folder: Path) -> tuple[Images, Labels, Labels]:
    found: list[tuple[Path, int]] = []
    for label, name in enumerate(CLASSES):
        clips = sorted((folder / name).glob("*.wav"))
        if not clips:
            raise DataNotFoundError(f"{folder / name}: expected WAV files, got none")
        found += [(clip, label) for clip in clips]
    bands = np.stack([frontend.log_mel(read_wav(path)) for path, _ in found])
    labels = np.array([label for _, label in found], np.int64)
    parts = np.array([part_of(speaker_of(path)) for path, _ in found], np.int64)
    return frontend.log_mel_pixels(bands), labels, parts


def speaker_of(path: Path) -> str:
    """Who speaks in a clip, by its name.

    `f2f0d244_nohash_0.wav` and `six_f2f0d244_nohash_0.wav` are the same speaker's; a clip with
    another name is nobody's and stands for itself.
    """
    speaker, mark, _ = path.stem.partition("_nohash_")
    return speaker.rpartition("_")[2] if mark else f"{path.parent.name}/{path.stem}"


def part_of(speaker: str) -> int:
    """The split that all clips of a speaker belong to: by a hash, so always the same one."""
    drawn = int.from_bytes(hashlib.sha256(speaker.encode()).digest()[:8], "big") / 2**64
    if drawn < TEST_SHARE:
        return TEST
    return SEARCH if drawn < TEST_SHARE + SEARCH_SHARE else TRAIN
