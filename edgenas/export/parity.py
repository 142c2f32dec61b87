"""The parity gate: the bytes are the network that was trained, or they are nothing.

Checks the graph (integers only, no helper operators, the very scales of the subnet) and then the
numbers: the integer twin against the bytes on real images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from edgenas.export.errors import ParityError
from edgenas.export.graph import Graph, GraphOp, read_graph
from edgenas.export.qdq_writer import qdq_bytes
from edgenas.export.quantise import OPERATORS, layer_constants, match_layers
from edgenas.export.run_bytes import run_codes
from edgenas.model.images import Codes, batch_size
from edgenas.model.subnet import Subnet
from edgenas.model.twin import IntegerTwin
from edgenas.space.layers import INPUT, Layer
from firmware_bridge.runtimes.choice import FileFormat

ALLOWED = frozenset({*OPERATORS.values(), "RESHAPE"})
MIN_AGREEMENT = 0.9995
MAX_MEAN_LSB = 0.05


@dataclass(frozen=True)
class Parity:
    """How far the bytes are from the twin.

    Attributes:
        images: images compared.
        top1_agreement: share of images with the same largest logit.
        mean_lsb: mean absolute difference of the logit codes.
        max_lsb: largest difference.
        exact: share of logits that are equal.
    """

    images: int
    top1_agreement: float
    mean_lsb: float
    max_lsb: int
    exact: float

    @property
    def passed(self) -> bool:
        """Whether the gate lets the candidate through."""
        allowed = max(1.0 - MIN_AGREEMENT, 1.0 / self.images if self.max_lsb <= 1 else 0.0)
        return 1.0 - self.top1_agreement <= allowed and self.mean_lsb <= MAX_MEAN_LSB


def check_graph(model: bytes, subnet: Subnet) -> Graph:
    """The file's graph, if it is the subnet's and integer throughout.

    Raises:
        ParityError: a helper operator, a float tensor, or another scale, weight or bias.
        ConversionError: operators are wired differently.
    """
    graph = read_graph(model)
    for op in graph.ops:
        if op.kind not in ALLOWED:
            raise ParityError(
                f"{subnet.arch.id}: expected operators {sorted(ALLOWED)}, got {op.kind}"
            )
    for tensor in graph.tensors:
        if tensor.dtype not in ("INT8", "INT32"):
            raise ParityError(
                f"{subnet.arch.id}: expected integers, got {tensor.dtype} {tensor.name!r}"
            )
    names = match_layers(graph, subnet.layers)
    ends = [names.get(index) for index in (*graph.inputs, *graph.outputs)]
    if ends != [INPUT, subnet.layers[-1].name]:
        raise ParityError(f"{subnet.arch.id}: expected an image in and its logits out, got {ends}")
    for index, name in names.items():
        tensor, (scale, zero) = graph.tensors[index], subnet.calibration.scale_zero(name)
        if tensor.scale.tolist() != [scale] or tensor.zero.tolist() != [zero]:
            raise ParityError(
                f"{subnet.arch.id}, tensor {name}: expected the trained scale {scale!r} and zero "
                f"point {zero}, got {tensor.scale} and {tensor.zero}"
            )
    ops = [op for op in graph.ops if op.kind != "RESHAPE"]
    for op, layer in zip(ops, subnet.layers, strict=True):
        if layer.weighted:
            _check_weights(graph, op, subnet, layer)
    return graph


def _check_weights(graph: Graph, op: GraphOp, subnet: Subnet, layer: Layer) -> None:
    """The operator's constants are the layer's, scales included, integer for integer."""
    trained_weight, trained_bias = layer_constants(subnet, layer)
    weight, bias = (graph.tensors[index] for index in op.inputs[1:3])
    wrong = {
        "weights": not _same(weight.constant, trained_weight.value),
        "weight scales": not _same(weight.scale, trained_weight.scale) or weight.zero.any(),
        "biases": not _same(bias.constant, trained_bias.value),
        "bias scales": not _same(bias.scale, trained_bias.scale) or bias.zero.any(),
    }
    for what, differs in wrong.items():
        if differs:
            raise ParityError(
                f"{subnet.arch.id}, layer {layer.name}: expected the trained {what}, the file "
                f"holds others; delete the file and export again"
            )


def _same(stored: npt.NDArray[Any] | None, expected: npt.NDArray[Any]) -> bool:
    return stored is not None and np.array_equal(stored, expected)


def check_qdq(model: bytes, subnet: Subnet) -> None:
    """An .onnx file is well formed and is, to the byte, what this subnet is written as.

    Raises:
        ParityError: it is another network's, or was changed.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ParityError(f"{subnet.arch.id}: expected well-formed ONNX, got {error}") from error
    if model != qdq_bytes(subnet):
        raise ParityError(
            f"{subnet.arch.id}: expected the trained scales, weights and biases, the file holds "
            f"others; delete the file and export again"
        )


def measure_parity(
    model: bytes, subnet: Subnet, codes: Codes, file_format: FileFormat = "tflite"
) -> Parity:
    """Twin against bytes on input codes [n, h, w, c]."""
    return compare(twin_codes(subnet, codes), run_codes(model, codes, file_format=file_format))


def twin_codes(subnet: Subnet, codes: Codes, batch: int | None = None) -> Codes:
    """Logit codes [n, classes] of the integer twin."""
    twin, batch = IntegerTwin(subnet), batch or batch_size(subnet.arch.resolution)
    rows = torch.from_numpy(codes).permute(0, 3, 1, 2)
    parts = [twin(rows[i : i + batch]).numpy() for i in range(0, len(rows), batch)]
    return np.concatenate(parts)


def compare(expected: Codes, got: Codes) -> Parity:
    """Compare two sets of logit codes [n, classes]."""
    gap = np.abs(expected.astype(np.int16) - got.astype(np.int16))
    same = float((expected.argmax(1) == got.argmax(1)).mean())
    return Parity(len(got), same, float(gap.mean()), int(gap.max()), float((gap == 0).mean()))


def require_parity(parity: Parity, arch_id: str) -> None:
    """Let a candidate through, or not.

    Raises:
        ParityError: says by how much the gate is missed.
    """
    if not parity.passed:
        raise ParityError(
            f"{arch_id}: expected top-1 agreement >= {MIN_AGREEMENT:.2%} and a mean difference <= "
            f"{MAX_MEAN_LSB} LSB on {parity.images} images, got {parity.top1_agreement:.2%} and "
            f"{parity.mean_lsb:.4f}; the runtime of this machine rounds differently"
        )
