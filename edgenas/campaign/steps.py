"""The last steps of a campaign, as the commands `ship` and `report` and the demo run them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.finals import budget_of
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import Picked, finals_by_device, read_picks, read_setups
from edgenas.campaign.progress import Progress
from edgenas.campaign.reporting import Sources, build_report
from edgenas.campaign.rundir import RunDir, read_json, write_json
from edgenas.campaign.shipments import Shipment, read_shipments, save_shipments
from edgenas.campaign.shipping import runs_something_else, ship
from edgenas.campaign.workbench import Workbench
from edgenas.fleet.host import FleetHost
from edgenas.report import Report, write_report_html, write_report_json
from edgenas.search.study import Study
from edgenas.search.trial import Outcome
from edgenas.space.arch import Arch


def ship_picks(
    bench: Workbench,
    host: FleetHost,
    setups: Sequence[DeviceSetup],
    picks: Sequence[Picked],
    progress: Progress,
) -> list[Shipment]:
    """Ship each device its pick, unless it confirmed that it runs it already."""
    chosen = {p.device_id: p for p in picks if p.arch is not None}
    progress.phase("shipping", len(chosen))
    known = read_shipments(bench.run)
    for done, setup in enumerate(s for s in setups if s.device_id in chosen):
        device, arch = setup.device_id, chosen[setup.device_id].arch
        assert arch is not None
        candidate = bench.scorer.candidate(arch, setup.file_format)
        before, model = known.get(device), candidate.exported.sha256
        confirmed = before is not None and before.succeeded and before.sha256 == model
        if not confirmed or runs_something_else(host, device, model):
            known[device] = ship(
                host,
                bench.run,
                candidate,
                setup,
                budget_of(bench.study, device),
                bench.data.classes,
                tolerance_lsb=golden_lsb(bench.study, device, arch),
            )
            save_shipments(bench.run, list(known.values()))
        what = known[device]
        progress.advance(done + 1, f"{device}: {what.outcome} {what.detail}".strip())
        said = what.detail or what.notes
        progress.note(f"  {device}: release {what.counter} {what.outcome} {said}".rstrip())
    return list(known.values())


def write_reports(bench: Workbench, command: str, progress: Progress) -> Report:
    """Read the test split for the picks and write report.json and report.html."""
    progress.phase("testing the picks and writing the report", None)
    setups, _ = read_setups(bench.run)
    sources = Sources(
        bench.run, bench.card, bench.checkpoint, bench.data, bench.scorer, bench.study,
        setups, read_picks(bench.run), read_shipments(bench.run), finals_by_device(bench.run),
        Phases(bench.run).seconds,
    )  # fmt: skip
    report = build_report(sources, command)
    write_report_json(report, bench.run.report_json)
    write_report_html(report, bench.run.report_html)
    return report


def golden_lsb(study: Study, device: str, arch: Arch) -> int:
    """Largest difference from the host's output that this device's runtime has shown."""
    found = [s.result for s in study.sessions(device, arch.id)]
    seen = [o.golden_max_lsb or 0 for o in found if isinstance(o, Outcome)]
    return max(seen, default=0)


class Phases:
    """Wall time of each phase, added up over interrupted runs."""

    def __init__(self, run: RunDir) -> None:
        self._path = run.path / "phases.json"
        self.seconds = _read_seconds(self._path)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began
            write_json(self._path, self.seconds)


def _read_seconds(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    body = read_json(path, "edgenas demo")
    try:
        return {str(name): float(seconds) for name, seconds in body.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{path}: expected seconds by phase, got {error!r}; delete the file: only the wall "
            f"times of the report are lost"
        ) from error
