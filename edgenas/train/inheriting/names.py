"""Files that say which tensors of a model belong to which layer.

TOML: `stem = ["features.0.0", "features.0.1"]`, prefixes of the kernel's and of the BatchNorm's
tensors, or `logits = "classifier"` where there is no BatchNorm. Which layers there are is
`ArchSpace.layers`'.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from edgenas.train.inheriting.errors import SourceError
from edgenas.train.inheriting.source import Names

MAX_BYTES = 2**20


def read_names(path: Path) -> Names:
    """The prefixes by layer.

    Raises:
        SourceError: the file is missing, too large, no TOML, or says something else.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        names = {layer: _prefixes(layer, said) for layer, said in _flat(content).items()}
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{path}: expected lines such as `stem = ['features.0.0', 'features.0.1']` in TOML, "
            f"got {error}; mend the file"
        ) from error
    return names


def _flat(content: bytes) -> dict[str, object]:
    """Layers by their whole names: `s0.b1.expand = ...` is a table in a table to TOML."""
    found: dict[str, object] = {}

    def walk(table: dict[str, object], above: str) -> None:
        for name, value in table.items():
            if isinstance(value, dict):
                walk(value, f"{above}{name}.")
            else:
                found[f"{above}{name}"] = value

    walk(tomllib.loads(content.decode("utf-8")), "")
    return found


def _prefixes(layer: str, said: object) -> tuple[str, ...]:
    prefixes = [said] if isinstance(said, str) else said
    if not isinstance(prefixes, list) or not prefixes:
        raise ValueError(f"{said!r} for {layer}")
    if not all(isinstance(prefix, str) for prefix in prefixes):
        raise ValueError(f"{said!r} for {layer}")
    return tuple(str(prefix) for prefix in prefixes)
