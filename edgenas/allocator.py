"""How this process gets memory from the system.

Training and calibration make and drop tensors of tens of megabytes many times a second. glibc maps
each of them anew, and the kernel then clears and maps every page again, which costs up to half of
the processor time. Kept on the heap, the same pages are used over and over. Where the C library is
another one, nothing is changed.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_KEPT_BYTES, _STEP_BYTES, _LARGEST_BYTES = 2**31 - 1, 64 << 20, 1 << 30


def keep_memory() -> bool:
    """Let freed memory stay with this process, up to 2 GiB; whether the C library can do it."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    taken = [
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES),
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES),
        mallopt(_M_TOP_PAD, _STEP_BYTES),
    ]
    return all(taken)
