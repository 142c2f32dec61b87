"""No file that belongs to the project names a package host, a download address or this machine.

Looks at the files that git tracks, and at those it would track.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
THIS = Path(__file__).resolve()

FORBIDDEN = {
    "a package host": re.compile(
        r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|--extra-index"
    ),
    "an address of a package": re.compile(r"https?://\S+\.(?:whl|tar\.gz|deb)\b"),
    "a home folder": re.compile(r"/(?:(?:home|Users)/[a-z][\w.-]*|root)/"),
}
LOCK_FILES = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "package-lock.json"}


def _files() -> list[Path]:
    run = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if run.returncode != 0:
        pytest.skip(f"not a git checkout: {run.stderr.strip()}")
    return [path for name in run.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def _complaints(name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        for what, pattern in FORBIDDEN.items():
            if pattern.search(line):
                yield f"{name}:{number} names {what}: {line.strip()[:80]}"


def test_no_tracked_file_names_a_host_or_a_machine() -> None:
    wrong: list[str] = []
    for path in _files():
        if path.resolve() == THIS:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # binary: sizes and hashes are for others to judge
        wrong += _complaints(str(path.relative_to(ROOT)), text)
        if str(ROOT) in text:
            wrong.append(f"{path.relative_to(ROOT)} names this checkout's folder")
    assert not wrong, "\n".join(wrong)


def test_no_lock_file_is_tracked() -> None:
    assert not [path for path in _files() if path.name in LOCK_FILES]


@pytest.mark.parametrize(
    "line",
    [
        "pip install --extra-index=x",
        "see https://example.org/some-1.0.whl",
        "cd /home/someone/src",
    ],
)
def test_each_kind_is_recognised(line: str) -> None:
    assert list(_complaints("file", line))
