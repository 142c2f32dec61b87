"""New classes without training: features that are the network's own, five examples a class, and the
whole way over real daemons: learnt on two boards, merged, shipped back, used on both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from edgenas.broker import BrokerThread
from edgenas.campaign.heads import base_contribution, sums_of, trained_classes
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.workbench import Workbench
from edgenas.cli.main import main as edgenas
from edgenas.data import Split
from edgenas.export.features import run_features
from edgenas.export.run_bytes import run_codes
from edgenas.fleet.errors import HeadError
from edgenas.fleet.heads import collect
from edgenas.fleet.host import FleetHost
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.keys import ensure_keys, load_signing_key
from edgenas.fleet.local import LocalDeviceSpec, LocalFleet
from edgenas.fleet.releases import ReleaseSpec, build_release, sign_release
from edgenas.fleet.shelf import BlobShelf
from edgenas.model import kernels
from edgenas.model.images import to_codes
from edgenas.model.kernels import Grid
from edgenas.model.twin import IntegerTwin
from edgenas.space.layers import Layer
from firmware_bridge.cli import main as device
from firmware_bridge.heads.nearest import NearestMean
from firmware_bridge.runtimes.features import with_features
from firmware_bridge.wire.heads import MergedHead, merge
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.release import Target
from tests.edgenas.campaign.eight_classes import UNSEEN, Eight, train_eight
from tests.edgenas.fleet.conftest import eventually

FLEET, DEVICES = "heads", ("dev-a", "dev-b")
NAMES = tuple("0123456789")
SHOTS, ENOUGH = 5, 0.9
WAIT_S = 60.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Eight:
    return train_eight(tmp_path_factory.mktemp("eight"))


class PoolTwin(IntegerTwin):
    """The integer twin that remembers what enters its classifier."""

    pool: Tensor

    def _layer(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        if layer.kind == "linear":
            self.pool = inputs[0].long() - self._grid(layer.inputs[0]).zero
        return super()._layer(layer, inputs)


def test_features_are_those_of_the_integer_twin(eight: Eight) -> None:
    codes = to_codes(eight.images[:200], eight.arch.resolution)
    twin = PoolTwin(eight.subnet)
    twin(torch.from_numpy(codes).permute(0, 3, 1, 2))
    assert (run_features(eight.model, codes) == twin.pool.numpy()).all()


def test_the_deployed_classifier_follows_from_these_features(eight: Eight) -> None:
    """The features are the ones that the file's own last layer reads: they give its logits."""
    codes = to_codes(eight.images[:200], eight.arch.resolution)
    last, calibration = eight.subnet.layers[-1], eight.subnet.calibration
    weight, scale = eight.subnet.weight_codes(last)
    features = torch.from_numpy(run_features(eight.model, codes)).double()
    sums = features @ weight.double().T + eight.subnet.bias_codes(last)
    source, out = (Grid.of(calibration, name) for name in (last.inputs[0], last.name))
    logits = kernels.requantize(sums, kernels.weighted_factor(source, scale, out), out.zero)
    assert (logits.to(torch.int8).numpy() == run_codes(eight.model, codes)).all()


def test_the_view_runs_as_the_file_does(eight: Eight) -> None:
    codes = to_codes(eight.images[:200], eight.arch.resolution)
    view = with_features(eight.model)
    assert (run_codes(view.model, codes) == run_codes(eight.model, codes)).all()
    assert view.dimension == 64


def test_five_examples_a_class_are_enough_for_unseen_digits(eight: Eight) -> None:
    features = run_features(eight.model, to_codes(eight.images, eight.arch.resolution))
    new = np.flatnonzero(np.isin(eight.labels, UNSEEN))
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(new)
        shown = np.concatenate([order[eight.labels[order] == d][:SHOTS] for d in UNSEEN])
        rest = np.setdiff1d(new, shown)
        nearest = NearestMean(sums_of(features[shown], eight.labels[shown], NAMES))
        right = [nearest.nearest(features[i].tolist()) == str(eight.labels[i]) for i in rest]
        assert np.mean(right) > ENOUGH, seed


def test_merged_over_boards_is_as_pooled(eight: Eight) -> None:
    count = 120
    images, labels = eight.images[:count], eight.labels[:count]
    pooled = base_contribution(eight.model, eight.arch, Split(images, labels), NAMES)
    board = np.random.default_rng(7).integers(0, 4, count)
    shares = [
        base_contribution(
            eight.model, eight.arch, Split(images[board == b], labels[board == b]), NAMES
        )
        for b in range(4)
    ]
    different = [
        type(share)(**{**vars(share), "learner": f"{number:032x}"})
        for number, share in enumerate(shares)
    ]
    assert merge(different).classes == merge([pooled]).classes


def test_a_run_knows_the_classes_it_was_trained_on(bench: Workbench) -> None:
    exported = bench.scorer.exporter.export(bench.checkpoint.space.smallest())
    known = trained_classes(bench.run, exported.sha256)
    counts = np.bincount(bench.data.train.labels)
    assert {name: each.count for name, each in known.classes.items()} == {
        name: int(counts[index]) for index, name in enumerate(bench.data.classes)
    }
    with pytest.raises(HeadError, match="expected an export"):
        trained_classes(bench.run, "0" * 64)


# --- the whole way -----------------------------------------------------------------------------


class Fleet:
    """Two real daemons that run the network of eight classes."""

    def __init__(self, url: str, folder: Path, eight: Eight, cleanup: ExitStack) -> None:
        self.url, self.folder, self.run = url, folder, RunDir(folder / "run")
        keys = ensure_keys(self.run.keys)
        specs = [
            LocalDeviceSpec(
                device_id=name, broker_url=url, fleet=FLEET, state_dir=folder / name,
                log_path=folder / f"{name}.log", verify_keys=keys.verify,
                lock_path=folder / "lock",
            )
            for name in DEVICES
        ]  # fmt: skip
        self.daemons = cleanup.enter_context(LocalFleet(specs))
        self._ship(eight.model)

    def _ship(self, model: bytes) -> None:
        shelf, journal = BlobShelf(self.run.shelf), FleetJournal(self.run.fleet)
        link = MqttLink(self.url, f"host-{FLEET}")
        with ExitStack() as open_, FleetHost(link, FLEET, shelf, journal) as host:
            open_.callback(journal.close)
            self.daemons.wait_online(host, WAIT_S)
            for name in DEVICES:
                spec = ReleaseSpec(
                    fleet=FLEET,
                    target=Target("generic", name),
                    files={"model": shelf.add_bytes(model)},
                )
                now = datetime.now(UTC)
                release = build_release(spec, counter=host.next_release_counter(), now=now)
                key = load_signing_key(ensure_keys(self.run.keys).signing)
                envelope = sign_release(release, key)
                ended = host.wait_deployment(host.offer(name, "main", envelope), WAIT_S)
                assert ended is not None, name
                assert ended.succeeded, ended

    def on(self, name: str, *words: object) -> None:
        """A command on a board."""
        first, *rest = map(str, words)
        assert device([first, *rest, "--state-dir", str(self.folder / name)]) == 0

    def merge(self, *words: str) -> int:
        """`edgenas fleet merge-heads` on the run folder."""
        broker = ("--broker", self.url, "--fleet", FLEET, "--listen", "0.5")
        return edgenas(["fleet", "merge-heads", str(self.run.path), *broker, *words])

    def published(self) -> dict[str, int]:
        """Device to the round that it has published."""
        found = collect(self.url, FLEET, 0.3)
        return {each.source: each.contribution.round for each in found}

    def head(self, name: str) -> MergedHead:
        current = self.folder / name / "slots" / "main" / "current"
        return MergedHead.from_bytes((current / "head.json").read_bytes())


@pytest.fixture
def fleet(eight: Eight, tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as cleanup:
        broker = cleanup.enter_context(BrokerThread())
        yield Fleet(f"mqtt://127.0.0.1:{broker.port}", tmp_path, eight, cleanup)


def pictures(folder: Path, label: str, images: np.ndarray) -> list[Path]:  # type: ignore[type-arg]
    """Image files as people have them."""
    (folder / label).mkdir(parents=True, exist_ok=True)
    paths = [folder / label / f"{index}.png" for index in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image[..., 0]).save(path)
    return paths


@pytest.mark.timeout(300)
def test_what_two_boards_learn_both_can_tell(
    fleet: Fleet, eight: Eight, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, digit in zip(DEVICES, UNSEEN, strict=True):
        pictures(tmp_path / f"of-{name}", str(digit), eight.of(digit)[:SHOTS])
        fleet.on(name, "learn", tmp_path / f"of-{name}", "--hand-out")
    eventually(lambda: fleet.published() == dict.fromkeys(DEVICES, 1))
    assert fleet.merge("--device", DEVICES[0], "--device", DEVICES[1]) == 0
    out = capsys.readouterr().out
    assert "dev-a: SUCCEEDED" in out
    assert "dev-b: SUCCEEDED" in out
    heads = [fleet.head(name) for name in DEVICES]
    assert heads[0] == heads[1]
    assert {name: each.count for name, each in heads[0].classes.items()} == {"3": 5, "6": 5}
    for name in DEVICES:
        asked = {
            digit: pictures(tmp_path / f"ask-{name}", str(digit), eight.of(digit)[SHOTS:45])
            for digit in UNSEEN
        }
        fleet.on(name, "classify", *asked[3], *asked[6], "--json")
        answers = [each["class"] for each in json.loads(capsys.readouterr().out)]
        truth = ["3"] * len(asked[3]) + ["6"] * len(asked[6])
        assert np.mean([a == b for a, b in zip(answers, truth, strict=True)]) > ENOUGH
        fleet.on(name, "learn", "--status", "--json")
        status = json.loads(capsys.readouterr().out)
        assert status["together"] == {"3": 5, "6": 5}
        assert status["all_counted"]
    assert fleet.merge("--device", DEVICES[0]) == 0, "merging again changes nothing"
    assert fleet.head(DEVICES[0]) == heads[0]
