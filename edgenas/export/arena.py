"""Peak activation memory of a .tflite file: the plan that the runtime's arena follows, exactly.

TensorFlow Lite places all tensors that an inference computes in one arena before it runs. This is
the same plan over the same file: lifetimes from the order of operators, tensors that share a place
because an operator works in place, kernels' own scratch buffers, largest first into the smallest
gap that fits. A test holds it to the addresses that an interpreter hands out. It says what the
kernels of TensorFlow Lite need; XNNPACK keeps activations in a workspace of its own, and the memory
of a process is measured on devices.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgenas.export.graph import Graph, GraphOp, read_graph

ALIGNMENT = 64
_BYTES = {"INT8": 1, "UINT8": 1, "BOOL": 1, "INT16": 2, "FLOAT16": 2, "INT32": 4, "FLOAT32": 4,
          "INT64": 8}  # fmt: skip
_FOR_EVER = 1 << 30
_POINTER = 8
# Operators that write over an input: whether they change its bytes.
_IN_PLACE = {"ADD": True, "RESHAPE": False}


@dataclass(frozen=True)
class ArenaPlan:
    """Where everything lies.

    Attributes:
        peak_bytes: size of the arena.
        scratch_bytes: the largest scratch buffers of any one operator, together.
        offsets: place of each tensor by its index in the file.
    """

    peak_bytes: int
    scratch_bytes: int
    offsets: dict[int, int]


@dataclass(order=True)
class _Buffer:
    """A place in the arena; ordered by it."""

    offset: int
    size: int = field(compare=False)
    first: int = field(compare=False)
    last: int = field(compare=False)
    tensor: int | None = field(compare=False, default=None)


def plan_arena(model: bytes) -> ArenaPlan:
    """Plan the arena of a file that we wrote ourselves, batch 1.

    Raises:
        KeyError: it holds an operator or a type that none of our networks has.
    """
    graph = read_graph(model)
    roots = _shared(graph)
    buffers = [*_activations(graph, roots), *_scratch(graph)]
    placed: list[_Buffer] = []
    for buffer in sorted(buffers, key=_turn):
        buffer.offset = _place(buffer, placed)
        insort(placed, buffer)
    offsets = {b.tensor: b.offset for b in placed if b.tensor is not None}
    scratch: dict[int, int] = {}
    for buffer in placed:
        if buffer.tensor is None:
            scratch[buffer.first] = scratch.get(buffer.first, 0) + buffer.size
    return ArenaPlan(
        max((b.offset + b.size for b in placed), default=0),
        max(scratch.values(), default=0),
        {tensor: offsets[root] for tensor, root in roots.items()},
    )


def _shared(graph: Graph) -> dict[int, int]:
    """By computed tensor, the one whose place it takes: itself, or an input of its operator."""
    uses: dict[int, int] = {}
    for op in graph.ops:
        for tensor in op.inputs:
            uses[tensor] = uses.get(tensor, 0) + 1
    roots = {tensor: tensor for tensor in graph.inputs}
    for op in graph.ops:
        for output in op.outputs:
            roots[output] = output
        found = next((t for t in op.inputs[:2] if _may_share(graph, op, t, roots, uses)), None)
        if found is not None:
            roots[op.outputs[0]] = roots[found]
    return roots


def _may_share(
    graph: Graph, op: GraphOp, tensor: int, roots: dict[int, int], uses: dict[int, int]
) -> bool:
    if op.kind not in _IN_PLACE or tensor not in roots or tensor in graph.inputs:
        return False
    if op.outputs[0] in graph.outputs:
        return False
    if not _IN_PLACE[op.kind]:
        return True
    size = _size(graph, tensor)
    alike = size == _size(graph, op.outputs[0]) and size > _POINTER
    return alike and uses[tensor] == 1


def _activations(graph: Graph, roots: dict[int, int]) -> Iterator[_Buffer]:
    """Every place that holds tensors, from the first one's making to the last one's last use."""
    made = {output: n for n, op in enumerate(graph.ops) for output in op.outputs}
    last: dict[int, int] = {}
    for number, op in enumerate(graph.ops):
        for tensor in (*op.inputs, *op.outputs):
            if tensor in roots:
                last[roots[tensor]] = number
    for tensor in (*graph.inputs, *graph.outputs):
        last[roots[tensor]] = _FOR_EVER
    for root in dict.fromkeys(roots.values()):
        yield _Buffer(0, _size(graph, root), made.get(root, 0), last[root], root)


def _scratch(graph: Graph) -> Iterator[_Buffer]:
    """What kernels need beside their tensors while they run."""
    for number, op in enumerate(graph.ops):
        for size in _scratch_sizes(graph, op):
            yield _Buffer(0, size, number, number)


def _scratch_sizes(graph: Graph, op: GraphOp) -> tuple[int, ...]:
    source, out = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    if op.kind == "CONV_2D":
        _, high, wide, deep = graph.tensors[op.inputs[1]].shape
        if (high, wide) == (1, 1) and source[1:3] == out[1:3]:
            return ()
        return (out[1] * out[2] * high * wide * deep,)  # patches side by side (im2col)
    if op.kind == "MEAN":
        axes = graph.tensors[op.inputs[1]].shape
        return (4 * len(source), 4 * axes[0], 4 * _count(out))  # position, axes, sums
    return ()


def _turn(buffer: _Buffer) -> tuple[bool, int, int]:
    """Sort key: what lasts for ever, then the larger, then the earlier."""
    whole = buffer.first == 0 and buffer.last == _FOR_EVER
    return (not whole, 0 if whole else -buffer.size, buffer.first)


def _place(buffer: _Buffer, placed: list[_Buffer]) -> int:
    """The smallest gap that fits between what is there at the same time, or the end."""
    best, best_gap, free_from = None, _FOR_EVER, 0
    for other in placed:
        if other.last < buffer.first or other.first > buffer.last:
            continue
        start = _aligned(free_from)
        if start + buffer.size <= other.offset and other.offset - start < best_gap:
            best, best_gap = start, other.offset - free_from
        free_from = max(free_from, other.offset + other.size)
    return _aligned(free_from) if best is None else best


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= abs(side)
    return count


def _size(graph: Graph, tensor: int) -> int:
    found = graph.tensors[tensor]
    return _count(found.shape) * _BYTES[found.dtype]
