"""Markup that cannot be broken by its content, for HTML and inline SVG alike.

`element` escapes every plain string that it is given, as text and as attribute; only values of
type `Markup` pass as they are, and only this module makes them. What is drawn is decided
elsewhere.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_VOID = frozenset({"meta", "br", "hr"})
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


class Markup(str):
    """Text that is already markup."""

    __slots__ = ()


def printable(value: str) -> str:
    """Replace what no document and no terminal should get: controls, bidi overrides, surrogates.

    Tab and line breaks stay.
    """
    return _UNPRINTABLE.sub("\ufffd", value)


def escape(value: str) -> Markup:
    """Return `value` as markup; markup passes unchanged."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(printable(value), quote=True))


def join(parts: Iterable[str]) -> Markup:
    """Return the parts one after the other, each escaped unless it is markup."""
    return Markup("".join(escape(part) for part in parts))


def element(tag: str, *children: str, **attributes: str | float | bool | None) -> Markup:
    """Return one element.

    Args:
        tag: name of the element, from the program, never from outside.
        children: markup, or plain text that gets escaped.
        attributes: values; None and False leave the attribute out, True writes it bare. A
            trailing underscore is dropped and the others become hyphens (`class_`, `stroke_width`).
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{join(children)}</{tag}>")


def trusted_style(css: str) -> Markup:
    """Return a style element around a style sheet that the program itself wrote.

    Raises:
        ValueError: the style sheet holds `</`, which would end the element.
    """
    if "</" in css:
        raise ValueError("expected a style sheet without '</', got one with it")
    return Markup(f"<style>{css}</style>")


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    if isinstance(value, float):
        value = f"{value:.2f}".rstrip("0").rstrip(".")
    return f' {name}="{escape(str(value))}"'
