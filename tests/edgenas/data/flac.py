"""A small FLAC decoder (RFC 9639) for test recordings: one channel of 16 bits; checks the MD5.

Slow and strict on purpose; nothing here checks the project.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

SIZES = {1: 192, **{n: 576 << (n - 2) for n in range(2, 6)}, **{n: 1 << n for n in range(8, 16)}}
FIXED = ((), (1,), (2, -1), (3, -3, 1), (4, -6, 4, -1))


class Bits:
    """Reads big-endian bit fields."""

    def __init__(self, content: bytes) -> None:
        self.text = bin(int.from_bytes(b"\x01" + content, "big"))[3:]
        self.at = 0

    def take(self, count: int) -> int:
        self.at += count
        return int(self.text[self.at - count : self.at] or "0", 2)

    def signed(self, count: int) -> int:
        value = self.take(count)
        return value - (1 << count) if count and value >> (count - 1) else value

    def unary(self) -> int:
        begin = self.at
        self.at = self.text.index("1", begin) + 1
        return self.at - 1 - begin


def decode(content: bytes) -> npt.NDArray[np.int16]:
    """Samples of a file."""
    assert content[:4] == b"fLaC"
    at, last, info = 4, False, b""
    while not last:
        last, kind = bool(content[at] & 128), content[at] & 127
        length = int.from_bytes(content[at + 1 : at + 4], "big")
        info = content[at + 4 : at + 4 + length] if kind == 0 else info
        at += 4 + length
    assert (info[12] >> 1 & 7, (info[12] & 1) << 4 | info[13] >> 4) == (0, 15)  # 1 channel, 16 bits
    total = (info[13] & 15) << 32 | int.from_bytes(info[14:18], "big")
    bits, samples = Bits(content[at:]), list[int]()
    while len(samples) < total:
        samples += _frame(bits)
    decoded = np.array(samples, "<i2")
    assert hashlib.md5(decoded.tobytes()).digest() == info[18:34]
    return decoded


def _frame(bits: Bits) -> list[int]:
    assert bits.take(15) == 0x7FFC  # sync code
    bits.take(1)
    size, rate = bits.take(4), bits.take(4)
    assert bits.take(4) == 0
    bits.take(4)
    first = bits.take(8)
    while first & 0x80 and first << 1 & 0x80:  # the frame's number, coded as UTF-8
        bits.take(8)
        first = first << 1 & 0xFF
    count = 1 + bits.take(8 * (size - 5)) if size in (6, 7) else SIZES[size]
    bits.take({12: 8, 13: 16, 14: 16}.get(rate, 0))
    bits.take(8)  # CRC of the header
    samples = _subframe(bits, count)
    bits.at += -bits.at % 8
    bits.take(16)  # CRC of the frame
    return samples


def _subframe(bits: Bits, count: int) -> list[int]:
    assert bits.take(1) == 0
    kind, wasted = bits.take(6), 0
    if bits.take(1):
        wasted = 1 + bits.unary()
    width = 16 - wasted
    if kind == 0:
        samples = [bits.signed(width)] * count
    elif kind == 1:
        samples = [bits.signed(width) for _ in range(count)]
    elif kind < 32:
        samples = _predicted(bits, count, width, kind - 8, FIXED[kind - 8])
    else:
        samples = _predicted(bits, count, width, kind - 31, None)
    return [sample << wasted for sample in samples]


def _predicted(
    bits: Bits, count: int, width: int, order: int, factors: tuple[int, ...] | None
) -> list[int]:
    samples, shift = [bits.signed(width) for _ in range(order)], 0
    if factors is None:
        precision, shift = 1 + bits.take(4), bits.signed(5)
        factors = tuple(bits.signed(precision) for _ in range(order))
    for residual in _residuals(bits, count, order):
        recent = samples[: -order - 1 : -1] if order else []
        guess = sum(f * s for f, s in zip(factors, recent, strict=True)) >> shift
        samples.append(guess + residual)
    return samples


def _residuals(bits: Bits, count: int, order: int) -> list[int]:
    wide, parts = 4 + bits.take(2), 1 << bits.take(4)
    found: list[int] = []
    for part in range(parts):
        length, parameter = count // parts - (order if part == 0 else 0), bits.take(wide)
        if parameter == (1 << wide) - 1:
            raw = bits.take(5)
            found += [bits.signed(raw) for _ in range(length)]
            continue
        for _ in range(length):
            folded = bits.unary() << parameter | bits.take(parameter)
            found.append(folded >> 1 ^ -(folded & 1))
    return found
