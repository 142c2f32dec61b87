"""Draws a space before and after: every choice with its options, those that went struck out.

Plain HTML. Which options went and why is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgenas.report import units
from edgenas.report.choices import Options
from edgenas.report.markup import Markup, element, join


def draw_options(choices: Sequence[Options]) -> Markup:
    """Return the choices, a row for stem and head and one for each stage; empty without any."""
    if not choices:
        return Markup()
    groups: dict[str, list[Options]] = {}
    for one in choices:
        groups.setdefault(_group(one.name), []).append(one)
    rows = [_row(name, of) for name, of in groups.items()]
    gone = sum(len(one.before) - len(one.after) for one in choices)
    told = f"The space before and after: {units.plural(gone, 'option')} went, struck out here."
    table = element("table", *rows, class_="options")
    return join((element("p", told, class_="note"), element("div", table, class_="scroll")))


def _group(name: str) -> str:
    """`s1.b0.kernel` belongs to stage 2, `stem` to the whole network."""
    owner, dot, _ = name.partition(".")
    return f"stage {int(owner.removeprefix('s')) + 1}" if dot else "network"


def _row(group: str, choices: Sequence[Options]) -> Markup:
    cells = [element("td", _label(one), " ", _options(one)) for one in choices]
    return element("tr", element("th", group), *cells)


def _label(one: Options) -> Markup:
    """`s1.b0.kernel` within its row: `block 1 kernel`."""
    parts = one.name.split(".")[-2:]
    block = parts[0].removeprefix("b") if len(parts) == 2 else ""
    named = f"block {int(block) + 1} {parts[-1]}" if block.isdecimal() else parts[-1]
    return element("small", named)


def _options(one: Options) -> Markup:
    left = set(one.after)
    marks = [element("b" if option in left else "s", option) for option in one.before]
    return join([mark for pair in zip(marks, [" "] * len(marks), strict=True) for mark in pair])
