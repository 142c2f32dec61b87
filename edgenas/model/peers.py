"""The processes that train one supernet together, and what they tell each other.

Each works on an equal part of every batch; what has to be known of the whole batch (means,
extremes) is asked for here. Alone, every answer is what was asked with, bit for bit. How processes
find each other and how they end is `edgenas.train.distributed`; the values are sent by
`torch.distributed`, tensors of a device by whatever serves that device.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from edgenas.errors import EdgenasError


class PeerLostError(EdgenasError):
    """Another process of the training does not answer any more."""


@dataclass(frozen=True)
class Peers:
    """This process among those that train together; all of them make the same calls in one order.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is nobody to talk to."""
        return self.size == 1

    def part[Rows: (Tensor, np.ndarray)](self, whole: Rows) -> Rows:
        """This process's rows of `whole`: every `size`-th one, equally many for everyone.

        Rows in turn and not in blocks, so that any first n rows are shared equally as well.
        """
        return whole[self.rank : len(whole) - len(whole) % self.size : self.size]

    def whole(self, part: Tensor) -> Tensor:
        """The rows of all processes, of which this one has `part`: what `part` was taken from."""
        return self.gathered(part).transpose(0, 1).flatten(0, 1)

    def gathered(self, x: Tensor) -> Tensor:
        """What everyone has, [size, *x.shape], in the order of the ranks; the same for everyone."""
        if self.alone:
            return x.unsqueeze(0)
        found = [torch.empty_like(x) for _ in range(self.size)]
        with _answered(self):
            dist.all_gather(found, x.contiguous())
        return torch.stack(found)

    def mean(self, x: Tensor) -> Tensor:
        """Mean over all processes, the same for everyone; not finite where one of them is."""
        if self.alone:
            return x
        total = x.clone(memory_format=torch.contiguous_format)
        with _answered(self):
            dist.all_reduce(total)
        return total.div_(self.size)

    def means(self, values: Sequence[float]) -> list[float]:
        """Means of plain numbers over all processes."""
        if self.alone:
            return list(values)
        found: list[float] = self.mean(torch.tensor(values, dtype=torch.float64)).tolist()
        return found

    def extremes(self, ends: Tensor) -> Tensor:
        """Lowest and highest values over all processes; [..., 2] as each has found them."""
        if self.alone:
            return ends
        outwards = torch.tensor([-1.0, 1.0], device=ends.device)
        found = ends * outwards
        with _answered(self):
            dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.mul_(outwards)

    def told(self, content: bytes) -> bytes:
        """What rank 0 has to say; what others pass is not looked at."""
        if self.alone:
            return content
        length = torch.tensor([len(content)])
        with _answered(self):
            dist.broadcast(length, 0)
        body = np.zeros(int(length), dtype=np.uint8)
        if self.rank == 0:
            body[:] = np.frombuffer(content, dtype=np.uint8)
        if len(body):
            with _answered(self):
                dist.broadcast(torch.from_numpy(body), 0)
        return body.tobytes()


ALONE = Peers()


@contextlib.contextmanager
def _answered(peers: Peers) -> Iterator[None]:
    """Turn what a broken connection raises into a PeerLostError."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLostError(
            f"process {peers.rank} of {peers.size}: expected the others to answer, got: "
            f"{_first_sentence(error)}; one of them has ended without a word (out of memory, "
            f"killed, its machine gone?); repeat the command: it goes on from the last checkpoint"
        ) from error


def _first_sentence(error: RuntimeError) -> str:
    """Of what a backend says, without the place in its sources and its advice."""
    said = re.sub(r"^\[[^]]*\]\s*", "", str(error).partition("\n")[0])
    return said.partition(". ")[0]
