"""From a recording of one second to the picture that a network sees: log-mel bands, or MFCC.

Formula and constants are those of MLPerf Tiny's keyword spotting, so that features made elsewhere
are the same numbers; docs/spaces.md writes them out. Every value is kept in 8 bits over one fixed
range, which is part of the formula: the codes of training are the codes that a device computes.
Leaves reading files to `wav`, and which clips belong where to `speech`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.data.split import Images

RATE_HZ = 16_000
SAMPLES = RATE_HZ  # of one clip
WINDOW, HOP, FFT = 480, 320, 512  # 30 ms, 20 ms, in samples; points
FRAMES = 1 + (SAMPLES - WINDOW) // HOP
BANDS, LOWEST_HZ, HIGHEST_HZ = 40, 20.0, 4000.0
FLOOR = 1e-6  # added to every band before its logarithm
LOGMEL_LOWEST, LOGMEL_STEP = -13.82, 0.07576471  # value = lowest + step x pixel
TERMS = 10  # of the cosine transform
MFCC_SCALE, MFCC_ZERO = 0.58470, 83  # value = scale x (code - zero), code = pixel - 128

Samples = NDArray[np.int16]
Values = NDArray[np.float64]


def log_mel(samples: Samples) -> Values:
    """Natural logarithm of the mel bands [49, 40] of a clip of one second.

    A shorter clip is followed by silence, of a longer one the first second is taken.
    """
    clip = np.zeros(SAMPLES)
    kept = samples[:SAMPLES].astype(np.float64)
    clip[: len(kept)] = kept / max(1.0, kept.max(initial=0.0))
    starts = np.arange(FRAMES)[:, None] * HOP
    frames = clip[starts + np.arange(WINDOW)] * _window()
    magnitude = np.abs(np.fft.rfft(frames, FFT))  # [49, 257]
    bands: Values = np.log(magnitude @ _mel_weights() + FLOOR)
    return bands


def log_mel_pixels(bands: Values) -> Images:
    """Log-mel values [..., 49, 40] as pixels of the same shape."""
    code = np.rint((bands - LOGMEL_LOWEST) / LOGMEL_STEP)
    return np.clip(code, 0, 255).astype(np.uint8)


def mfcc_pixels(pixels: Images) -> Images:
    """Log-mel pixels [..., 49, 40] to the pixels of their first ten MFCC, [..., 49, 10]."""
    bands = LOGMEL_LOWEST + LOGMEL_STEP * pixels.astype(np.float64)
    code = np.trunc(bands @ _cosines() / MFCC_SCALE + MFCC_ZERO)
    return np.clip(code + 128, 0, 255).astype(np.uint8)


@cache
def _window() -> Values:
    """Periodic Hann window."""
    phase = 2 * np.pi * np.arange(WINDOW) / WINDOW
    window: Values = 0.5 - 0.5 * np.cos(phase)
    return window


@cache
def _mel_weights() -> Values:
    """Triangles of equal width in mel, [257, 40]; the constant term belongs to none."""
    hertz = np.linspace(0.0, RATE_HZ / 2, FFT // 2 + 1)[:, None]
    edges = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), BANDS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (_mel(hertz) - lower) / (centre - lower)
    falling = (upper - _mel(hertz)) / (upper - centre)
    weights: Values = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    return weights


def _mel(hertz: float | NDArray[np.floating[Any]]) -> Values:
    mel: Values = 1127.0 * np.log1p(np.asarray(hertz) / 700.0)
    return mel


@cache
def _cosines() -> Values:
    """First terms of the cosine transform (DCT-II), [40, 10]."""
    middles, terms = np.arange(BANDS)[:, None] + 0.5, np.arange(TERMS)
    basis: Values = np.cos(np.pi * middles * terms / BANDS) * (2 / np.sqrt(2 * BANDS))
    return basis
