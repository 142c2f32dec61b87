"""report.json: what is written is read back, foreign and damaged files are refused by name."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgenas.report import (
    ReportFileError,
    ReportSchemaError,
    read_report_json,
    write_report_json,
)
from edgenas.report import files as report_files
from tests.edgenas.report.edges import edge_devices
from tests.edgenas.report.sample import sample_report


def _written(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    path = tmp_path / "report.json"
    write_report_json(sample_report(), path)
    return path, json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("edge", sorted(edge_devices()))
def test_report_is_read_back_equal(edge: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    report = replace(sample_report(), devices=(edge_devices()[edge],))
    write_report_json(report, path)
    assert read_report_json(path) == report


def test_number_of_subnets_may_be_huge_or_a_text(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for subnets in (10**40, "more than 10^40"):
        report = sample_report()
        report = replace(report, supernet=replace(report.supernet, subnets=subnets))
        write_report_json(report, path)
        assert read_report_json(path).supernet.subnets == subnets


def test_schema_stands_first(tmp_path: Path) -> None:
    _, form = _written(tmp_path)
    assert next(iter(form.items())) == ("schema", "edgenas-report/1")


def test_unknown_fields_are_ignored_and_optional_ones_may_miss(tmp_path: Path) -> None:
    path, form = _written(tmp_path)
    form["later"] = {"a": 1}
    form["devices"][0]["later"] = 2
    del form["failures"]
    path.write_text(json.dumps(form))
    assert read_report_json(path) == replace(sample_report(), failures=())


def test_missing_required_field_is_named_by_its_path(tmp_path: Path) -> None:
    path, form = _written(tmp_path)
    del form["devices"][1]["pick"]["sha256"]
    path.write_text(json.dumps(form))
    with pytest.raises(ReportFileError, match=r"devices\[1\]\.pick\.sha256.*required"):
        read_report_json(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threads": "1"}, r"devices\[0\]\.threads.*type int, got '1'"),
        ({"threads": True}, r"devices\[0\]\.threads.*type int, got True"),
        ({"candidates": {}}, r"devices\[0\]\.candidates.*a list"),
        ({"budget": []}, r"devices\[0\]\.budget.*an object"),
        ({"budget": {"latency_p95_ms": -1, "peak_memory_bytes": None, "chosen": ""}}, "above 0"),
    ],
)
def test_wrong_types_are_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path, form = _written(tmp_path)
    form["devices"][0].update(change)
    path.write_text(json.dumps(form))
    with pytest.raises(ReportFileError, match=message):
        read_report_json(path)


def test_any_searcher_has_a_name(tmp_path: Path) -> None:
    path, form = _written(tmp_path)
    first = form["devices"][0]["candidates"][0]
    first["searcher"] = "a searcher of the user's own"
    path.write_text(json.dumps(form))
    assert read_report_json(path).devices[0].candidates[0].searcher == first["searcher"]
    first["searcher"] = " "
    path.write_text(json.dumps(form))
    with pytest.raises(ReportFileError, match=r"candidates\[0\]\.searcher.*not empty"):
        read_report_json(path)


@pytest.mark.parametrize(
    ("schema", "advice"),
    [
        ("edgenas-report/0", "run the campaign's report step again"),
        ("edgenas-report/2", "update edgenas"),
        ("edgenas-report/x", "report step again"),
        ("something", "not a file that write_report_json wrote"),
        (None, "not a file that write_report_json wrote"),
    ],
)
def test_other_schemas_are_refused_with_advice(
    schema: str | None, advice: str, tmp_path: Path
) -> None:
    path, form = _written(tmp_path)
    form["schema"] = schema
    path.write_text(json.dumps(form))
    with pytest.raises(ReportSchemaError, match=advice) as caught:
        read_report_json(path)
    assert caught.value.found == schema
    assert caught.value.path == path


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 200_000])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ReportFileError, match="expected JSON"):
        read_report_json(path)


def test_list_is_not_a_report(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("[]")
    with pytest.raises(ReportSchemaError):
        read_report_json(path)


def test_file_over_the_cap_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = _written(tmp_path)
    monkeypatch.setattr(report_files, "MAX_REPORT_BYTES", 1000)
    with pytest.raises(ReportFileError, match="at most 1000 bytes"):
        read_report_json(path)


def test_missing_file_and_missing_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(ReportFileError, match="cannot be read"):
        read_report_json(tmp_path / "none.json")
    with pytest.raises(ReportFileError, match="choose a folder that exists"):
        write_report_json(sample_report(), tmp_path / "none" / "report.json")


def test_failed_write_keeps_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = _written(tmp_path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ReportFileError, match="No space left"):
        write_report_json(sample_report(1), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
