"""Space files: what is written is read back, and what is wrong is named."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgenas.space import PRESETS, ArchError
from edgenas.space.narrowing import narrowed_by
from edgenas.space.space_file import read_space_file, space_toml
from tests.edgenas.space.test_space import LAYER_BITS

SPACES = [
    *PRESETS.values(),
    replace(PRESETS["digits"], name='a "quoted" \\ name', bits=(4, 8)),
    narrowed_by(PRESETS["cifar"], {"s1.b2.kernel": (3,), "s2.b0.expand": (3, 6)}),
    narrowed_by(LAYER_BITS, {"s0.b1.project.bits": (8,), "s1.b0.first.bits": (4,)}),
]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_what_is_written_is_read_back(tmp_path: Path, space: object) -> None:
    assert isinstance(space, type(PRESETS["digits"]))
    file = tmp_path / "space.toml"
    file.write_text(space_toml(space, "made by hand\nfor a test"), encoding="utf-8")
    assert read_space_file(file, channels=space.channels, classes=space.classes) == space
    assert read_space_file(file, channels=4, classes=3).classes == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('format = "edgenas-space/1"', 'format = "other/1"'), "expected `format"),
        (("stems = [8, 16]", "stem = [8, 16]"), "did you mean `stems`"),
        (("stems = [8, 16]", "stems = [8, 12]"), "multiples of 8"),
        (("stems = [8, 16]", "stems = [8, true]"), "expected a list of whole numbers"),
        (("stems = [8, 16]", ""), "a line for each of stems"),
        (("stems = [8, 16]", "stems = 8, 16"), "expected TOML"),
        (("stride = 2", 'stride = "2"'), "expected a whole number"),
        (("stride = 2", 'block = "dense"'), "expected one of mbconv"),
        (("resolutions = [8, 12, 16]", "resolutions = [[8]]"), r"\[height, width\]"),
        (("[[stages]]", "[stages]"), "stages"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    file = tmp_path / "space.toml"
    text = space_toml(PRESETS["digits"])
    assert change[0] in text
    file.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(ArchError, match=message) as raised:
        read_space_file(file)
    assert str(file) in str(raised.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ArchError, match="edgenas space show"):
        read_space_file(tmp_path / "none.toml")
    (tmp_path / "long.toml").write_bytes(b"#" * 70_000)
    with pytest.raises(ArchError, match="at most 65536 bytes"):
        read_space_file(tmp_path / "long.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ArchError, match="expected TOML"):
        read_space_file(tmp_path / "bytes.toml")
