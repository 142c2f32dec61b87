"""Which tensors of a plain model are which layer of the largest subnet.

A model of somebody else has names of its own. Names that are our layers' decide; then what a person
has said; then the order of the file, checked shape by shape. What the tensors become in a supernet
is `edgenas.train.inheriting.anchoring`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from edgenas.model.elastic import BN_EPS
from edgenas.space.layers import Layer
from edgenas.train.inheriting.errors import MismatchError
from edgenas.train.inheriting.source import Source

CURE = (
    "choose the space whose largest subnet this model is (--preset, --only), or say which tensors "
    "belong to which layer (--weights-names)"
)


@dataclass(frozen=True)
class Operator:
    """A convolution or dense layer of a plain model, its BatchNorm in evaluation taken in.

    It computes scale * (weight . x) + bias.

    Attributes:
        name: prefix of its tensors in the file.
        weight: [cout, cin or 1, kh, kw], or [cout, cin].
        scale: [cout].
        bias: [cout].
    """

    name: str
    weight: Tensor
    scale: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Matched:
    """The operators of every layer, and how they were found.

    Attributes:
        operators: by layer name.
        how: in words.
    """

    operators: dict[str, Operator]
    how: str


def match(source: Source, layers: Sequence[Layer]) -> Matched:
    """The operators of the weighted layers of the largest subnet.

    Args:
        source: a plain model.
        layers: of the largest subnet, in execution order.

    Raises:
        MismatchError: lists every layer and every tensor that have no partner.
    """
    assert isinstance(source.origin, Mapping)
    weighted = [layer for layer in layers if layer.weighted]
    groups = _groups(source.origin)
    if source.names:
        named = _by_person(source, groups, weighted)
        return _checked(source, weighted, named, "by the names given")
    by_layer = _by_layer(source.origin, weighted)
    if by_layer is not None:
        return _checked(source, weighted, by_layer, "by the names of the layers")
    first: MismatchError | None = None
    for how, ordered in _orders(groups):
        found = list(_operators(ordered))
        for sequence in (weighted, _shortcuts_last(weighted)):
            try:
                return _in_order(source, sequence, found, how)
            except MismatchError as error:
                first = first or error
    assert first is not None
    raise first


# --- operators of a file -----------------------------------------------------------------------

type _Group = dict[str, Tensor]
"""The tensors of one module of the model: `weight`, `bias`, `running_mean`, `running_var`."""


def _groups(tensors: Mapping[str, Tensor]) -> dict[str, _Group]:
    """Modules by the prefix of their tensors, in the order of the file."""
    groups: dict[str, _Group] = {}
    for name, value in tensors.items():
        prefix, _, last = name.rpartition(".")
        groups.setdefault(prefix, {})[last] = value
    return groups


def _operators(groups: Mapping[str, _Group]) -> Iterator[Operator]:
    """Each module with a kernel, and the BatchNorm behind it if there is one."""
    waiting: Operator | None = None
    for prefix, group in groups.items():
        if _is_kernel(group):
            if waiting is not None:
                yield waiting
            waiting = _operator(prefix, group)
        elif waiting is not None and _normalises(group):
            yield _with_norm(waiting, group)
            waiting = None
        else:  # nothing that a layer could be: told as what it is
            empty = torch.empty(0)
            yield Operator(prefix, group.get("weight", next(iter(group.values()))), empty, empty)
    if waiting is not None:
        yield waiting


def _is_kernel(group: _Group) -> bool:
    return "weight" in group and group["weight"].dim() in (2, 4)


def _normalises(group: _Group) -> bool:
    return "running_mean" in group and "running_var" in group


def _operator(name: str, group: _Group) -> Operator:
    weight = group["weight"]
    return Operator(
        name, weight, torch.ones(len(weight)), group.get("bias", torch.zeros(len(weight)))
    )


def _with_norm(operator: Operator, group: _Group) -> Operator:
    mean, var = group["running_mean"], group["running_var"]
    if any(value.shape != operator.scale.shape for value in group.values()):
        return replace(operator, scale=mean)  # of another length, so it will not fit
    factor = group.get("weight", torch.ones_like(mean)) / torch.sqrt(var + BN_EPS)
    shift = group.get("bias", torch.zeros_like(mean)) + (operator.bias - mean) * factor
    return Operator(operator.name, operator.weight, factor, shift)


# --- orders and names --------------------------------------------------------------------------


def _orders(groups: dict[str, _Group]) -> Iterator[tuple[str, dict[str, _Group]]]:
    """The file's order, and for formats that forget it that of the names, 2 before 10."""
    yield "in the order of the file", groups
    yield "in the order of the names", {name: groups[name] for name in sorted(groups, key=_natural)}


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", name)]


def _shortcuts_last(layers: Sequence[Layer]) -> list[Layer]:
    """As models usually define a residual block: the shortcut after the convolutions beside it."""
    ordered: list[Layer] = []
    held: list[Layer] = []
    for layer in layers:
        if held and held[0].name.rpartition(".")[0] != layer.name.rpartition(".")[0]:
            ordered, held = ordered + held, []
        (held if layer.name.endswith(".shortcut") else ordered).append(layer)
    return ordered + held


def _by_layer(tensors: Mapping[str, Tensor], layers: Sequence[Layer]) -> dict[str, Operator] | None:
    """Operators whose names are our layers' (`s0.b0.expand.weight`), if the file uses them."""
    found: dict[str, Operator] = {}
    for layer in layers:
        own = {name: v for name, v in tensors.items() if name.startswith(f"{layer.name}.")}
        groups = sorted(_groups(own).items(), key=lambda pair: not _is_kernel(pair[1]))
        operators = list(_operators(dict(groups)))
        if len(operators) != 1:
            return None
        found[layer.name] = operators[0]
    return found


def _by_person(
    source: Source, groups: Mapping[str, _Group], layers: Sequence[Layer]
) -> dict[str, Operator]:
    """Operators whose prefixes a person has given for each layer."""
    found: dict[str, Operator] = {}
    lines = [
        f"{layer.name}: expected prefixes of tensors in the file, got none" for layer in layers
        if layer.name not in source.names
    ]  # fmt: skip
    lines += [
        f"{name}: expected a layer with weights, got another name" for name in source.names
        if name not in {layer.name for layer in layers}
    ]  # fmt: skip
    for name, prefixes in source.names.items():
        chosen = {prefix: groups[prefix] for prefix in prefixes if prefix in groups}
        operators = list(_operators(chosen))
        if len(chosen) == len(prefixes) and len(operators) == 1:
            found[name] = operators[0]
        else:
            lines.append(f"{name}: expected a kernel and its BatchNorm, got {' '.join(prefixes)}")
    if lines:
        raise MismatchError(source.path, lines, "mend the file of names")
    return found


# --- shapes ------------------------------------------------------------------------------------


def _in_order(
    source: Source, layers: Sequence[Layer], found: Sequence[Operator], how: str
) -> Matched:
    named = {layer.name: operator for layer, operator in zip(layers, found, strict=False)}
    lines = [
        f"expected nothing more, got {operator.name} {list(operator.weight.shape)}"
        for operator in found[len(layers) :]
    ]
    return _checked(source, layers, named, how, lines)


def _checked(
    source: Source,
    layers: Sequence[Layer],
    found: Mapping[str, Operator],
    how: str,
    lines: Sequence[str] = (),
) -> Matched:
    fitted: dict[str, Operator] = {}
    wrong: list[str] = []
    for layer in layers:
        operator, shape = found.get(layer.name), _shape(layer)
        free = layer.kind == "linear" and source.new_classifier
        got = "nothing" if operator is None else _told(operator)
        if operator is not None and _fits(operator, shape):
            weight = operator.weight.reshape(shape)
            fitted[layer.name] = Operator(operator.name, weight, operator.scale, operator.bias)
        elif not free:
            wrong.append(f"{layer.name}: expected {list(shape)}, got {got}")
    if wrong or lines:
        raise MismatchError(source.path, [*wrong, *lines], CURE)
    return Matched(fitted, how)


def _told(operator: Operator) -> str:
    shape = list(operator.weight.shape)
    fits = not shape or len(operator.scale) in (shape[0], 0)
    return f"{operator.name} {shape}" + ("" if fits else " with a BatchNorm of another size")


def _fits(operator: Operator, shape: tuple[int, ...]) -> bool:
    """A dense layer may be stored as a 1x1 convolution."""
    got = tuple(operator.weight.shape)
    same = got == shape or (len(shape) == 2 and got == (*shape, 1, 1))
    return same and len(operator.scale) == len(operator.bias) == shape[0]


def _shape(layer: Layer) -> tuple[int, ...]:
    cin = 1 if layer.kind == "depthwise" else layer.cin
    return (layer.cout, cin) if layer.kind == "linear" else (layer.cout, cin, *layer.kernel)
