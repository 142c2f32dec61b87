"""Interchangeable quantisers, by name: `ACTIVATIONS` and `WEIGHTS`.

What a quantiser has to do is said on the two base classes; the arithmetic is plain functions in
`edgenas.model.quant` and `edgenas.model.quantisers.steps`. Where quantisers sit is the layer
list's business, which one a run takes its recipe's.
"""

from edgenas.model.quantisers.activations import ACTIVATIONS, ActivationQuantiser, Grids
from edgenas.model.quantisers.weights import WEIGHTS, Elastic, WeightQuantiser

__all__ = ["ACTIVATIONS", "WEIGHTS", "ActivationQuantiser", "Elastic", "Grids", "WeightQuantiser"]
