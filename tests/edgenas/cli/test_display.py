"""The display: lines where there is no terminal, one bar at a time where there is one."""

import io

import pytest
from rich.console import Console

from edgenas.cli import display
from edgenas.cli.display import Display


def shown(*, terminal: bool, every_s: float = 0.0) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100)
    with pytest.MonkeyPatch.context() as patch, Display(console) as shows:
        patch.setattr(display, "LINE_EVERY_S", every_s)
        shows.phase("searching", 3)
        for done in (1, 2, 3):
            shows.advance(done, f"figure [{done}]")
        shows.note("[bold]kept as it is[/bold] " + "long " * 40)
        shows.phase("reporting", None)
        shows.advance(1, "")
    return text.getvalue()


def test_without_a_terminal_there_are_plain_lines() -> None:
    lines = shown(terminal=False).splitlines()
    assert lines[:4] == [
        "searching ...",
        "  1 of 3: figure [1]",
        "  2 of 3: figure [2]",
        "  3 of 3: figure [3]",
    ]
    assert lines[4].startswith("[bold]kept as it is[/bold] long long")
    assert lines[4].endswith("long ")
    assert lines[5].startswith("  searching: ")
    assert lines[5].endswith(" s; figure [3]")
    assert lines[6] == "reporting ..."
    assert not any("\x1b" in line for line in lines)


def test_without_a_terminal_lines_are_rare() -> None:
    lines = shown(terminal=False, every_s=3600.0).splitlines()
    assert not any("of 3:" in line for line in lines)
    assert any(line.endswith("; figure [3]") for line in lines)  # the last figure is not lost


def test_on_a_terminal_there_is_a_bar() -> None:
    text = shown(terminal=True)
    assert "searching" in text
    assert "\x1b" in text
    assert "searching ..." not in text


def test_an_error_ends_the_display() -> None:
    text = io.StringIO()
    shows = Display(Console(file=text))
    with pytest.raises(RuntimeError):
        _fail_in_a_phase(shows)
    assert "searching: " in text.getvalue()


def _fail_in_a_phase(shows: Display) -> None:
    with shows:
        shows.phase("searching", 3)
        raise RuntimeError
