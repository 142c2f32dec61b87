"""Fuzzes one target, guided by coverage: `python -m tests.fuzz.run_one TARGET CORPUS SECONDS`.

To be run by a Python that has atheris (`make fuzz` makes one). Finds lie in CORPUS/../finds; the
last lines are libFuzzer's own figures. Leaves what a target is to `targets`.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["edgenas", "firmware_bridge", "device_profiles", "tomllib", "json", "shlex"]
):
    from tests.fuzz.targets import HOSTILE, SIZE_CAP_BYTES, TARGETS

from tests.fuzz.watch import Watch

NEVER_S = 10**6  # 0 would ring every second, and take a machine that was busy for a hang
_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_/.-]{1,40}")
_MARKS = (b"{", b"}", b"[", b"]", b'":', b'",', b"null", b"true", b"1e999", b"-1", b"\\ud800")


def main() -> None:
    """Write seeds and dictionary, then hand over to libFuzzer, which ends the process."""
    name, corpus, seconds, *rest = sys.argv[1:]
    target, folder = TARGETS[name], Path(corpus)
    finds = folder.parent / "finds"
    for made in (folder, finds):
        made.mkdir(parents=True, exist_ok=True)
    seeds = target.seeds()
    for seed in (*seeds, *HOSTILE):
        (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    words = folder.parent / f"{name}.dict"
    words.write_text(dictionary(seeds))
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={SIZE_CAP_BYTES}",
        f"-dict={words}",
        f"-artifact_prefix={finds}/{name}-",
        f"-seed={rest[0] if rest else 1}",
        "-len_control=10",
        f"-timeout={NEVER_S}",  # Watch looks instead: this one's alarm rings at half of that
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    watch = Watch(target.parse, finds / f"{name}-hang")
    atheris.Setup([sys.argv[0], *options, str(folder)], watch)
    atheris.Fuzz()


def dictionary(seeds: list[bytes]) -> str:
    """Words of the seeds and marks of the formats, as libFuzzer reads them."""
    words = {word for seed in seeds for word in _WORD.findall(seed)} | set(_MARKS)
    lines = ("".join(f"\\x{byte:02x}" for byte in word) for word in sorted(words))
    return "".join(f'"{line}"\n' for line in lines)


if __name__ == "__main__":
    main()
