"""Several processes train one supernet: finding each other, staying alike, stopping, failing.

`torchrun` starts the processes and says by the environment which is which. Every process draws the
same subnets and takes the same decisions, because all of them see the same numbers
(`edgenas.model.peers`); only the first one writes files. Why there is no wrapper around the
supernet is said in docs/adr/0027. What a step does is `edgenas.train.loop`'s.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType

import torch
from torch import distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from edgenas.errors import EdgenasError
from edgenas.model.peers import ALONE, Peers

PATIENCE = datetime.timedelta(minutes=30)
"""How long a process waits for the others; the first may be reading or exporting meanwhile."""
SPOKESMEN = "edgenas/spokesmen"


class DistributedError(EdgenasError):
    """Processes that cannot train together, or that have stopped being alike."""


@dataclass(frozen=True)
class Place:
    """Which of the started processes this one is.

    Attributes:
        rank: among all, from 0.
        size: of all.
        local: among those of this machine, from 0.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> Place:
        """What a launcher has said; alone if it has said nothing.

        Raises:
            DistributedError: it has said a part of it, or no numbers.
        """
        if environment.get("WORLD_SIZE", "1") == "1":
            return Place()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        said = {name: environment.get(name) for name in names}
        try:
            rank, size, local = (int(str(said[name])) for name in names)
        except ValueError:
            raise _not_by_torchrun(said) from None
        if not (0 <= rank < size and 0 <= local < size):
            raise _not_by_torchrun(said)
        return Place(rank, size, local)


def _not_by_torchrun(said: object) -> DistributedError:
    return DistributedError(
        f"environment: expected RANK, WORLD_SIZE and LOCAL_RANK as torchrun sets them, got {said}; "
        f"start with `torchrun --nproc-per-node N -m edgenas train ...`, or unset WORLD_SIZE to "
        f"train alone"
    )


@contextlib.contextmanager
def together(place: Place) -> Iterator[Peers]:
    """Take part in the training that a launcher has started, or train alone.

    Where one process fails, all end, and one of them says why: its error passes through, the
    others leave by SystemExit without a word. An interrupt passes through in the first.

    Args:
        place: of this process.

    Raises:
        DistributedError: the others are not there, or too many for the accelerators of a machine.
    """
    if place.size == 1:
        yield ALONE
        return
    store = _met(place)
    try:
        _join(store, place)
        yield Peers(place.rank, place.size)
        dist.destroy_process_group()
    except KeyboardInterrupt:
        if place.rank == 0:
            raise
        raise SystemExit(130) from None
    except Exception:
        if _speaks(store, place):
            raise
        raise SystemExit(1) from None


def _met(place: Place) -> Store:
    """Where all processes can leave word.

    Raises:
        DistributedError: nobody is there.
    """
    try:
        store: Store = next(iter(rendezvous("env://", timeout=PATIENCE)))[0]
    except (RuntimeError, ValueError) as error:
        raise DistributedError(
            f"process {place.rank}: expected to meet {place.size - 1} others where MASTER_ADDR and "
            f"MASTER_PORT say, got: {error}; start them with `torchrun --nproc-per-node N -m "
            f"edgenas train ...`"
        ) from error
    return store


def _join(store: Store, place: Place) -> None:
    """Connect the processes, for tensors of the processor and of the accelerator alike.

    Raises:
        DistributedError: there are fewer accelerators than processes, or no way between them.
    """
    kinds = [torch.device("cpu").type]
    here = torch.accelerator.current_accelerator(check_available=True)
    if here is not None:
        _take_accelerator(place)
        kinds.append(here.type)
    try:
        dist.init_process_group(
            ",".join(f"{kind}:{dist.get_default_backend_for_device(kind)}" for kind in kinds),
            store=PrefixStore("training", store),
            rank=place.rank,
            world_size=place.size,
            timeout=PATIENCE,
        )
    except (RuntimeError, ValueError) as error:
        raise DistributedError(
            f"process {place.rank}: expected to connect {place.size} processes for tensors of "
            f"{' and '.join(kinds)}, got: {error}; train with one process, or see what torch says "
            f"about its backends"
        ) from error


def _take_accelerator(place: Place) -> None:
    """Give each process of a machine one of its accelerators.

    Raises:
        DistributedError: there are fewer.
    """
    count = torch.accelerator.device_count()
    if place.local >= count:
        raise DistributedError(
            f"process {place.rank}: expected an accelerator for each process of a machine, got "
            f"{count} for more than {place.local}; start with --nproc-per-node {count}"
        )
    torch.accelerator.set_device_index(place.local)


def _speaks(store: Store, place: Place) -> bool:
    """Whether this process is the first to have something to say about the end."""
    try:
        return int(store.add(SPOKESMEN, 1)) == 1
    except RuntimeError:  # the store has gone as well
        return place.rank == 0


@contextlib.contextmanager
def stopping_together(peers: Peers) -> Iterator[Callable[[], None]]:
    """Let SIGINT to any process stop all of them after the same step.

    Gives a function that all call after each step; it raises KeyboardInterrupt in all of them once
    one was asked to stop. Alone, nothing is changed: interrupts come as they always do.
    """
    if peers.alone:
        yield lambda: None
        return
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    def stop() -> None:
        if any(peers.means([float(asked)])):
            raise KeyboardInterrupt

    earlier = signal.getsignal(signal.SIGINT)
    holds = callable(earlier) and threading.current_thread() is threading.main_thread()
    if holds:
        signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        if holds:
            signal.signal(signal.SIGINT, earlier)


def check_shared(batch: int, peers: Peers, parts: int = 1) -> None:
    """Refuse a batch of which not everyone can have equally much.

    Args:
        batch: images a step.
        peers: among whom it is shared out.
        parts: that it is cut into, each of which is shared out.

    Raises:
        DistributedError: names batches that fit.
    """
    pieces = peers.size * parts
    if batch % pieces:
        fitting = max(1, batch // pieces) * pieces
        what = "the batch is" if parts == 1 else f"the batch is cut into {parts} parts, each"
        raise DistributedError(
            f"batch: expected a multiple of {pieces} ({what} shared out among the processes), got "
            f"{batch}; use --batch {fitting} or another --nproc-per-node"
        )


def check_alike(peers: Peers, what: str, content: Callable[[], str]) -> None:
    """Refuse to go on if `content` is not the same in all processes.

    Args:
        peers: all of them.
        what: `content` is, for the message.
        content: gives something that says all of it; not called where there is nobody else.

    Raises:
        DistributedError: names what differs.
    """
    if peers.alone:
        return
    digest = hashlib.sha256(content().encode()).digest()
    found = peers.gathered(torch.frombuffer(bytearray(digest), dtype=torch.uint8))
    differing = [rank for rank in range(1, peers.size) if not torch.equal(found[rank], found[0])]
    if differing:
        raise DistributedError(
            f"{what}: expected the same in all {peers.size} processes, got another in process "
            f"{', '.join(map(str, differing))} than in process 0; start all of them with the same "
            f"command, data and versions, on machines of one kind"
        )
