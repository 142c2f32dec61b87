"""The report as one HTML page that needs nothing else: no network, no fonts, no script.

A content security policy in the page forbids what the page does not do. The sections themselves
are `sections`' business.
"""

from __future__ import annotations

from pathlib import Path

from edgenas.report import sections
from edgenas.report.files import write_text_atomically
from edgenas.report.markup import Markup, element, trusted_style
from edgenas.report.model import Report
from edgenas.report.style import PAGE_STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def write_report_html(report: Report, path: Path) -> None:
    """Write the page, atomically.

    Raises:
        ReportFileError: the file cannot be written.
    """
    write_text_atomically(path, report_page(report))


def report_page(report: Report) -> str:
    """Return the whole document (HTML living standard, UTF-8)."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width,initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", report.title),
        trusted_style(PAGE_STYLE),
    )
    body = element("body", element("main", *_sections(report)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _sections(report: Report) -> list[Markup]:
    devices = (
        sections.device_section(number, device)
        for number, device in enumerate(report.devices, start=1)
    )
    return [
        sections.header(report),
        sections.cards(report),
        *devices,
        sections.training_section(report),
        sections.time_section(report),
        sections.failure_section(report),
        sections.provenance_section(report),
    ]
