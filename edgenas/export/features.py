"""Features of an exported file on the host, as a device computes them: through the same view.

Leaves what features are good for to `edgenas.campaign.heads`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgenas.model.images import Codes
from firmware_bridge.runtimes.featured import FeaturedModel


def run_features(model: bytes, codes: Codes) -> npt.NDArray[np.int64]:
    """Integer features [n, d] (code - zero point) of input codes [n, h, w, c].

    Raises:
        InterpreterError: no runtime is installed, or the model has no such features.
    """
    featured = FeaturedModel(model)
    return np.array([featured.feature(image[None]) for image in codes], np.int64)
