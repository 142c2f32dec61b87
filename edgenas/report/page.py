"""The report as one HTML page.

The document around it is `document`'s business, the sections themselves are `sections`'.
"""

from __future__ import annotations

from pathlib import Path

from edgenas.report import sections
from edgenas.report.document import document
from edgenas.report.files import write_text_atomically
from edgenas.report.markup import Markup
from edgenas.report.model import Report


def write_report_html(report: Report, path: Path) -> None:
    """Write the page, atomically.

    Raises:
        ReportFileError: the file cannot be written.
    """
    write_text_atomically(path, report_page(report))


def report_page(report: Report) -> str:
    """Return the whole document."""
    return document(report.title, _sections(report))


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
