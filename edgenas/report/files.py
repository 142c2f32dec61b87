"""Files of a report: atomic writing, and reading back `report.json` of the right schema.

A file is either the whole new one or the whole old one, whatever happens in between. What stands
in the files is decided by `json_form`, `page` and `plots`.
"""

from __future__ import annotations

import json
from pathlib import Path

from edgenas.report.errors import ReportFieldError, ReportFileError, ReportSchemaError
from edgenas.report.json_form import from_json_value, to_json_value
from edgenas.report.model import SCHEMA, Report
from edgenas.whole_file import write_whole

MAX_REPORT_BYTES = 64 * 1024 * 1024


def write_report_json(report: Report, path: Path) -> None:
    """Write `report` as JSON (RFC 8259, UTF-8), atomically.

    Raises:
        ReportFileError: the file cannot be written; an older file is left as it was.
    """
    form = to_json_value(report)
    assert isinstance(form, dict)
    ordered = {"schema": report.schema, **form}
    write_text_atomically(path, json.dumps(ordered, indent=1, allow_nan=False) + "\n")


def read_report_json(path: Path) -> Report:
    """Read a report back.

    Raises:
        ReportSchemaError: the file is of another schema, older or newer.
        ReportFileError: the file cannot be read, is too large, or is not a whole report.
    """
    form = _parse(path, _read_capped(path))
    _check_schema(path, form)
    try:
        return from_json_value(Report, form)
    except ReportFieldError as error:
        raise ReportFileError(path, f"{error}; write the report again") from error


def write_text_atomically(path: Path, text: str) -> None:
    """Write `text` as UTF-8 in one step.

    Raises:
        ReportFileError: the file cannot be written; an older file is left as it was.
    """
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise ReportFileError(
            path, f"cannot be written ({error.strerror}); choose a folder that exists"
        ) from error


def _read_capped(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_REPORT_BYTES + 1)
    except OSError as error:
        raise ReportFileError(path, f"cannot be read ({error.strerror})") from error
    if len(content) > MAX_REPORT_BYTES:
        raise ReportFileError(path, f"expected at most {MAX_REPORT_BYTES} bytes, got more")
    return content


def _parse(path: Path, content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise ReportFileError(path, f"expected JSON, got something else ({reason})") from error


def _check_schema(path: Path, form: object) -> None:
    found = form.get("schema") if isinstance(form, dict) else None
    if found == SCHEMA:
        return
    name, _, version = SCHEMA.rpartition("/")
    advice = "this is not a file that write_report_json wrote"
    if isinstance(found, str) and found.startswith(f"{name}/"):
        number = found.rpartition("/")[2]
        newer = number.isdecimal() and int(number) > int(version)
        advice = "update edgenas to read it" if newer else "run the campaign's report step again"
    raise ReportSchemaError(path, SCHEMA, found, advice)
