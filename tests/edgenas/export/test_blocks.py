"""A stage as a file of its own: the very numbers of the network that it is cut out of."""

import random

import numpy as np
import pytest
import torch

from edgenas.export.blocks import stage_bytes, stage_subnet
from edgenas.export.graph import read_graph
from edgenas.export.parity import twin_codes
from edgenas.export.run_bytes import run_codes
from edgenas.model.calibrate import calibrate
from edgenas.model.subnet import Subnet
from edgenas.model.supernet import Supernet
from edgenas.space.layers import INPUT
from tests.edgenas.model.nets import MIXED, pictures

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def subnet() -> Subnet:
    torch.manual_seed(0)
    net = Supernet(MIXED).eval()
    arch = MIXED.sample(random.Random(4))
    return net.extract(arch, calibrate(net, arch, [pictures(MIXED, arch.resolution, 32, 0)]))


@pytest.mark.parametrize("index", range(5))
def test_a_stage_is_the_same_integers_as_in_its_network(subnet: Subnet, index: int) -> None:
    stage = f"s{index}."
    model, cut = stage_bytes(subnet, stage), stage_subnet(subnet, stage)
    own = [layer for layer in subnet.layers if layer.name.startswith(stage)]
    assert [layer.name for layer in cut.layers] == [*(x.name for x in own), "logits"]
    assert sum(layer.macs for layer in cut.layers) == sum(layer.macs for layer in own)
    source = own[0].inputs[0]
    assert cut.calibration.scale_zero(INPUT) == subnet.calibration.scale_zero(source)
    for layer in own:
        if layer.weighted:  # the input's scale is that of the tensor before: so are the biases
            assert torch.equal(
                cut.bias_codes(cut.layers[own.index(layer)]), subnet.bias_codes(layer)
            )
    first = cut.layers[0]
    rng = np.random.default_rng(index)
    codes = rng.integers(-128, 128, (8, *first.size, first.cin)).astype(np.int8)
    assert np.array_equal(run_codes(model, codes), twin_codes(cut, codes, batch=8))
    assert {op.kind for op in read_graph(model).ops} <= {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "RESHAPE")
    }
