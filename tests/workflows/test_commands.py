"""The commands one after the other, as a user types them: from nothing to a report."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from edgenas.campaign.picking import read_picks
from edgenas.campaign.rundir import RunDir
from edgenas.data.digits import read_digits
from edgenas.export.run_bytes import run_codes
from edgenas.model.images import to_codes
from edgenas.report import read_report_json
from edgenas.space.arch import Arch
from tests.edgenas.campaign.runs import FLAGS
from tests.workflows.sites import DEVICES, FLEET, Commands, Site, ended_trials, until


@contextmanager
def broker_command(edgenas: Commands) -> Iterator[str]:
    """`edgenas broker` on a free port; its address."""
    port_file = edgenas.folder / "port"
    with edgenas.start("broker", "--port", 0, "--port-file", port_file) as broker:
        try:
            until(lambda: port_file.exists() and bool(port_file.read_text().strip()))
            yield f"mqtt://127.0.0.1:{port_file.read_text().strip()}"
            broker.terminate()
            broker.communicate(timeout=30)
        finally:
            broker.kill()
    assert broker.returncode == 0


@pytest.mark.timeout(300)  # a slow machine with other work
def test_from_nothing_to_a_report(edgenas: Commands, trained: Path) -> None:
    run = RunDir(edgenas.folder / "run")
    assert edgenas("train", "--out", "run", *FLAGS).split() == ["run/checkpoint.pt"]
    check_export(edgenas)
    with broker_command(edgenas) as url, ExitStack() as cleanup:
        site = Site(run, url, edgenas.lock, cleanup)
        reach = ("--broker", url, "--fleet", FLEET)
        check_listing(edgenas, site, reach)
        edgenas(
            *("search", "run", *reach, "--device", "dev-a", "--device", "dev-b=2"),
            *("--budget", "1s", "--budget", "dev-b=2s,1GiB", "--trials", 2, "--random", 1),
            *("--finalists", 1, "--sessions", 1, "--final-level", "quick", "--wait", 60),
        )
        assert len(ended_trials(run)) == 6
        said = edgenas("pick", "run")
        picks = {picked.device_id: picked.arch for picked in read_picks(run)}
        assert all(f"{device}: r" in said for device in DEVICES)
        assert edgenas("ship", "run", *reach).splitlines() == [
            f"{device}: SUCCEEDED" for device in DEVICES
        ]
        shipped = {device: site.model_digest(device) for device in DEVICES}
        edgenas("report", "run")
        check_report(run, picks, shipped)
        back = edgenas("ship", "run", *reach, "--back", "--device", "dev-a")
        assert back == "dev-a: WENT_BACK back on an empty slot\n"
        assert [site.model_digest(device) for device in DEVICES] == [None, shipped["dev-b"]]
        check_rollout(edgenas, reach, {d: arch for d, arch in picks.items() if arch is not None})
        assert {device: site.model_digest(device) for device in DEVICES} == shipped


def check_rollout(edgenas: Commands, reach: tuple[str, ...], picks: dict[str, Arch]) -> None:
    """One rollout gives each group its own pick; the device that has it already keeps it.

    Groups and waves are selected by tags; a selector that picks nobody ends the command.
    """
    gate = "soak_s = 0\nperf_min = 0\nperf_abs = 'off'\nperf_pct = 'off'\n"
    groups = [("lab", "dev-b", "tag:lab"), ("rest", "dev-a", "!tag:lab")]
    text = "".join(f"[[group]]\nname='{n}'\npick='{p}'\ndevices='{d}'\n" for n, p, d in groups)
    text += f"[[wave]]\ncanaries = 'group:ring-0'\n{gate}[[wave]]\ndevices = '*'\n{gate}"
    (edgenas.folder / "plan.toml").write_text(text)
    plan = ("rollout", "plan", "run", *reach, "--plan", "plan.toml")
    refused = edgenas(*plan, code=1)
    assert "group lab: expected devices that 'tag:lab' picks, got none of the 2" in refused
    edgenas("fleet", "tag", "dev-b", "lab", "--run", "run")
    edgenas("fleet", "group", "ring-0", "tag:lab", "--run", "run")
    shown = edgenas(*plan)
    assert all(word in shown for word in ("group lab", "wave canaries", "group:ring-0", "!tag:lab"))
    planned = json.loads(edgenas(*plan, "--json"))
    assert planned["online_now"] == list(DEVICES)
    assert planned["left_out"] == {}
    assert [(each["owner"], each["devices"]) for each in planned["selections"]] == [
        ("group lab", ["dev-b"]),
        ("group rest", ["dev-a"]),
        ("wave canaries", ["dev-b"]),
        ("wave *", ["dev-a", "dev-b"]),
    ]
    assert [each["name"] for each in planned["waves"]] == ["canaries", "*"]
    networks = {each["name"]: each["network"] for each in planned["groups"]}
    assert networks == {"lab": picks["dev-b"].id, "rest": picks["dev-a"].id}
    edgenas("rollout", "start", "run", *reach)
    body = json.loads(edgenas("rollout", "status", "run", "--json"))
    assert body["status"] == "COMPLETED"
    codes = {device["id"]: device["code"] for device in body["devices"]}
    assert codes["dev-b"] == "already_installed"


def check_export(edgenas: Commands) -> None:
    """The bytes are what the JSON says."""
    told = json.loads(edgenas("export", "run", "--out", "a.tflite"))
    model = (edgenas.folder / "a.tflite").read_bytes()
    assert sha256(model).hexdigest() == told["sha256"]
    assert len(model) == told["bytes"]
    assert told["parity"]["top1_agreement"] >= 0.9995


def check_listing(edgenas: Commands, site: Site, reach: tuple[str, ...]) -> None:
    """`edgenas devices` sees both daemons once they are there."""

    def alive() -> None:
        for daemon in site.daemons.devices:
            daemon.check()

    def listed() -> bool:
        found = json.loads(edgenas("devices", *reach, "--wait", 0.5, "--json"))
        ready = [d["id"] for d in found if d["online"] and d["measures"]]
        return sorted(ready) == list(DEVICES)

    until(listed, alive)


def check_report(
    run: RunDir, picks: dict[str, Arch | None], shipped: dict[str, str | None]
) -> None:
    """The report is about the shipped bytes, and its accuracies are theirs."""
    report = read_report_json(run.report_json)
    split = read_digits().read_test()
    assert [device.device_id for device in report.devices] == list(DEVICES)
    assert [device.threads for device in report.devices] == [1, 2]
    for device in report.devices:
        assert device.pick is not None
        assert device.shipped is not None
        assert device.pick.arch == picks[device.device_id]
        assert device.pick.sha256 == shipped[device.device_id] == device.shipped.confirmed_sha256
        assert len(device.candidates) == 3
        model = run.path.parent / device.device_id / "slots" / "main" / "current" / "model.tflite"
        codes = to_codes(split.images, device.pick.arch.resolution)
        right = run_codes(model.read_bytes(), codes).argmax(1) == split.labels
        assert device.pick.bytes_accuracy_test == pytest.approx(float(right.mean()))
        assert device.pick.golden_max_lsb == 0
    assert run.report_html.read_text("utf-8").startswith("<!")
