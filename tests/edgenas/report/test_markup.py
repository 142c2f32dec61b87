"""Markup cannot be broken by its content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenas.report.markup import Markup, element, escape, join, printable, trusted_style
from tests.edgenas.report.parsing import read_page


@given(st.text())
def test_any_text_comes_back_as_text(value: str) -> None:
    reader = read_page(element("p", value, title=value))
    assert reader.tags == ["p"]
    assert "".join(reader.text) == printable(value)
    assert [name for name, _ in reader.attributes] == ["title"]


@given(st.text())
def test_any_text_can_be_written_as_utf8(value: str) -> None:
    escape(value).encode("utf-8")


def test_markup_passes_and_text_does_not() -> None:
    assert element("b", Markup("<i></i>"), "<i>") == "<b><i></i>&lt;i&gt;</b>"
    assert join(("<", Markup("<br>"))) == "&lt;<br>"


def test_concatenated_markup_is_text_again() -> None:
    glued = element("i") + element("b")
    assert escape(glued).startswith("&lt;i")


def test_attributes_are_named_and_left_out() -> None:
    written = element("p", class_="a", stroke_width=1.50, hidden=True, id=None, open=False)
    assert written == '<p class="a" stroke-width="1.5" hidden></p>'


def test_controls_overrides_and_surrogates_are_replaced() -> None:
    assert printable("a\x1b[31m\u202eb\ud800\n") == "a\ufffd[31m\ufffdb\ufffd\n"


def test_style_cannot_end_its_element() -> None:
    with pytest.raises(ValueError, match="</"):
        trusted_style("a{}</style><script>")
