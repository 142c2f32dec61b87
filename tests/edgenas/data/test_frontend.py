"""Features of sound: right for tones and silence, and those of the published set, bit for bit."""

import io
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgenas.data import DamagedFileError
from edgenas.data import frontend as front
from edgenas.data.wav import read_wav
from tests.edgenas.data.flac import decode


def _tone(hertz: float, seconds: float = 1.0, loudness: float = 10_000.0) -> front.Samples:
    time = np.arange(round(front.RATE_HZ * seconds)) / front.RATE_HZ
    return np.rint(loudness * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def _wav(samples: front.Samples, *, channels: int = 1, width: int = 2, rate: int = 16_000) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()


@pytest.mark.parametrize("hertz", [200.0, 700.0, 1500.0, 3500.0])
def test_a_tone_is_loudest_in_the_band_around_it(hertz: float) -> None:
    bands = front.log_mel(_tone(hertz))
    assert bands.shape == (49, 40)
    step = (1127 * np.log1p(4000 / 700) - 1127 * np.log1p(20 / 700)) / 41
    expected = (1127 * np.log1p(hertz / 700) - 1127 * np.log1p(20 / 700)) / step - 1
    assert (np.abs(bands.argmax(1) - expected) < 1).all()


def test_loudness_does_not_matter_and_silence_is_the_floor() -> None:
    loud, soft = (front.log_mel(_tone(440.0, loudness=by)) for by in (30_000.0, 3_000.0))
    assert np.abs(loud - soft)[:, :12].max() < 0.05  # where the tone is; rounding noise elsewhere
    silence = front.log_mel(np.zeros(16_000, np.int16))
    np.testing.assert_allclose(silence, np.log(1e-6))
    assert set(front.log_mel_pixels(silence).ravel().tolist()) == {0}


def test_a_short_clip_is_followed_by_silence_and_a_long_one_cut() -> None:
    short, long = front.log_mel(_tone(440.0, 0.5)), front.log_mel(_tone(440.0, 1.7))
    np.testing.assert_allclose(short[26:], np.log(1e-6))
    assert (short[:24, 5] > -5).all()
    np.testing.assert_allclose(long, front.log_mel(_tone(440.0)))


def test_pixels_are_a_grid_that_saturates() -> None:
    low, step = front.LOGMEL_LOWEST, front.LOGMEL_STEP
    values = np.array([low - 5, low, low + 0.4 * step, low + 0.6 * step, low + 255 * step, 99.0])
    assert front.log_mel_pixels(values).tolist() == [0, 0, 0, 1, 255, 255]


def test_mfcc_are_the_cosine_transform_of_the_bands() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 49, 40), dtype=np.uint8)
    found = front.mfcc_pixels(pixels)
    bands = front.LOGMEL_LOWEST + front.LOGMEL_STEP * pixels.astype(np.float64)
    for term in range(10):
        waves = [np.cos(np.pi * (n + 0.5) * term / 40) for n in range(40)]
        value = (bands * waves).sum(-1) * 2 / np.sqrt(80)
        code = np.clip(np.trunc(value / front.MFCC_SCALE + front.MFCC_ZERO), -128, 127)
        assert (np.abs(found[..., term].astype(int) - 128 - code) <= 1).mean() == 1.0
        assert (found[..., term].astype(int) - 128 == code).mean() > 0.99


def test_a_wav_file_gives_its_samples(tmp_path: Path) -> None:
    path, tone = tmp_path / "a.wav", _tone(440.0, 1.2)
    path.write_bytes(_wav(tone))
    assert np.array_equal(read_wav(path), tone[:16_000])


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (_wav(_tone(440.0), rate=8_000), "1 channel of 16 bits at 16000 Hz, got 1 channels of 16"),
        (_wav(_tone(440.0), channels=2), "got 2 channels"),
        (_wav(_tone(440.0), width=1), "of 8 bits"),
        (_wav(_tone(440.0, 0.0)), "whole samples, got 0 bytes"),
        (b"", "a WAV file"),
        (b"RIFF of another kind", "a WAV file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=named):
        read_wav(path)


@pytest.mark.shared_data
def test_real_recordings_give_the_published_features(shared_data: Path) -> None:
    folder = shared_data / "speech_commands_test"
    if not folder.is_dir():
        pytest.skip(f"no data set in {folder}")
    with np.load(folder / "logmel40_u8.npz") as stored:
        rows = {
            name.partition(".")[0]: row
            for name, row in zip(stored["names"], stored["x"], strict=True)
        }
    with zipfile.ZipFile(folder / "audio_flac_240.zip") as archive:
        for clip in sorted(name for name in archive.namelist() if name.endswith(".flac"))[::20]:
            samples = decode(archive.read(clip))
            expected = rows[clip.removesuffix(".flac")]
            pixels = front.log_mel_pixels(front.log_mel(samples))
            assert np.abs(pixels.astype(int) - expected).max() <= 1, clip
            assert (pixels == expected).mean() > 0.999, clip


@pytest.mark.shared_data
def test_mfcc_of_published_features_are_the_published_mfcc(shared_data: Path) -> None:
    folder = shared_data / "speech_commands_test"
    if not folder.is_dir():
        pytest.skip(f"no data set in {folder}")
    with (
        np.load(folder / "logmel40_u8.npz") as stored,
        np.load(folder / "mlperf_tiny_kws01.npz") as other,
    ):
        pixels = front.mfcc_pixels(stored["x"][other["clip_index"]])
        gap = np.abs(pixels.astype(int) - 128 - other["x"][..., 0])
    assert (gap == 0).mean() > 0.96
    assert (gap <= 1).mean() > 0.9999  # theirs wrap where ours saturate
