"""What `edgenas search --help` says of searchers, held against the registry."""

import pytest

from edgenas.cli.main import parser
from edgenas.search import SEARCHERS


def test_the_help_names_every_searcher(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["search", "--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in SEARCHERS)


def test_the_searcher_is_evolution_unless_told_otherwise() -> None:
    words = ["search", "run", "--broker", "mqtt://localhost"]
    assert parser().parse_args(words).searcher == "evolution"
    assert parser().parse_args([*words, "--searcher", "surrogate"]).searcher == "surrogate"
