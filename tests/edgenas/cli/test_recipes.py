"""`edgenas recipes` lists and prints; `edgenas train` takes name, file and options, in order."""

import argparse
from pathlib import Path

import pytest

from edgenas.cli.main import parser
from edgenas.cli.options import training_options
from edgenas.train.recipe import CHOICES, Recipe
from edgenas.train.recipes import METHODS, RECIPES, recipe
from edgenas.train.samplers import SAMPLERS
from tests.edgenas.cli.conftest import Calls


def _recipe(*words: object) -> Recipe:
    args: argparse.Namespace = parser().parse_args(["train", "--out", "x", *map(str, words)])
    return training_options(args).chosen_recipe()


def test_the_list_names_everything(edgenas: Calls) -> None:
    words = edgenas("recipes").replace(",", " ").split()
    assert {*RECIPES, *METHODS, *SAMPLERS} <= set(words)
    assert {name for names in CHOICES.values() for name in names} <= set(words)


def test_a_printed_recipe_is_a_recipe_file(edgenas: Calls, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(edgenas("recipes", "alphanet", "--on", "fashion"), "utf-8")
    assert _recipe("--recipe-file", path) == recipe("alphanet", "fashion")
    assert "expected one of digits, " in edgenas.error("recipes", "nothing")


def test_name_then_file_then_options(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('rate = 0.5\nbatch = 16\nsampler = "uniform"\n', "utf-8")
    found = _recipe("--recipe", "todm", "--recipe-file", path, "--batch", 32, "--seed", 4)
    expected = recipe("todm", "digits").override(rate=0.5, batch=32, sampler="uniform", seed=4)
    assert found == expected
    assert _recipe("--sampler", "deps").sampler == "deps"
    assert _recipe("--preset", "cifar", "--recipe", "bignas").batch == RECIPES["cifar"].batch


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ratee = 1", "did you mean `rate`?"),
        ('rate = "fast"', "rate: expected a number such as"),
        ("rate = -1", "recipe rate: expected > 0, got -1"),
        ('sampler = "nobody"', "recipe sampler: expected one of sandwich, "),
        ('teachers = ["external"]\nteacher_files = ["none.pt"]', "expected the file none.pt"),
    ],
)
def test_a_file_that_cannot_be_makes_no_run(
    edgenas: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.toml").write_text(text, "utf-8")
    assert words in edgenas.error("train", "--out", "new", "--recipe-file", "my.toml")
    assert not Path("new").exists()
