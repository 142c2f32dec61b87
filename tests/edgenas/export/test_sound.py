"""Recordings go where pictures go: trainer, calibration, both files, gate, and equal codes."""

from pathlib import Path

import numpy as np
import pytest

from edgenas.data.frontend import log_mel, log_mel_pixels, mfcc_pixels
from edgenas.export.exporter import Exporter
from edgenas.export.graph import read_graph
from edgenas.export.parity import twin_codes
from edgenas.export.run_bytes import accuracy, run_codes
from edgenas.model.images import Pixels, to_codes
from edgenas.space.presets import preset
from edgenas.train.batches import Labels
from edgenas.train.checkpoint import load_checkpoint
from edgenas.train.loop import train
from edgenas.train.recipe import Recipe
from tests.edgenas.export.trained import Trained, corners_and_draws

TONES, CLIPS = 4, 320
RECIPE = Recipe(epochs=2, batch=32, rate=0.1, float_share=0.3, random_subnets=1, shift=0.1)


def _recordings() -> tuple[Pixels, Labels]:
    """Log-mel pixels [n, 49, 40] of tones that begin somewhere, in noise, and which tone it is."""
    rng, time = np.random.default_rng(0), np.arange(16_000) / 16_000
    labels = np.arange(CLIPS, dtype=np.int64) % TONES
    clips = []
    for label in labels:
        tone = 9_000 * np.sin(2 * np.pi * 300 * 2.0**label * time) * (time > rng.uniform(0, 0.5))
        clips.append((tone + rng.normal(0, 1_500, 16_000)).astype(np.int16))
    return log_mel_pixels(np.stack([log_mel(clip) for clip in clips])), labels


@pytest.fixture(scope="module", params=["kws", "kws-mfcc"])
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Either preset after a short training."""
    pixels, labels = _recordings()
    images = (mfcc_pixels(pixels) if request.param == "kws-mfcc" else pixels)[..., np.newaxis]
    space = preset(request.param, channels=1, classes=TONES)
    folder = tmp_path_factory.mktemp(request.param)
    train(space, images[:256], labels[:256], RECIPE, folder, "tones")
    checkpoint = load_checkpoint(folder / "checkpoint.pt")
    assert checkpoint.space == space
    return Trained(checkpoint.supernet(), checkpoint.digest(), images[:256], images[256:])


@pytest.mark.parametrize("number", range(3))
def test_every_code_of_the_bytes_is_the_twins(sound: Trained, number: int, tmp_path: Path) -> None:
    arch = corners_and_draws(sound.space, 1)[number]
    exporter = Exporter(sound.net, sound.digest, sound.images, tmp_path)
    exported = exporter.export(arch)
    assert (exported.parity.exact, exported.parity.max_lsb) == (1.0, 0)
    graph = read_graph(exported.path.read_bytes())
    kinds = {op.kind for op in graph.ops}
    assert kinds <= {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "RESHAPE", "FULLY_CONNECTED"}
    assert [op.kind for op in graph.ops].count("RESHAPE") <= 1  # behind the mean
    assert [graph.tensors[i].shape for i in graph.inputs] == [(1, *arch.sides, 1)]
    codes = to_codes(sound.unseen, arch.resolution)
    answers = run_codes(exported.path.read_bytes(), codes)
    assert np.array_equal(answers, twin_codes(exporter.subnet(arch), codes))
    assert exporter.export(arch, "onnx").parity.passed


def test_it_learns_to_tell_tones_apart(sound: Trained, tmp_path: Path) -> None:
    arch = sound.space.largest()
    exported = Exporter(sound.net, sound.digest, sound.images, tmp_path).export(arch)
    answers = run_codes(exported.path.read_bytes(), to_codes(sound.unseen, arch.resolution))
    assert accuracy(answers, np.arange(256, CLIPS) % TONES) > 0.9
