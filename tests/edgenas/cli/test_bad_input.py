"""Bad input to the commands: one clear error, exit code 1, and nothing that was there is lost."""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgenas.campaign import overhearing
from edgenas.campaign.finals import FinalsPlan
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import pick_all, save_setups
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.workbench import workbench
from edgenas.fleet.host import FleetHost
from edgenas.report import read_report_json
from edgenas.search.budget import Budget
from edgenas.search.study import Study
from edgenas.space.presets import preset
from tests.edgenas.campaign.runs import FLAGS, copy_of
from tests.edgenas.campaign.test_picking import an_outcome
from tests.edgenas.cli.conftest import Calls
from tests.edgenas.data.writers import write_fashion, write_folder, write_images
from tests.edgenas.train.quota import file_size_limit

NOBODY = "mqtt://127.0.0.1:1"  # a port that nobody listens on


def content(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture
def searched(run: RunDir) -> RunDir:
    """A run folder after a search of one device, made without any device."""
    with workbench(run) as bench:
        setups, finals = [DeviceSetup("dev-a")], FinalsPlan(2, 1, "quick")
        bench.study.set_budget("dev-a", Budget(3.0, None, "given: 3ms"))
        for arch in (bench.checkpoint.space.smallest(), bench.checkpoint.space.largest()):
            found = bench.scorer.candidate(arch)
            outcome = replace(
                an_outcome(found.exported.sha256),
                accuracy=found.accuracy,
                macs=found.macs,
                model_bytes=found.exported.size_bytes,
            )
            (trial,) = bench.study.ask("dev-a", "random", [arch])
            bench.study.record(trial.number, outcome)
            bench.study.add_session("dev-a", arch, outcome)
        save_setups(run, bench.study, setups, finals)
        pick_all(run, bench.study, setups, finals)
    return run


# --- train -----------------------------------------------------------------------------------


def train(edgenas: Calls, *words: object) -> str:
    """Train with bad options; the run folder must not come about."""
    text = edgenas.error("train", "--out", "new", *words)
    assert not Path("new").exists()
    return text


def test_data_that_are_not_there(run: RunDir, edgenas: Calls) -> None:
    assert "'nowhere'" in train(edgenas, "--data", "nowhere")
    assert "name the folder" in train(edgenas, "--data", "cifar10")
    Path("empty").mkdir()
    text = train(edgenas, "--data", "fashion-mnist", "--data-root", "empty")
    assert "train-images-idx3-ubyte" in text
    assert "there is none at" in train(edgenas, "--data", "cifar10", "--data-root", "nowhere")


def test_a_cost_that_is_none(run: RunDir, edgenas: Calls) -> None:
    assert "nowhere.sqlite" in train(edgenas, "--cost", "nowhere.sqlite")
    assert "take one of them" in train(edgenas, "--cost", "bytes")
    assert "--recipe shiftnas" in train(edgenas, "--sampler", "shiftnas", "--cost", "macs")


def test_a_truncated_file_of_images(run: RunDir, edgenas: Calls) -> None:
    write_fashion(Path("idx"), zipped=False)
    path = Path("idx/train-images-idx3-ubyte")
    path.write_bytes(path.read_bytes()[:1000])
    text = train(edgenas, "--data", "fashion-mnist", "--data-root", "idx")
    assert "train-images-idx3-ubyte" in text
    assert "expected" in text


def test_an_image_folder_that_is_none(run: RunDir, edgenas: Calls) -> None:
    Path("empty").mkdir()
    assert "train/<class>/<image>" in train(edgenas, "--data", "empty")
    write_folder(Path("odd"), {"train": 3, "val": 2})
    write_images(Path("odd/val/cat"), 2, shade=90)
    assert "cat beside them" in train(edgenas, "--data", "odd")
    write_folder(Path("broken"), {"train": 3})
    Path("broken/train/ant/0000.png").write_bytes(b"no image")
    assert "0000.png" in train(edgenas, "--data", "broken")


def test_options_that_cannot_work(run: RunDir, edgenas: Calls) -> None:
    assert "expected one of digits" in train(edgenas, "--preset", "huge")
    assert "expected one of digits" in train(edgenas, "--recipe", "huge")
    assert "--batch" in train(edgenas, "--batch", 5000)
    for option in ("--batch", "--epochs", "--rate", "--checkpoint-every"):
        assert "expected > 0" in train(edgenas, option, 0)
    assert "expected > 0" in train(edgenas, "--epochs", "nan")
    assert "expected >= 0" in train(edgenas, "--seed", -1)


def test_a_place_that_cannot_be_written(run: RunDir, edgenas: Calls) -> None:
    Path("file").write_text("mine")
    for out in ("file", "file/run"):
        text = edgenas.error("train", "--out", out, *FLAGS)
        assert "expected a writable folder" in text
        text = edgenas.error("demo", "--quick", "--out", out)
        assert "expected a writable folder" in text
    assert Path("file").read_text() == "mine"
    assert "file" in edgenas.error("export", run.path, "--out", "file/a.tflite")


def test_a_full_disk_while_training(run: RunDir, edgenas: Calls) -> None:
    with file_size_limit(20_000):
        text = edgenas.error("train", "--out", "new", *FLAGS)
    assert "free disk space" in text
    edgenas("train", "--out", "new", *FLAGS)


def test_another_run_in_the_same_folder(run: RunDir, edgenas: Calls) -> None:
    before = content(run.path)
    for words in (["--seed", 1], ["--preset", "fashion"], ["--batch", 32]):
        assert "--out" in edgenas.error("train", "--out", run.path, *FLAGS, *words)
    assert content(run.path) == before


# --- what needs a run folder -----------------------------------------------------------------

NEEDS_TRAINING: dict[str, tuple[str, ...]] = {
    "export": (),
    "search": ("--broker", NOBODY),
    "report": (),
}


@pytest.mark.parametrize("command", NEEDS_TRAINING)
def test_without_training(run: RunDir, edgenas: Calls, command: str) -> None:
    Path("empty").mkdir()
    for folder in ("empty", "nowhere"):
        assert "edgenas train" in edgenas.error(command, folder, *NEEDS_TRAINING[command])
    Path("file").write_text("")
    assert "file" in edgenas.error(command, "file", *NEEDS_TRAINING[command])
    assert content(Path("empty")) == {}
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("command", ["pick", "ship"])
def test_without_a_search(run: RunDir, edgenas: Calls, command: str) -> None:
    words = ("--broker", NOBODY) if command == "ship" else ()
    before = content(run.path)
    assert "run `edgenas search`" in edgenas.error(command, run.path, *words)
    assert content(run.path) == before


def test_a_search_that_stopped_before_its_budget(run: RunDir, edgenas: Calls) -> None:
    with workbench(run) as bench:
        save_setups(run, bench.study, [DeviceSetup("dev-a")], FinalsPlan())
    assert "dev-a: expected a budget" in edgenas.error("pick", run.path)
    assert "run `edgenas pick`" in edgenas.error("report", run.path)


def test_an_unfinished_training(run: RunDir, edgenas: Calls) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgenas.train.checkpoint.Checkpoint.finished", property(lambda self: False))
        for command, words in NEEDS_TRAINING.items():
            assert "repeat the `edgenas train` command" in edgenas.error(command, run.path, *words)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda body: body[: len(body) // 2],
    "emptied": lambda body: b"",
    "replaced": lambda body: b"\x00\xff" * 500,
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_checkpoint(run: RunDir, edgenas: Calls, how: str) -> None:
    run.checkpoint.write_bytes(DAMAGE[how](run.checkpoint.read_bytes()))
    before = content(run.path)
    for command, words in NEEDS_TRAINING.items():
        assert "checkpoint.pt" in edgenas.error(command, run.path, *words)
    assert "checkpoint.pt" in edgenas.error("train", "--out", run.path, *FLAGS)
    assert content(run.path) == before


@pytest.mark.parametrize("how", ["cut", "replaced"])
def test_a_damaged_study(searched: RunDir, edgenas: Calls, how: str) -> None:
    searched.study.write_bytes(DAMAGE[how](searched.study.read_bytes()))
    before = searched.study.read_bytes()
    for command in ("pick", "report"):
        assert "study.sqlite" in edgenas.error(command, searched.path)
    assert "study.sqlite" in edgenas.error("search", searched.path, "--broker", NOBODY)
    assert searched.study.read_bytes() == before


def test_somebody_elses_database_as_study(searched: RunDir, edgenas: Calls) -> None:
    searched.study.unlink()
    with sqlite3.connect(searched.study) as other:
        other.execute("CREATE TABLE music (title TEXT)")
    other.close()
    assert "study" in edgenas.error("pick", searched.path)


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_picks(searched: RunDir, edgenas: Calls, how: str) -> None:
    kept = content(searched.path)
    searched.picks.write_bytes(DAMAGE[how](searched.picks.read_bytes()))
    for command, words in {"ship": ["--broker", NOBODY], "report": []}.items():
        text = edgenas.error(command, searched.path, *words)
        assert "picks.json" in text
        assert "edgenas pick" in text
    edgenas("pick", searched.path)
    assert content(searched.path)["picks.json"] == kept["picks.json"]


@pytest.mark.parametrize("name", ["run.json", "devices.json", "shipments.json", "test.json"])
@pytest.mark.parametrize("text", ["{", "[5]", "null"])
def test_damaged_cards(searched: RunDir, edgenas: Calls, name: str, text: str) -> None:
    (searched.path / name).write_text(text)
    assert name in edgenas.error("report", searched.path)
    assert not searched.report_json.exists()


def test_another_checkpoint_than_that_of_the_study(searched: RunDir, edgenas: Calls) -> None:
    with sqlite3.connect(searched.study) as study:
        study.execute(
            "UPDATE study_properties SET value='\"other\"' WHERE name='checkpoint_sha256'"
        )
    study.close()
    assert "checkpoint_sha256" in edgenas.error("report", searched.path)


# --- export ----------------------------------------------------------------------------------


def test_an_architecture_leads_to_the_same_bytes_again(run: RunDir, edgenas: Calls) -> None:
    words = ("--arch", "random", "--seed", 4, "--out", "a.tflite", "--arch-out", "a.json")
    told = json.loads(edgenas("export", run.path, *words))
    again = json.loads(edgenas("export", run.path, "--arch", "a.json", "--out", "b/b.tflite"))
    assert (again["sha256"], again["arch"]) == (told["sha256"], told["arch"])
    assert Path("b/b.tflite").read_bytes() == Path("a.tflite").read_bytes()
    assert hashlib.sha256(Path("a.tflite").read_bytes()).hexdigest() == told["sha256"]


def test_weights_in_bits_that_were_not_trained(run: RunDir, edgenas: Calls) -> None:
    told = edgenas.error("export", run.path, "--arch", "smallest", "--weight-bits", 4)
    assert "expected bits among (8,), got 4" in told
    assert 'weights = "double_rounding"' in told


def test_the_same_network_as_onnx(run: RunDir, edgenas: Calls) -> None:
    told = json.loads(edgenas("export", run.path, "--arch", "smallest", "--format", "onnx"))
    file = Path(f"{told['arch']}.onnx")
    assert told["file"] == str(file)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == told["sha256"]
    assert told["parity"]["max_lsb"] <= 1
    lite = json.loads(edgenas("export", run.path, "--arch", "smallest"))
    assert (lite["arch"], lite["format"]) == (told["arch"], "tflite")
    assert lite["sha256"] != told["sha256"]


def test_an_architecture_that_does_not_belong_here(run: RunDir, edgenas: Calls) -> None:
    foreign = preset("cifar", channels=3, classes=10).largest()
    Path("foreign.json").write_text(json.dumps(foreign.to_dict()))
    Path("broken.json").write_text("{")
    Path("list.json").write_text("[1]")
    for name, words in {
        "foreign.json": "expected",
        "broken.json": "broken.json",
        "list.json": "architecture",
        "nowhere.json": "nowhere.json",
    }.items():
        text = edgenas.error("export", run.path, "--arch", name, "--out", "x.tflite")
        assert words in text
    assert not Path("x.tflite").exists()


def test_a_full_disk_leaves_the_older_file(run: RunDir, edgenas: Calls) -> None:
    edgenas("export", run.path, "--arch", "smallest", "--out", "a.tflite")
    before = content(Path.cwd())
    with file_size_limit(1000):
        assert "disk" in edgenas.error(
            "export", run.path, "--arch", "smallest", "--out", "a.tflite"
        )
    assert content(Path.cwd()) == before


# --- budgets ---------------------------------------------------------------------------------


def test_a_budget_that_nothing_meets(searched: RunDir, edgenas: Calls) -> None:
    with workbench(searched) as bench:
        macs = bench.checkpoint.space.macs(bench.checkpoint.space.smallest())
        bench.study.set_budget("dev-a", Budget(1e-3, None, "given: 1us"))
    text = edgenas.error("pick", searched.path)
    assert "the tightest limit is p95" in text
    assert f"{macs} MACs" in text
    edgenas("report", searched.path)
    (device,) = read_report_json(searched.report_json).devices
    assert device.pick is None
    edgenas("pick", searched.path, "--budget", "3ms")
    edgenas("report", searched.path)
    (device,) = read_report_json(searched.report_json).devices
    assert device.pick is not None


@pytest.mark.parametrize("budget", ["fast", "5", "dev-b=5ms", "dev-a=", "1ms,2ms"])
def test_a_malformed_budget(searched: RunDir, edgenas: Calls, budget: str) -> None:
    before = searched.picks.read_bytes()
    assert "expected" in edgenas.error("pick", searched.path, "--budget", budget)
    assert searched.picks.read_bytes() == before
    with Study.read(searched.study) as study:
        assert study.budgets()["dev-a"].latency_p95_ms == 3.0


def test_a_full_disk_while_picking(searched: RunDir, edgenas: Calls) -> None:
    before = searched.picks.read_bytes()
    with file_size_limit(100):
        text = edgenas.error("pick", searched.path)
    assert "free disk space" in text
    assert searched.picks.read_bytes() == before


def test_a_full_disk_while_reporting(searched: RunDir, edgenas: Calls) -> None:
    edgenas("report", searched.path)
    before = searched.report_json.read_bytes()
    with file_size_limit(1000):
        assert "free disk space" in edgenas.error("report", searched.path)
    assert searched.report_json.read_bytes() == before


# --- brokers ---------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connect timeouts of the commands, shortened; waiting for ever would still show."""
    monkeypatch.setattr(FleetHost.open, "__defaults__", (0.3,))
    monkeypatch.setattr(overhearing, "CONNECT_S", 0.3)


@pytest.mark.usefixtures("impatient")
def test_a_broker_that_nobody_runs(searched: RunDir, edgenas: Calls, trained: Path) -> None:
    copy_of(trained, Path("demo"))
    for words in (
        ("search", searched.path, "--device", "dev-a"),
        ("ship", searched.path),
        ("devices", "--wait", 0),
        ("demo", "--quick", "--out", "demo", *FLAGS),
    ):
        text = edgenas.error(*words, "--broker", NOBODY)
        assert "127.0.0.1:1" in text
        assert "expected" in text


def test_a_broker_address_that_is_none(searched: RunDir, edgenas: Calls) -> None:
    for url in ("localhost", "http://x", "mqtt://", "mqtt://host:port", "mqtt://ann:s3cret@h:x"):
        text = edgenas.error("search", searched.path, "--broker", url)
        assert "s3cret" not in text
        edgenas.error("devices", "--broker", url)


def test_a_broker_that_cannot_listen(run: RunDir, edgenas: Calls) -> None:
    assert "loopback" in edgenas.error("broker", "--host", "192.0.2.1")
    assert "port" in edgenas.error("broker", "--port", 99999)


def test_a_fleet_that_cannot_be_named(searched: RunDir, edgenas: Calls) -> None:
    edgenas.error("search", searched.path, "--broker", NOBODY, "--fleet", "a/b")
    edgenas.error("devices", "--broker", NOBODY, "--fleet", "")
