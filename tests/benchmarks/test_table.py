"""The page of figures is what the results say, and says which aims are missed."""

from typing import Any

import pytest

from benchmarks.record import RESULTS
from benchmarks.table import (
    BEGIN,
    END,
    PAGE,
    number,
    read_results,
    section,
    tables,
    with_tables,
)


def result(**figure: Any) -> dict[str, Any]:
    whole = {
        "name": "speed",
        "value": 2.0,
        "unit": "ms",
        "target": 3.0,
        "direction": "<=",
        **figure,
    }
    return {
        "benchmark": "some",
        "figures": [whole],
        "command": "python -m benchmarks.some",
        "commit": "abc",
        "date": "2026-01-02T03:04:05+00:00",
        "machine": {"cpu": "C", "cores": "2", "torch": "2", "ai-edge-litert": "2"},
    }


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    made = with_tables(page, tables(read_results(RESULTS)))
    assert page == made, "results have changed: run `python -m benchmarks.table`"


@pytest.mark.parametrize(
    ("figure", "row"),
    [
        ({}, "| speed | 2 ms | ≤ 3 ms | yes |"),
        ({"value": 3.5}, "| speed | 3.5 ms | ≤ 3 ms | **no** |"),
        ({"direction": ">="}, "| speed | 2 ms | ≥ 3 ms | **no** |"),
        ({"name": "speed (informational)", "value": 9}, "| speed | 9 ms |  |  |"),
        ({"unit": "", "value": float("nan")}, "| speed | none | ≤ 3 | **no** |"),
        (
            {"measured": {"date": "2026-02-03T00:00:00", "commit": "def"}},
            "| speed (2026-02-03, commit def) | 2 ms | ≤ 3 ms | yes |",
        ),
    ],
)
def test_rows(figure: dict[str, Any], row: str) -> None:
    assert row in section(result(**figure)).splitlines()


def test_a_section_says_where_it_comes_from() -> None:
    text = section(result())
    assert text.startswith("### some\n")
    assert "`python -m benchmarks.some`" in text
    assert "2026-01-02, commit abc, 2 cores of C" in text


def test_what_stands_around_is_kept() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = with_tables(page, "new\n")
    assert new == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert with_tables(new, "new\n") == new
    with pytest.raises(SystemExit, match="expected the lines"):
        with_tables("nothing", "new")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (87.33999999999999, "87.34"), (100.0, "100"), (0, "0"), (12345.6, "12,346"), (0.83, "0.83"),
        (5.714e-7, "5.7e-07"), (98.21826, "98.22"), (1234567.0, "1,234,567"), (-0.25, "-0.25"),
    ],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
