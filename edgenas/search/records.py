"""How the values of a study are written in its rows, and read back with every check.

Text to value and value to text; which row belongs to what is left to `edgenas.search.study`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgenas.search.budget import Budget
from edgenas.search.errors import SearchError
from edgenas.search.trial import Failure, Outcome
from edgenas.space import Arch


@dataclass(frozen=True, slots=True)
class StudyIdentity:
    """What a history is about; results of anything else must not be mixed into it.

    Attributes:
        checkpoint_sha256: digest of the supernet's weights.
        space: name of the space.
        data_fingerprint: digest of the data and of how it was split.
        seeds: every seed by the name of what it seeds.
    """

    checkpoint_sha256: str
    space: str
    data_fingerprint: str
    seeds: Mapping[str, int]

    def to_rows(self) -> dict[str, str]:
        """Name and JSON value of each property."""
        return {
            "checkpoint_sha256": _dump(self.checkpoint_sha256),
            "space": _dump(self.space),
            "data_fingerprint": _dump(self.data_fingerprint),
            "seeds": _dump(dict(self.seeds)),
        }

    @staticmethod
    def from_rows(rows: Mapping[str, str]) -> StudyIdentity:
        """Read the properties back.

        Raises:
            SearchError: one is missing or is not of its type.
        """
        try:
            values = {name: json.loads(text) for name, text in rows.items()}
            seeds = {str(name): int(seed) for name, seed in values["seeds"].items()}
            names = ("checkpoint_sha256", "space", "data_fingerprint")
            checkpoint, space, data = (str(values[name]) for name in names)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SearchError(f"expected the properties of a study, got {dict(rows)}") from error
        return StudyIdentity(checkpoint, space, data, seeds)


def result_text(result: Outcome | Failure) -> str:
    """An outcome or a failure as JSON."""
    if isinstance(result, Outcome):
        return _dump({"outcome": result.to_dict()})
    return _dump({"failure": asdict(result)})


def read_result(text: str) -> Outcome | Failure:
    """Inverse of `result_text`.

    Raises:
        SearchError: the text is neither.
    """
    data = _load(text)
    try:
        if "outcome" in data:
            return Outcome.from_dict(data["outcome"])
        return Failure(**data["failure"])
    except (KeyError, TypeError) as error:
        raise SearchError(f"expected an outcome or a failure, got {text[:200]!r}") from error


def budget_text(budget: Budget) -> str:
    """A budget as JSON."""
    return _dump(asdict(budget))


def read_budget(text: str) -> Budget:
    """Inverse of `budget_text`.

    Raises:
        SearchError: the text is no budget.
    """
    try:
        return Budget(**_load(text))
    except TypeError as error:
        raise SearchError(f"expected a budget, got {text[:200]!r}") from error


def arch_text(arch: Arch) -> str:
    """An architecture as JSON."""
    return _dump(arch.to_dict())


def read_arch(text: str) -> Arch:
    """Inverse of `arch_text`.

    Raises:
        SearchError: the text is not JSON.
        ArchError: it is not an architecture.
    """
    return Arch.from_dict(_load(text))


def raw_text(raw: Mapping[str, Any] | None) -> str | None:
    """Raw samples as JSON.

    Raises:
        SearchError: they are not plain JSON.
    """
    if raw is None:
        return None
    try:
        return _dump(raw)
    except (TypeError, ValueError) as error:
        raise SearchError(f"raw samples: expected plain JSON values, got {error}") from error


def read_raw(text: str) -> dict[str, Any]:
    """Inverse of `raw_text`.

    Raises:
        SearchError: the text is not a JSON object.
    """
    return _load(text)


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _load(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise SearchError(f"expected JSON, got {text[:200]!r}") from error
    if not isinstance(data, dict):
        raise SearchError(f"expected a JSON object, got {text[:200]!r}")
    return data
