"""The module that describes .tflite files: ai-edge-litert's, or the same file where that runtime
must not be installed.

Writing models with it is left to `tiny_model`.
"""

import importlib
import importlib.util
import os
from types import ModuleType


def _load() -> ModuleType:
    named = os.environ.get("EDGENAS_TFLITE_SCHEMA")
    if not named:
        return importlib.import_module("ai_edge_litert.schema_py_generated")
    spec = importlib.util.spec_from_file_location("tflite_schema_from_file", named)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


schema = _load()
