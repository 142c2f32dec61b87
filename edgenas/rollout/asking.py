"""Writes down what an operator asks of a rollout, beside whoever carries it out meanwhile.

Leaves whether it may be asked to `verbs`, and carrying it out to the driver, which sees it in the
store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgenas.rollout.errors import RolloutStoreError, VerbError
from edgenas.rollout.events import Event
from edgenas.rollout.others import Others
from edgenas.rollout.state import RolloutState
from edgenas.rollout.store import RolloutStore, catch_up, load
from edgenas.rollout.verbs import start, take_over

_TRIES = 1000  # a driver writes a few times a second at most

Verb = Callable[[RolloutState], Sequence[Event]]


def ask(store: RolloutStore, rollout_id: str, verb: Verb, wall_ms: int) -> RolloutState:
    """Ask something of a rollout; durable on return.

    Args:
        store: Where it is remembered.
        rollout_id: Which one.
        verb: What to ask; called again if something else happened in between.
        wall_ms: The date, milliseconds since 1970.

    Returns:
        The rollout afterwards.

    Raises:
        VerbError: Its state does not allow it.
        RolloutStoreError: It cannot be written down.
    """
    state = load(store, rollout_id)
    for _ in range(_TRIES):
        events = verb(state)
        at_ms = max(wall_ms, state.newest_ms)
        if not events or store.append(rollout_id, state.position, events, at_ms):
            catch_up(store, state)
            return state
        catch_up(store, state)
    raise RolloutStoreError("expected to get a word in, got none; repeat the command")


def begin(store: RolloutStore, rollout_id: str, by: str, wall_ms: int) -> RolloutState:
    """Start a rollout: the older ones lose its devices with it, so that no device is in two.

    That is one step: of two that are started at the same time one is the first.

    Raises:
        VerbError: It has ended, or a later plan has been started on some of its devices.
    """
    state = load(store, rollout_id)
    others = Others(store, state.plan)
    others.look()  # the long look, while everybody else goes on
    with store.together():
        catch_up(store, state)
        older = others.look()
        started = start(state, by, older)
        for other in older if started else ():
            _append(store, other, take_over(other, state), wall_ms)
        _append(store, state, started, wall_ms)
    catch_up(store, state)
    return state


def _append(
    store: RolloutStore, state: RolloutState, events: Sequence[Event], wall_ms: int
) -> None:
    """Add to what was looked at inside `together`, so that nobody can have been quicker."""
    at_ms = max(wall_ms, state.newest_ms)
    if events and not store.append(state.plan.rollout_id, state.position, events, at_ms):
        raise RolloutStoreError("expected to be alone with the rollouts, got another's word")


def find(store: RolloutStore, wanted: str | None) -> str:
    """The id that begins so; the newest rollout if nothing is given.

    Raises:
        VerbError: There is none, or several.
    """
    ids = store.ids()
    found = ids[-1:] if wanted is None else [each for each in ids if each.startswith(wanted)]
    if len(found) != 1:
        known = ", ".join(each[:8] for each in ids) or "none; `edgenas rollout plan` makes one"
        raise VerbError(f"expected one rollout {wanted or ''}, got {len(found)}; known: {known}")
    return found[0]
