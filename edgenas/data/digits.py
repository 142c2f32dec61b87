"""scikit-learn's digits: 1,797 grey images of 8 x 8 in ten classes, part of the installed package.

The set has no test part, so one is cut here: 25 % (449 images), always the same ones. The search
split gets a fifth of the rest (15 % of all), since 10 % would leave 135 images, in which one image
is 0.7 points.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgenas.data.cuts import TEST_CUT_SEED, cut
from edgenas.data.errors import DataNotFoundError
from edgenas.data.source import Source
from edgenas.data.split import Split

CLASSES = tuple("0123456789")
TEST_FRACTION, SEARCH_FRACTION = 0.25, 0.2
_SIDE = 8
_FILE = Path("datasets", "data", "digits.csv.gz")  # below the package: 64 grey values and a label


def read_digits() -> Source:
    """Return the digits with grey values 0 to 16 stretched to 0 to 255.

    Raises:
        DataNotFoundError: scikit-learn is not installed, or not as a whole.
    """
    table = _table()
    images = table[:, :-1].reshape(-1, _SIDE, _SIDE, 1)
    grey = np.rint(images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8, 1]
    everything = Split(grey, table[:, -1].astype(np.int64))
    count = round(len(everything) * TEST_FRACTION)
    rng = np.random.default_rng(TEST_CUT_SEED)
    kept, test = cut(everything.labels, count, rng, CLASSES)
    return Source(
        CLASSES, everything.take(kept), None, lambda: everything.take(test), 8, SEARCH_FRACTION
    )


def _table() -> npt.NDArray[np.float64]:
    """The rows of the package's own file, read without importing it, which takes seconds."""
    spec = find_spec("sklearn")
    places = [Path(folder) / _FILE for folder in (spec and spec.submodule_search_locations) or ()]
    for path in places:
        if path.exists():
            return np.loadtxt(path, delimiter=",")
    raise DataNotFoundError(
        f"digits: expected the file {_FILE} in the installed package scikit-learn, got "
        f"{'no such file' if places else 'no such package'}; install scikit-learn anew"
    )
