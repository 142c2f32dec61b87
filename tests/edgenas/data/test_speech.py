"""Speech Commands: both layouts, the split by speaker, and files that are something else."""

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgenas.data import DamagedFileError, DataNotFoundError, DataSettingError, load_data
from edgenas.data.frontend import log_mel, log_mel_pixels, mfcc_pixels
from edgenas.data.speech import CLASSES, part_of, speaker_of
from edgenas.data.wav import read_wav
from tests.edgenas.data.writers import noise

CLIPS = 72


def _features(**changes: Any) -> dict[str, Any]:
    held = {
        "x": noise(CLIPS, 49, 40),
        "y": np.arange(CLIPS, dtype=np.uint8) % 12,
        "split": np.repeat(np.array([0, 1, 2], np.uint8), [36, 12, 24]),
        "classes": np.array(CLASSES),
        "lo": np.float32(-13.82),
        "step": np.float32(0.07576471),
    }
    return {name: value for name, value in {**held, **changes}.items() if value is not None}


def _write_features(folder: Path, **changes: Any) -> None:
    np.savez_compressed(folder / "logmel40_u8.npz", **_features(**changes))


def _write_recordings(folder: Path, speakers: int = 24) -> None:
    """One clip of each speaker in each class: a tone that goes with the class, and noise."""
    rng, time = np.random.default_rng(0), np.arange(16_000) / 16_000
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        tone = 8_000 * np.sin(2 * np.pi * (200 + 200 * label) * time)
        for number in range(speakers):
            stem = f"{number:08x}_nohash_0" if name != "_silence_" else f"{number}"
            stem = f"six_{stem}" if name == "_unknown_" else stem
            with wave.open(str(folder / name / f"{stem}.wav"), "wb") as file:
                file.setparams((1, 2, 16_000, 0, "NONE", ""))
                file.writeframes((tone + rng.normal(0, 500, 16_000)).astype("<i2").tobytes())


def test_features_bring_their_own_split(tmp_path: Path) -> None:
    _write_features(tmp_path)
    data, held = load_data("speech_commands", tmp_path), _features()
    assert (len(data.train), len(data.search), data.classes) == (36, 12, CLASSES)
    assert (data.size, data.native_size, data.channels) == ((49, 40), (49, 40), 1)
    test = data.read_test()
    clips = {x.tobytes(): int(y) for x, y in zip(held["x"][:36], held["y"][:36], strict=True)}
    train = zip(data.train.images[..., 0], data.train.labels, strict=True)
    assert {x.tobytes(): int(y) for x, y in train} == clips
    assert np.array_equal(test.images[..., 0], held["x"][48:])
    assert test.labels.tolist() == held["y"][48:].tolist()


def test_mfcc_come_from_the_same_clips(tmp_path: Path) -> None:
    _write_features(tmp_path)
    data, bands = (
        load_data(name, tmp_path) for name in ("speech_commands_mfcc", "speech_commands")
    )
    assert (data.size, data.channels) == ((49, 10), 1)
    assert np.array_equal(data.search.images, mfcc_pixels(bands.search.images[..., 0])[..., None])
    assert np.array_equal(data.search.labels, bands.search.labels)
    assert data.fingerprint != bands.fingerprint


def test_the_seed_moves_nothing(tmp_path: Path) -> None:
    _write_features(tmp_path)
    prints = {load_data("speech_commands", tmp_path, seed=seed).fingerprint for seed in (0, 1)}
    assert len(prints) == 1


def test_recordings_are_split_by_speaker(tmp_path: Path) -> None:
    folder = tmp_path / "speech_commands_test_set_v0.02"
    _write_recordings(folder)
    data = load_data("speech_commands", tmp_path)
    test = data.read_test()
    assert len(data.train) + len(data.search) + len(test) == 24 * 12
    assert len(data.train) > len(test) > 0 < len(data.search)
    clip = folder / "go" / "00000003_nohash_0.wav"
    part = (data.train, data.search, test)[part_of("00000003")]
    expected = log_mel_pixels(log_mel(read_wav(clip)))
    rows = [i for i, image in enumerate(part.images[..., 0]) if np.array_equal(image, expected)]
    assert [part.labels[row] for row in rows] == [CLASSES.index("go")]


def test_every_clip_of_a_speaker_is_in_one_part() -> None:
    names = ["yes/0a1b_nohash_0.wav", "no/0a1b_nohash_3.wav", "_unknown_/six_0a1b_nohash_1.wav"]
    assert {speaker_of(Path(name)) for name in names} == {"0a1b"}
    assert speaker_of(Path("_silence_/17.wav")) != speaker_of(Path("_silence_/18.wav"))
    parts = [part_of(f"{number:08x}") for number in range(4000)]
    shares = np.bincount(parts) / len(parts)
    np.testing.assert_allclose(shares, [0.69, 0.125, 0.185], atol=0.02)


def test_features_are_not_resized_by_the_loader(tmp_path: Path) -> None:
    _write_features(tmp_path)
    with pytest.raises(DataSettingError, match=r"no image_size .* \(49 x 40\), got 32"):
        load_data("speech_commands", tmp_path, image_size=32)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"speech_commands: .*missing.*logmel40_u8\.npz"):
        load_data("speech_commands", tmp_path)
    with pytest.raises(DataNotFoundError, match="name the folder that holds them"):
        load_data("speech_commands")
    for name in CLASSES:
        (tmp_path / name).mkdir()
    with pytest.raises(DataNotFoundError, match="down: expected WAV files, got none"):
        load_data("speech_commands", tmp_path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"x": None}, "x, y, split, classes, lo and step"),
        ({"x": noise(CLIPS, 49, 10)}, r"uint8 x \[N, 49, 40\], got uint8 \[72, 49, 10\]"),
        ({"x": np.zeros((CLIPS, 49, 40), np.float32)}, "got float32"),
        ({"x": np.uint8(3)}, r"got uint8 \[\]"),
        ({"y": np.full(CLIPS, 12)}, "one y a clip, 0 to 11"),
        ({"y": np.zeros(3, np.uint8)}, "one y a clip, 0 to 11"),
        ({"split": np.full(CLIPS, 7)}, "one split a clip, 0 to 2"),
        ({"split": np.zeros(CLIPS, np.uint8)}, "clips in all three parts"),
        ({"classes": np.array(["yes", "no"])}, "the classes down, go"),
        ({"step": np.float32(0.05)}, "lowest value -13.82 and step 0.0757"),
        ({"classes": np.array([{}])}, "x, y, split, classes, lo and step"),  # would need a pickle
    ],
)
def test_features_that_are_something_else(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    _write_features(tmp_path, **changes)
    with pytest.raises(DamagedFileError, match=named):
        load_data("speech_commands", tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 but no archive", b"text"])
def test_features_that_are_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "logmel40_u8.npz").write_bytes(content)
    with pytest.raises(DamagedFileError, match="x, y, split, classes, lo and step"):
        load_data("speech_commands", tmp_path)


@pytest.mark.shared_data
def test_the_real_set(shared_data: Path) -> None:
    folder = shared_data / "speech_commands_test"
    if not folder.is_dir():
        pytest.skip(f"no data set in {folder}")
    data = load_data("speech_commands", shared_data)
    assert (len(data.train), len(data.search), len(data.read_test())) == (3372, 611, 907)
    assert np.bincount(data.train.labels).min() > 200
    assert np.bincount(data.train.labels[:1000], minlength=12).min() > 40, "no class is left out"
