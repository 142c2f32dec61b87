"""The features of a deployed TFLite file: what enters its classifier, shown as a second output.

A copy of the file in memory gets its feature tensor (the first input of the FULLY_CONNECTED
operator that makes the only output) appended to the list of outputs. Operators, weights and scales
stay the bytes they are, so the same kernels compute the same codes, and the first output is still
the file's own. Needs neither numpy nor a runtime; running the copy is left to ``tflite``.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from firmware_bridge.runtimes.errors import ModelRefusedError

FULLY_CONNECTED = 9
INT8 = 9
DIMENSION_CAP = 4096
_OPERATOR_CODES, _SUBGRAPHS = 1, 2
_TENSORS, _OUTPUTS, _OPERATORS = 0, 2, 3
_DEPRECATED_CODE, _CODE = 0, 3
_OPCODE_INDEX, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 0, 1, 2
_SHAPE, _TYPE, _QUANTIZATION = 0, 1, 4
_ZERO_POINT = 3


@dataclass(frozen=True)
class FeatureView:
    """A model with its features as its second output.

    Attributes:
        model: Bytes for a runtime to open; never written to a disk.
        dimension: Numbers a feature vector has.
        zero: Code that means 0; the integer feature is code minus this.
    """

    model: bytes
    dimension: int
    zero: int


def with_features(model: bytes) -> FeatureView:
    """Shows the features of a classifier.

    Args:
        model: A whole INT8 TFLite file.

    Raises:
        ModelRefusedError: It is no such file, or does not end in a fully connected classifier.
    """
    if model[4:8] != b"TFL3":
        raise _refused("a TensorFlow Lite file", "another one")
    try:
        return _show(_Tables(model))
    except (struct.error, IndexError) as error:
        raise _refused("a whole file", f"one cut short or damaged ({error})") from error


def _show(file: _Tables) -> FeatureView:
    graph = file.tables(file.offset(0), _SUBGRAPHS)[0]
    outputs = file.numbers(graph, _OUTPUTS)
    if len(outputs) != 1:
        raise _refused("a graph with one output, the logits", f"{len(outputs)} outputs")
    feature = _classifier_input(file, graph, outputs[0])
    tensor = file.tables(graph, _TENSORS)[feature]
    dimension, zero = _int8_vector(file, tensor)
    return FeatureView(_appended(file, graph, (outputs[0], feature)), dimension, zero)


def _classifier_input(file: _Tables, graph: int, output: int) -> int:
    """Index of the tensor that the classifier reads."""
    codes = file.tables(file.offset(0), _OPERATOR_CODES)
    for operator in file.tables(graph, _OPERATORS):
        if output not in file.numbers(operator, _OPERATOR_OUTPUTS):
            continue
        code = codes[file.scalar("<I", operator, _OPCODE_INDEX)]
        kind = max(file.scalar("<b", code, _DEPRECATED_CODE), file.scalar("<i", code, _CODE))
        if kind == FULLY_CONNECTED:
            return file.numbers(operator, _OPERATOR_INPUTS)[0]
        raise _refused("a FULLY_CONNECTED operator before the output", f"operator {kind}")
    raise _refused("an operator that makes the output", "none")


def _int8_vector(file: _Tables, tensor: int) -> tuple[int, int]:
    """Length and zero point of the feature tensor."""
    shape, kind = file.numbers(tensor, _SHAPE), file.scalar("<b", tensor, _TYPE)
    field = file.field(tensor, _QUANTIZATION)
    quantized = field + file.offset(field) if field else 0
    zeros = file.numbers(quantized, _ZERO_POINT, "<q") if quantized else []
    dimension = math.prod(shape)
    if kind != INT8 or len(zeros) != 1 or not 1 <= dimension <= DIMENSION_CAP:
        got = f"type {kind}, shape {shape}, {len(zeros)} zero points"
        raise _refused(f"one INT8 feature vector of up to {DIMENSION_CAP} numbers", got)
    return dimension, zeros[0]


def _appended(file: _Tables, graph: int, outputs: tuple[int, int]) -> bytes:
    """The file with another list of outputs at its end, and nothing else changed."""
    field = file.field(graph, _OUTPUTS)
    changed = bytearray(file.content)
    changed += bytes(-len(changed) % 4)
    struct.pack_into("<I", changed, field, len(changed) - field)
    return bytes(changed + struct.pack("<Iii", len(outputs), *outputs))


def _refused(expected: str, got: str) -> ModelRefusedError:
    return ModelRefusedError(
        f"features: expected {expected}, got {got}; export the network as an INT8 .tflite "
        "classifier"
    )


@dataclass(frozen=True)
class _Tables:
    """Just enough of a FlatBuffer's reader; what lies outside the file raises."""

    content: bytes

    def offset(self, place: int) -> int:
        """Where the offset that stands at `place` leads, counted from there."""
        return self._at("<I", place)

    def field(self, table: int, slot: int) -> int:
        """Place of a table's field, 0 if it is left out."""
        virtual = table - self._at("<i", table)
        if 4 + 2 * slot + 2 > self._at("<H", virtual):
            return 0
        relative = self._at("<H", virtual + 4 + 2 * slot)
        return table + relative if relative else 0

    def scalar(self, form: str, table: int, slot: int) -> int:
        """A number of a table; 0, as all these fields have it, where it is left out."""
        field = self.field(table, slot)
        return self._at(form, field) if field else 0

    def numbers(self, table: int, slot: int, form: str = "<i") -> list[int]:
        """A vector of numbers; none where it is left out."""
        field = self.field(table, slot)
        if not field:
            return []
        start = field + self._at("<I", field)
        count, size = self._at("<I", start), struct.calcsize(form)
        if start + 4 + count * size > len(self.content):
            raise IndexError(f"a list of {count} numbers at byte {start}")
        return [self._at(form, start + 4 + size * index) for index in range(count)]

    def tables(self, table: int, slot: int) -> list[int]:
        """Places of the tables in a vector."""
        field = self.field(table, slot)
        first = field + self._at("<I", field) + 4 if field else 0
        return [
            first + 4 * index + offset
            for index, offset in enumerate(self.numbers(table, slot, "<I"))
        ]

    def _at(self, form: str, place: int) -> int:
        if place < 0:
            raise IndexError(f"byte {place}")
        value: int = struct.unpack_from(form, self.content, place)[0]
        return value
