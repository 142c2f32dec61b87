"""Files that people write are refused in one way whatever they are for; what is written is read."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tomllib
from hypothesis import given
from hypothesis import strategies as st

from edgenas.errors import EdgenasError
from edgenas.rollout.errors import PlanError
from edgenas.rollout.plan_file import MAX_BYTES as PLAN_BYTES
from edgenas.rollout.plan_file import read_recipe
from edgenas.space.arch import ArchError
from edgenas.space.space_file import read_space_file
from edgenas.toml_file import MAX_BYTES, literal, meant
from edgenas.train.recipe import RecipeError
from edgenas.train.recipe_file import read_recipe_file

READERS: dict[str, tuple[Callable[[Path], object], type[EdgenasError], int]] = {
    "space file": (read_space_file, ArchError, MAX_BYTES),
    "recipe file": (read_recipe_file, RecipeError, MAX_BYTES),
    "plan file": (read_recipe, PlanError, PLAN_BYTES),
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"expected a readable file, got .*No such file.*; .*(write|docs)"),
        (b"rate = \n", r"expected TOML such as `.+ = .+`, got .*line 1.*; mend that line"),
        (b"\xff = 1", r"expected TOML such as `.+ = .+`, got .*decode.*; mend that line"),
        (b"x = " + b"[" * 5000, r"expected TOML such as `.+ = .+`, got .*; mend that line"),
        (b"#" * (PLAN_BYTES + 2), r"expected at most \d+ bytes, got more; is it the right file"),
        (b"nonsense = 1", r".*expected .*, got .*"),
    ],
)
def test_every_kind_says_what_was_expected_and_what_to_do(
    kind: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    read, error, _ = READERS[kind]
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=rf"^{kind} .*mine\.toml: ({said})"):
        read(path)


@pytest.mark.parametrize("kind", READERS)
def test_a_file_of_the_most_bytes_is_read(kind: str, tmp_path: Path) -> None:
    read, error, cap_bytes = READERS[kind]
    path = tmp_path / "mine.toml"
    path.write_bytes(b"#" * cap_bytes)
    if kind == "space file":  # empty it is no space, which is another complaint
        with pytest.raises(error, match="put that line first"):
            read(path)
    else:
        read(path)


VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8")),
)


@given(st.recursive(VALUES, st.lists, max_leaves=5))
def test_what_is_written_is_read(value: object) -> None:
    assert tomllib.loads(f"x = {literal(value)}") == {"x": value}


def test_a_slip_of_the_pen_is_named() -> None:
    assert meant("rates", ["rate", "batch"]) == "did you mean `rate`?"
    assert meant("zzz", ["rate", "batch"]) == "known are rate, batch"
