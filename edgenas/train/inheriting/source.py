"""Files of weights: a checkpoint of ours, a PyTorch state dict, or safetensors.

PyTorch files are read with `weights_only`: they cannot run code. Which tensor belongs to which
layer is `edgenas.train.inheriting.matching`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgenas.train.checkpoint import FORMAT, Checkpoint, digest_of, load_checkpoint
from edgenas.train.inheriting.errors import SourceError
from edgenas.train.inheriting.safetensors import read_safetensors

MAX_BYTES = 8 * 2**30
WRAPPINGS = ("state_dict", "model_state_dict", "model", "net", "weights")
PREFIXES = ("module.", "_orig_mod.")
COUNTER = "num_batches_tracked"

type Names = Mapping[str, tuple[str, ...]]
"""Layer to the prefixes of its tensors: of its weight, and of its BatchNorm if there is one."""


@dataclass(frozen=True)
class Source:
    """Weights that a run starts from.

    Attributes:
        path: of the file.
        origin: a checkpoint of ours, or the tensors of a plain model by name, float32, in order.
        digest: SHA-256 over names and numbers of its tensors; of a plain model also their order,
            which may decide what is what.
        new_classifier: whether the last layer is left as it begins, for other classes.
        names: which tensors belong to which layer, where a person has said so.
    """

    path: Path
    origin: Checkpoint | Mapping[str, Tensor]
    digest: str
    new_classifier: bool = False
    names: Names = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """What a run must find again to go on: equal identities give equal first weights."""
        texts = [self.digest]
        if self.new_classifier:
            texts.append("new classifier")
        if self.names:
            texts.append(", ".join(f"{k} = {' '.join(v)}" for k, v in sorted(self.names.items())))
        return "; ".join(texts)


def read_source(path: Path, *, new_classifier: bool = False, names: Names | None = None) -> Source:
    """Read a file of weights.

    Args:
        path: `checkpoint.pt` of a run, a file made by `torch.save` of a state dict, or safetensors.
        new_classifier: leave the last layer as it begins.
        names: which tensors belong to which layer; without, names and order in the file decide.

    Raises:
        SourceError: it is missing, too large, or holds something else.
        CheckpointError: it is a damaged checkpoint of ours.
    """
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise SourceError(
            f"weights: expected a file of at most {MAX_BYTES >> 30} GiB at {path}, got "
            f"{'a larger one' if path.is_file() else 'none'}; name a checkpoint.pt, a saved "
            f"state dict (.pt) or a .safetensors file"
        )
    if path.suffix == ".safetensors":
        return _plain(path, read_safetensors(path), new_classifier, names)
    body = _torch_file(path)
    if body.get("format") == FORMAT:
        checkpoint = load_checkpoint(path)
        return Source(path, checkpoint, checkpoint.digest(), new_classifier)
    return _plain(path, _unwrapped(body), new_classifier, names)


def _plain(
    path: Path, body: Mapping[str, Any], new_classifier: bool, names: Names | None
) -> Source:
    tensors = _floats(path, body)
    in_order = {f"{number} {name}": v for number, (name, v) in enumerate(tensors.items())}
    return Source(path, tensors, digest_of(in_order), new_classifier, names or {})


def _torch_file(path: Path) -> dict[str, Any]:
    try:
        body = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make torch fail in a dozen ways
        raise SourceError(
            f"{path}: expected a checkpoint or a state dict of tensors alone, got something that "
            f"cannot be read safely ({type(error).__name__}: {str(error)[:200]}); save it with "
            f"`torch.save(model.state_dict(), {path.name!r})`"
        ) from error
    if not isinstance(body, dict):
        raise SourceError(
            f"{path}: expected a state dict, got {type(body).__name__}; save it with "
            f"`torch.save(model.state_dict(), {path.name!r})`"
        )
    return body


def _unwrapped(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state dict in what training scripts save around it, without their prefixes."""
    for name in WRAPPINGS:
        inner = body.get(name)
        if isinstance(inner, dict) and any(isinstance(v, Tensor) for v in inner.values()):
            return _unwrapped(inner)
    for prefix in PREFIXES:
        if body and all(str(name).startswith(prefix) for name in body):
            return _unwrapped({name.removeprefix(prefix): v for name, v in body.items()})
    return body


def _floats(path: Path, body: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors as float32; counters are left out."""
    kept = {str(k): v for k, v in body.items() if not str(k).endswith(COUNTER)}
    odd = [k for k, v in kept.items() if not (isinstance(v, Tensor) and v.is_floating_point())]
    if odd or not kept:
        raise SourceError(
            f"{path}: expected floating point tensors by name, got "
            f"{f'others as {odd[0]!r}' if odd else 'no tensor at all'}; save the float model with "
            f"`torch.save(model.state_dict(), ...)`"
        )
    tensors = {name: value.detach().float().contiguous() for name, value in kept.items()}
    wrong = [name for name, value in tensors.items() if not value.isfinite().all()]
    if wrong:
        raise SourceError(
            f"{path}: expected finite numbers, got others in {wrong[0]!r}; take an earlier "
            f"checkpoint of that model"
        )
    return tensors
