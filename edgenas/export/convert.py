"""ONNX to float TensorFlow Lite through onnx2tf (its direct flatbuffer back end)."""

from __future__ import annotations

import contextlib
import gc
import io
import tempfile
from collections.abc import Iterator
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
    with tempfile.TemporaryDirectory(prefix="edgenas-export-") as folder:
        source = Path(folder, f"{_NAME}.onnx")
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
                    output_folder_path=folder,
                    non_verbose=True,
                    verbosity="error",
                )
            return Path(folder, f"{_NAME}_float32.tflite").read_bytes()
        except (Exception, SystemExit) as error:  # onnx2tf ends the process on some graphs
            raise ConversionError(
                f"{model.graph.name}: expected onnx2tf to convert the graph, got "
                f"{type(error).__name__}: {error}; its output ends with {talk.getvalue()[-400:]!r}"
            ) from error


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
