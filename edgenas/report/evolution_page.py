"""The page of an evolved space: before and after, what was scored, and what the table says.

Arranges what `evolution_plots` draws.
"""

from __future__ import annotations

from pathlib import Path

from edgenas.report import units
from edgenas.report.document import document
from edgenas.report.evolution import Evolution, ScoredSpace
from edgenas.report.evolution_plots import (
    FULL,
    FULL_NARROW,
    NARROW,
    SHOWN_SPACES,
    THIRD,
    THIRD_NARROW,
    WIDE,
    spaces_plot,
    stages_plot,
    table_plot,
)
from edgenas.report.files import write_text_atomically
from edgenas.report.markup import Markup, element


def write_evolution_html(evolution: Evolution, path: Path) -> None:
    """Write the page, atomically.

    Raises:
        ReportFileError: the file cannot be written.
    """
    write_text_atomically(path, evolution_page(evolution))


def evolution_page(evolution: Evolution) -> str:
    """Return the whole document."""
    sections = (_header(evolution), _stages(evolution), _spaces(evolution), _table(evolution))
    return document(_title(evolution), sections)


def _title(evolution: Evolution) -> str:
    return f"{evolution.after.name} for {evolution.device}"


def _header(evolution: Evolution) -> Markup:
    limit = units.limit_ms(evolution.limit_ms)
    found = (
        f"The best of {units.count(len(evolution.scored))} scored spaces, of the "
        f"{units.count(evolution.spaces)} around {evolution.before.name}: "
        f"{_told(evolution.best)}."
    )
    before = "" if evolution.own is None else f" {evolution.before.name}: {_told(evolution.own)}."
    return element(
        "header",
        element("h1", _title(evolution)),
        element("p", f"{found}{before}", class_="lead"),
        element(
            "p",
            f"Networks shall take {limit} at most. The teacher is the largest network of "
            f"{evolution.teacher}. Train the space with: edgenas train --space space.toml",
            class_="note",
        ),
    )


def _told(one: ScoredSpace) -> str:
    share = units.percent(one.share)
    return f"{share} of its networks within the limit, loss of the best {one.loss:.3f}"


def _stages(evolution: Evolution) -> Markup:
    sizes = (
        f"{units.count(evolution.before.size())} subnets before, "
        f"{units.count(evolution.after.size())} after. Resolutions, stem, head and numbers of "
        "blocks are the same."
    )
    return element(
        "section",
        element("h2", "Before and after"),
        element(
            "p", f"Kernels (k), expansions (e) and widths of each stage. {sizes}", class_="note"
        ),
        stages_plot(evolution, WIDE),
        stages_plot(evolution, NARROW),
        class_="panel",
    )


def _spaces(evolution: Evolution) -> Markup:
    count = len(evolution.scored)
    drawn = f"{units.count(count)} spaces"
    if count > SHOWN_SPACES:
        drawn = f"{SHOWN_SPACES} of {units.count(count)} spaces: the best, and some of the others"
    told = (
        f"{drawn}. Better is lower and further right; beyond {units.percent(evolution.wanted)} "
        "nothing more is gained. The losses are sums over stages that were imitated one by one: "
        "they rank spaces, and are no accuracy."
    )
    return element(
        "section",
        element("h2", "What was scored"),
        element("p", told, class_="note"),
        spaces_plot(evolution, FULL),
        spaces_plot(evolution, FULL_NARROW),
        class_="panel",
    )


def _table(evolution: Evolution) -> Markup:
    plots = [
        element("div", wide, table_plot(evolution, stage, THIRD_NARROW))
        for stage in range(len(evolution.widths))
        if (wide := table_plot(evolution, stage, THIRD))
    ]
    told = (
        f"{units.count(len(evolution.rows))} sub-stages: how far in INT8 each is from what the "
        "teacher's stage gives (1: as far as its mean), and how long its file takes on the device."
    )
    left_out = [element("li", why) for why in evolution.excluded]
    return element(
        "section",
        element("h2", "Why"),
        element("p", told, class_="note"),
        element("div", *plots, class_="plots three"),
        element("h3", "Left out, for their figures cannot be trusted") if left_out else Markup(),
        element("ul", *left_out) if left_out else Markup(),
        class_="panel",
    )
