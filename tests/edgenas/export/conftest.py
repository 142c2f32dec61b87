"""Trained supernets to export from, each made once for all tests; one thread for torch."""

import pytest
import torch

from tests.edgenas.export.trained import Trained, train_colours, train_digits

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The digits preset after a short training."""
    return train_digits(tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Three channels, sides from 24 to 32, adds in its first stage, after a short training."""
    return train_colours(tmp_path_factory.mktemp("colours"))
