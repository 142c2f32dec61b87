"""A whole HTML document around sections: one file, no network, no fonts, no script.

A content security policy in the page forbids what the page does not do.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgenas.report.markup import Markup, element, trusted_style
from edgenas.report.style import PAGE_STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def document(title: str, sections: Iterable[Markup]) -> str:
    """Return the whole document (HTML living standard, UTF-8)."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width,initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        trusted_style(PAGE_STYLE),
    )
    body = element("body", element("main", *sections))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"
