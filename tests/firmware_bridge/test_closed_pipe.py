"""A command whose output nobody reads any more ends without a word."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("words", [("doctor",), ("doctor", "--json")])
def test_a_reader_that_has_seen_enough_is_no_error(
    words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    command = [sys.executable, "-m", "firmware_bridge.cli", *words]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
        cwd=tmp_path_factory.mktemp("here"),
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
