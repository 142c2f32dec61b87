"""Models of ONNX: onnxruntime on the CPU, or with the CUDA or TensorRT provider of a Jetson.

A provider that does not load is no failure: onnxruntime then computes on the CPU, the label says
so, and ``shortfall`` says why. A session's threads do not spin between runs, because another
model's session is timed in between.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from firmware_bridge.runtimes.choice import FileFormat
from firmware_bridge.runtimes.errors import ModelRefusedError, reason_of
from firmware_bridge.runtimes.model import (
    Array,
    Model,
    OperatorTime,
    Runtime,
    TensorSpec,
    random_inputs,
)

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_TENSORRT = "TensorrtExecutionProvider"
_PROVIDERS: dict[str | None, list[str | tuple[str, dict[str, object]]]] = {
    None: [_CPU],
    "cuda": [_CUDA, _CPU],
    "tensorrt": [(_TENSORRT, {"trt_int8_enable": True}), _CUDA, _CPU],
}
_DELEGATES = {_CPU: "cpu", _CUDA: "cuda", _TENSORRT: "tensorrt"}
_BITS = (8, 16, 32, 64)
_DTYPES = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    **{f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in _BITS},
}
_SETTINGS = {
    "session.intra_op.allow_spinning": "0",
    # x86 would else compute partly in float, and clip sums where it has no VNNI; ARM's default.
    "session.qdqisint8allowed": "1",
}
_ERRORS_ONLY = 3
_PROFILE_SEED = 1
_KERNEL = "_kernel_time"
_FUSED = re.compile(r"_token_\d+$")  # what onnxruntime appends to the name of a fused node


class OnnxRuntime(Runtime):
    """The onnxruntime package, in whichever build is installed.

    Args:
        version: Of the package.
        module: The package.
        delegate: ``cuda`` or ``tensorrt`` to compute there, None for the CPU.
    """

    name = "onnxruntime"
    file_format: FileFormat = "onnx"

    def __init__(self, version: str, module: Any, delegate: str | None = None) -> None:
        self.version, self._module, self._delegate = version, module, delegate
        self.refusals: tuple[type[Exception], ...] = (ValueError, RuntimeError, *_errors(module))

    def open(self, source: Path | bytes, threads: int) -> OnnxModel:
        return OnnxModel(self, source, threads)

    def shortfall(self, delegate: str) -> str | None:
        if self._delegate in (None, delegate):
            return None
        wanted = _name(_PROVIDERS[self._delegate][0])
        offered = list(self._module.get_available_providers())
        if wanted in offered:
            cause = "it is part of this onnxruntime but did not load: see what the probe printed"
        else:
            cause = f"this build of onnxruntime has {', '.join(offered)}"
        return (
            f"expected {wanted}, got {delegate}: {cause}; install the onnxruntime that NVIDIA "
            "builds for this JetPack, with its CUDA and TensorRT, or choose onnxruntime"
        )

    def session(self, source: Path | bytes, threads: int, profile: Path | None = None) -> Any:
        """A native session.

        Args:
            source: A model file, or its bytes.
            threads: Number of CPU threads.
            profile: How the name of a profile begins; None writes none.

        Raises:
            ModelRefusedError: onnxruntime refuses the model.
        """
        options = self._module.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = _ERRORS_ONLY
        for key, value in _SETTINGS.items():
            options.add_session_config_entry(key, value)
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        known = set(self._module.get_available_providers())
        wanted = _PROVIDERS[self._delegate]
        providers = [each for each in wanted if _name(each) in known]
        try:
            return self._module.InferenceSession(
                source if isinstance(source, bytes) else str(source), options, providers=providers
            )
        except self.refusals as error:
            raise ModelRefusedError(f"{self.name} refuses the model: {reason_of(error)}") from error


class OnnxModel(Model):
    """A session with its inputs and outputs bound to memory of the CPU."""

    def __init__(self, runtime: OnnxRuntime, source: Path | bytes, threads: int) -> None:
        self._runtime, self._source, self._threads = runtime, source, threads
        self.refusals = runtime.refusals
        self._session = runtime.session(source, threads)
        self.inputs = tuple(_specs(self._session.get_inputs()))
        self.outputs = tuple(_specs(self._session.get_outputs()))
        self._binding = self._session.io_binding()
        for spec in self.outputs:
            self._binding.bind_output(spec.name)
        self._fed: list[Array] = []  # bound memory has to stay alive
        self.feed([np.zeros(spec.shape, spec.dtype) for spec in self.inputs])
        self.invoke = partial(self._session.run_with_iobinding, self._binding)

    @property
    def delegate(self) -> str:
        first = str(self._session.get_providers()[0])
        return _DELEGATES.get(first, first)

    def feed(self, arrays: Sequence[Array]) -> None:
        fed = []
        for spec, array in zip(self.inputs, arrays, strict=True):
            fed.append(np.array(array, spec.dtype, order="C").reshape(spec.shape))
            self._binding.bind_cpu_input(spec.name, fed[-1])
        self._fed = fed

    def read(self) -> list[Array]:
        return [np.array(array) for array in self._binding.copy_outputs_to_cpu()]

    def operator_times(self, invocations: int) -> tuple[OperatorTime, ...] | None:
        inputs = dict(
            zip((s.name for s in self.inputs), random_inputs(self, _PROFILE_SEED), strict=True)
        )
        with tempfile.TemporaryDirectory(prefix="edgenas-profile-") as folder:
            session = self._runtime.session(self._source, self._threads, Path(folder, "operators"))
            for _ in range(1 + invocations):
                session.run(None, inputs)
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return tuple(_operators(events, invocations))


def _errors(module: Any) -> Iterator[type[Exception]]:
    """Its own exceptions, which share no base."""
    for each in vars(module.capi.onnxruntime_pybind11_state).values():
        if isinstance(each, type) and issubclass(each, Exception):
            yield each


def _operators(events: Sequence[dict[str, Any]], invocations: int) -> Iterator[OperatorTime]:
    """Sums a profile by operator; the first run of each is left out, it pays for memory."""
    taken_ns: dict[tuple[str, str], list[int]] = {}
    for event in events:
        name = str(event["name"])
        if event.get("cat") == "Node" and name.endswith(_KERNEL):
            key = (name.removesuffix(_KERNEL), str(event["args"].get("op_name", "?")))
            taken_ns.setdefault(key, []).append(int(event["dur"]) * 1000)
    plain = [_FUSED.sub("", name) for name, _ in taken_ns]
    for (name, kind), short, each_ns in zip(taken_ns, plain, taken_ns.values(), strict=True):
        kept = each_ns[-invocations:]
        unique = plain.count(short) == 1
        yield OperatorTime(short if unique else name, kind, len(kept), sum(kept))


def _specs(native: Sequence[Any]) -> Iterator[TensorSpec]:
    for index, each in enumerate(native):
        if each.type not in _DTYPES:
            raise ModelRefusedError(
                f"tensor {each.name}: expected numbers, got {each.type}; "
                "edgenas feeds and reads tensors of numbers only"
            )
        shape = tuple(side if isinstance(side, int) and side > 0 else 1 for side in each.shape)
        yield TensorSpec(index, str(each.name), shape, _DTYPES[each.type])


def _name(provider: str | tuple[str, dict[str, object]]) -> str:
    return provider if isinstance(provider, str) else provider[0]
