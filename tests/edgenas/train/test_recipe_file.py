"""Recipe files: what they say is taken, what they cannot say is refused with a way out."""

from dataclasses import fields
from pathlib import Path

import pytest

from edgenas.train.recipe import Recipe, RecipeError
from edgenas.train.recipe_file import read_recipe_file, recipe_toml
from edgenas.train.recipes import METHODS, RECIPES, recipe


def _file(folder: Path, text: str) -> Path:
    path = folder / "my.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_of_every_kind(tmp_path: Path) -> None:
    numbers = "rate = 1\nepochs = 2.5\nbatch = 7\nflip = true\n"
    text = numbers + 'schedule = "constant"\nteachers = [] # none'
    changed = Recipe().override(**read_recipe_file(_file(tmp_path, text)))
    expected = Recipe(rate=1.0, epochs=2.5, batch=7, flip=True, schedule="constant", teachers=())
    assert changed == expected


@pytest.mark.parametrize("name", [*RECIPES, *METHODS])
def test_a_printed_recipe_reads_back(tmp_path: Path, name: str) -> None:
    printed = recipe(name, "fashion")
    path = _file(tmp_path, recipe_toml(printed))
    assert Recipe().override(**read_recipe_file(path)) == printed
    assert "seed" not in path.read_text("utf-8")


def test_texts_with_quotes_read_back(tmp_path: Path) -> None:
    odd = Recipe(teachers=("external",), teacher_files=('a "b" \\ c/checkpoint.pt', "d.pt"))
    path = _file(tmp_path, recipe_toml(odd))
    assert Recipe().override(**read_recipe_file(path)) == odd


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ratee = 0.1", "expected fields of a recipe, got 'ratee'; did you mean `rate`"),
        ("zzz = 0.1", "expected fields of a recipe, got 'zzz'; known are epochs, batch,"),
        ("[train]\nrate = 0.1", "expected fields of a recipe, got 'train'"),
        ('rate = "fast"', r"rate: expected a number such as `rate = 0.1`, got 'fast'"),
        ("rate = true", "rate: expected a number .* got True"),
        ("batch = 12.5", "batch: expected a whole number such as `batch = 128`, got 12.5"),
        ("batch = true", "batch: expected a whole number .* got True"),
        ("flip = 1", "flip: expected true or false such as `flip = false`, got 1"),
        ("schedule = 3", 'schedule: expected a text such as `schedule = "cosine"`, got 3'),
        ('teachers = "largest"', r'expected a list of texts such as `teachers = \["largest"\]`'),
        ("teachers = [1]", r"teachers: expected a list of texts .* got \[1\]"),
        ("seed = 4", "expected no `seed`, .* say `--seed 4`"),
        ("rate 0.1", "expected TOML such as .*, got .* mend that line"),
        ("rate = 0.1\nrate = 0.2", "expected TOML such as .*, got .* mend that line"),
        ("#" * 70_000, "expected at most 65536 bytes"),
    ],
)
def test_what_a_file_cannot_say(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        read_recipe_file(_file(tmp_path, text))


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="expected TOML"):
        read_recipe_file(tmp_path / "my.toml")
    with pytest.raises(RecipeError, match=r"expected a readable file, .* `edgenas recipes NAME"):
        read_recipe_file(tmp_path / "none.toml")
    with pytest.raises(RecipeError, match="expected a readable file"):
        read_recipe_file(tmp_path)


def test_every_field_can_be_said(tmp_path: Path) -> None:
    found = read_recipe_file(_file(tmp_path, recipe_toml(Recipe())))
    assert set(found) == {field.name for field in fields(Recipe)} - {"seed"}
