"""Reads recordings: WAV files of one channel, 16 bits and 16 kHz, as Speech Commands has them.

Leaves what is computed from the samples to `frontend`.
"""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from edgenas.data.errors import DamagedFileError
from edgenas.data.frontend import RATE_HZ, SAMPLES, Samples


def read_wav(path: Path) -> Samples:
    """The samples of a file, of its first second at most.

    Raises:
        DamagedFileError: it is no WAV file, or has another form.
    """
    try:
        with wave.open(str(path), "rb") as file:
            form = (file.getnchannels(), 8 * file.getsampwidth(), file.getframerate())
            if form != (1, 16, RATE_HZ):
                expected = f"1 channel of 16 bits at {RATE_HZ} Hz"
                got = f"{form[0]} channels of {form[1]} bits at {form[2]} Hz"
                raise DamagedFileError(path, expected, got)
            content = file.readframes(SAMPLES)
    except (wave.Error, EOFError) as error:
        raise DamagedFileError(path, "a WAV file", str(error) or "nothing") from error
    if not content or len(content) % 2:
        raise DamagedFileError(path, "whole samples", f"{len(content)} bytes")
    return np.frombuffer(content, "<i2").astype(np.int16)
