"""What a campaign found out, as a value, as JSON, as a page, as a plot and as a table.

The campaign fills `Report`; this package only writes and reads it. `terminal_table` lies in
`edgenas.report.terminal`, because it is the only part that needs rich.
"""

from __future__ import annotations

from edgenas.report.choices import Options
from edgenas.report.errors import (
    ReportError,
    ReportFieldError,
    ReportFileError,
    ReportSchemaError,
)
from edgenas.report.files import read_report_json, write_report_json
from edgenas.report.model import (
    SCHEMA,
    Baseline,
    Budget,
    CandidatePoint,
    DeviceReport,
    FailedTrial,
    Failure,
    Finalist,
    Pick,
    Prediction,
    ProgressPoint,
    Report,
    Shipment,
)
from edgenas.report.page import write_report_html
from edgenas.report.plots import write_plot_svg
from edgenas.report.training import DataSummary, SupernetSummary, TrainingPoint, TrainingSummary

__all__ = [
    "SCHEMA",
    "Baseline",
    "Budget",
    "CandidatePoint",
    "DataSummary",
    "DeviceReport",
    "FailedTrial",
    "Failure",
    "Finalist",
    "Options",
    "Pick",
    "Prediction",
    "ProgressPoint",
    "Report",
    "ReportError",
    "ReportFieldError",
    "ReportFileError",
    "ReportSchemaError",
    "Shipment",
    "SupernetSummary",
    "TrainingPoint",
    "TrainingSummary",
    "read_report_json",
    "write_plot_svg",
    "write_report_html",
    "write_report_json",
]
