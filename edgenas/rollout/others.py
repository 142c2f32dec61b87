"""The rollouts beside one, for the same slot: who else may have a device.

A look costs what has happened since the last one; the first reads everything. What follows for a
device that two of them want is left to `verbs`.
"""

from __future__ import annotations

from edgenas.rollout.errors import UnreadableError
from edgenas.rollout.plan import Plan
from edgenas.rollout.state import RolloutState
from edgenas.rollout.store import RolloutStore, catch_up, load, tell_left_out


class Others:
    """All rollouts of a store for the slot of a plan, but for its own."""

    def __init__(self, store: RolloutStore, plan: Plan) -> None:
        self._store = store
        self._slot = plan.slot
        self._states: dict[str, RolloutState] = {}
        self._passed_over = {plan.rollout_id}

    def look(self) -> list[RolloutState]:
        """How they stand now; one that cannot be read is told once and passed over."""
        for rollout_id in self._store.ids():
            if rollout_id in self._passed_over:
                continue
            try:
                self._look_at(rollout_id)
            except UnreadableError as error:
                self._pass_over(rollout_id)
                tell_left_out(rollout_id, error)
        return list(self._states.values())

    def _look_at(self, rollout_id: str) -> None:
        known = self._states.get(rollout_id)
        if known is not None:
            catch_up(self._store, known)
            return
        state = load(self._store, rollout_id)
        if state.plan.slot == self._slot:
            self._states[rollout_id] = state
        else:
            self._pass_over(rollout_id)

    def _pass_over(self, rollout_id: str) -> None:
        self._states.pop(rollout_id, None)
        self._passed_over.add(rollout_id)
