"""What can go wrong with a rollout before it begins or when an operator asks something of it.

A device that fails, or a gate that closes, is no error: it is state, with a reason.
"""

from edgenas.errors import EdgenasError


class RolloutError(EdgenasError):
    """Root of this package's errors."""


class PlanError(RolloutError):
    """A plan that cannot be made, or that does not hold together."""


class VerbError(RolloutError):
    """An operator asked for something that the rollout's state does not allow."""


class RolloutStoreError(RolloutError):
    """The durable memory of rollouts cannot be opened, read or written."""


class UnreadableError(RolloutStoreError):
    """What is remembered of one rollout cannot be understood here; the others are not affected."""
