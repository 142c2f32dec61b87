"""scikit-learn's digits: 1,797 grey images of 8 x 8 in ten classes, part of the installed package.

The only import site of scikit-learn. The set has no test part, so one is cut here: 25 % (449
images), always the same ones. The search split gets a fifth of the rest (15 % of all), since 10 %
would leave 135 images, in which one image is 0.7 points.
"""

import numpy as np
from sklearn.datasets import load_digits

from edgenas.data.cuts import TEST_CUT_SEED, cut
from edgenas.data.source import Source
from edgenas.data.split import Split

CLASSES = tuple("0123456789")
TEST_FRACTION, SEARCH_FRACTION = 0.25, 0.2


def read_digits() -> Source:
    """Return the digits with grey values 0 to 16 stretched to 0 to 255."""
    bunch = load_digits()
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8]
    everything = Split(grey[..., np.newaxis], bunch.target.astype(np.int64))
    count = round(len(everything) * TEST_FRACTION)
    rng = np.random.default_rng(TEST_CUT_SEED)
    kept, test = cut(everything.labels, count, rng, CLASSES)
    return Source(
        CLASSES, everything.take(kept), None, lambda: everything.take(test), 8, SEARCH_FRACTION
    )
