"""One stage of a network as an INT8 file of its own, so that a device can time it.

The file is made as that of a whole network: its convolutions have the same weights, scales and
zero points. Behind the stage stands one mean, because a file's output has no height and width;
what that and starting a file cost is the same for all stages, and left to the caller to take off.
"""

from __future__ import annotations

from dataclasses import replace

from edgenas.export.convert import float_tflite
from edgenas.export.onnx_writer import onnx_model
from edgenas.export.parity import check_graph
from edgenas.export.quantise import quantise
from edgenas.model.subnet import Subnet
from edgenas.space.layers import INPUT, Layer

_POOL = "logits"  # as outputs of networks are named


def stage_bytes(subnet: Subnet, stage: str) -> bytes:
    """The .tflite file of one stage of a calibrated subnet.

    Args:
        subnet: the network.
        stage: how the names of the stage's layers begin, such as `s0.`.

    Raises:
        ExportError: conversion failed, or the bytes are not the stage.
    """
    cut = stage_subnet(subnet, stage)
    model = quantise(float_tflite(onnx_model(cut)), cut)
    check_graph(model, cut)
    return model


def stage_subnet(subnet: Subnet, stage: str) -> Subnet:
    """The stage alone, as a network whose input is the stage's and whose output is a mean."""
    own = [layer for layer in subnet.layers if layer.name.startswith(stage)]
    inner = {layer.name for layer in own}
    (source,) = {name for layer in own for name in layer.inputs if name not in inner}
    layers = [_renamed(layer, source) for layer in own]
    last = layers[-1]
    pool = Layer(_POOL, "mean", (last.name,), last.cout, last.cout, size=last.out_size)
    known = subnet.calibration
    grids = {name: known.scale_zero(name) for name in (source, *inner)}
    grids = {INPUT if name == source else name: grid for name, grid in grids.items()}
    calibration = replace(known, grids={**grids, _POOL: grids[last.name]})
    return replace(
        subnet,
        layers=(*layers, pool),
        weights={name: w for name, w in subnet.weights.items() if name in inner},
        biases={name: b for name, b in subnet.biases.items() if name in inner},
        trained_codes={name: c for name, c in subnet.trained_codes.items() if name in inner},
        calibration=calibration,
    )


def _renamed(layer: Layer, source: str) -> Layer:
    return replace(layer, inputs=tuple(INPUT if n == source else n for n in layer.inputs))
