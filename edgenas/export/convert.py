"""ONNX to float TensorFlow Lite through onnx2tf (its direct flatbuffer back end)."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import onnx
import onnx2tf
import tqdm

from edgenas.export.errors import ConversionError

_NAME = "subnet"

tqdm.tqdm.monitor_interval = 0  # the converter's progress bars would leave a watching thread


def float_tflite(model: onnx.ModelProto) -> bytes:
    """A clean NHWC float graph of the same network.

    Raises:
        ConversionError: onnx2tf refuses the graph.
    """
    folder = _workshop(os.getpid())
    source, made = folder / f"{_NAME}.onnx", folder / f"{_NAME}_float32.tflite"
    made.unlink(missing_ok=True)  # of an earlier graph
    onnx.save(model, str(source))
    talk = io.StringIO()
    try:
        with (
            _cheap_collections(),
            contextlib.redirect_stdout(talk),
            contextlib.redirect_stderr(talk),
        ):
            onnx2tf.convert(
                input_onnx_file_path=str(source),
                output_folder_path=str(folder),
                non_verbose=True,
                verbosity="error",
            )
        return made.read_bytes()
    except (Exception, SystemExit) as error:  # onnx2tf ends the process on some graphs
        raise ConversionError(
            f"{model.graph.name}: expected onnx2tf to convert the graph, got "
            f"{type(error).__name__}: {error}; its output ends with {talk.getvalue()[-400:]!r}"
        ) from error


@cache
def _workshop(process: int) -> Path:
    """The folder in which a process converts, deleted at its end.

    One for all graphs: the converter generates, compiles and keeps its TensorFlow Lite schema, some
    megabytes, anew for each folder that it sees.
    """
    folder = tempfile.TemporaryDirectory(prefix="edgenas-export-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@contextlib.contextmanager
def _cheap_collections() -> Iterator[None]:
    """Set what is alive now aside from garbage collection.

    The converter collects twice a call; walking all of torch's objects each time was half of the
    conversion.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
