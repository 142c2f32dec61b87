"""Dropout: who gets how much of it, that it keeps the mean, and that nothing of it is exported."""

import pytest
import torch

from edgenas.model.images import to_input
from edgenas.model.supernet import Supernet
from edgenas.space.presets import preset
from edgenas.train.dropout import dropout_mask, dropout_share
from edgenas.train.recipe import Recipe
from tests.edgenas.train.runs import digits

SPACE = preset("digits", channels=1, classes=10)
LARGEST, SMALLEST = SPACE.largest(), SPACE.smallest()


@pytest.mark.parametrize(
    ("rule", "largest", "smallest"),
    [("largest", 0.3, 0.0), ("all", 0.3, 0.3), ("size", 0.3, 0.3 * 64 / 96)],
)
def test_shares(rule: str, largest: float, smallest: float) -> None:
    recipe = Recipe(dropout=0.3, dropout_for=rule)
    assert dropout_share(recipe, SPACE, LARGEST) == pytest.approx(largest)
    assert dropout_share(recipe, SPACE, SMALLEST) == pytest.approx(smallest)
    assert dropout_share(Recipe(dropout_for=rule), SPACE, LARGEST) == 0


def test_masks_keep_the_mean_and_follow_from_their_seed() -> None:
    masks = [dropout_mask(0.25, 500, SPACE, LARGEST, (3, 7, number)) for number in (0, 0, 1)]
    one, again, other = (mask for mask in masks if mask is not None)
    assert one.shape == (500, 96)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert one.mean().item() == pytest.approx(1.0, abs=0.01)
    assert dropout_mask(0.0, 500, SPACE, LARGEST, (3, 7, 0)) is None


def test_the_mask_acts_on_what_the_classifier_sees() -> None:
    torch.manual_seed(0)
    net = Supernet(SPACE).eval()
    x = to_input(digits().images[:4], LARGEST.resolution)
    with torch.no_grad():
        nothing = net(x, LARGEST, classifier_mask=torch.zeros(4, 96))
        everything = net(x, LARGEST, classifier_mask=torch.ones(4, 96))
        plain = net(x, LARGEST)
    assert torch.equal(everything, plain)
    assert (nothing == nothing[0]).all()  # only the bias is left
    assert not (plain == plain[0]).all()
