"""The processes that train one student together, as torchrun starts them; usually there is one, which is a team too.

All processes of a team run the same command. What is trained they train together; everything else the first does, and the others wait.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, TypeVar

from edgekd.errors import EdgekdError

T = TypeVar("T")
#: What torchrun tells each process that it starts.
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Parted(EdgekdError):
    """Another process of the team has ended."""


class Team:
    """One process by itself. All processes of a team call the same methods in the same order."""

    rank = 0
    size = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes, prints and judges."""
        return self.rank == 0

    def told(self, work: Callable[[], T]) -> T:
        """What ``work`` returns to the leader, who alone does it; it must be JSON. Raises Parted where the leader failed at it."""
        return work()

    def first(self, work: Callable[[], T]) -> T:
        """What ``work`` returns; the leader does it before the others begin, who find what it has stored."""
        return work()

    def together(self) -> None:
        """Wait until all have come here."""

    def part(self, count: int) -> slice | None:
        """Which of ``count`` samples are this process's; None: all. Raises InputError unless all have equally many."""
        del count

    def whole(self, x: Any, axis: int = 0) -> Any:
        """Every process's part of a batch, one after the other along ``axis``, as one tensor; gradients flow into the own part."""
        del axis
        return x

    def add_gradients(self, parameters: Iterable[Any]) -> None:
        """Each gradient becomes the sum of all processes'."""
        del parameters

    def equalize(self, module: Any) -> None:
        """Parameters and buffers become the leader's, bit for bit."""
        del module

    @contextmanager
    def batch_norms(self, module: Any) -> Generator[None]:
        """While it lasts, batch norms of ``module`` in training see the samples of all processes."""
        del module
        yield


_HERE = [Team()]


def here() -> Team:
    """This process's team."""
    return _HERE[0]


@contextmanager
def member(team: Team) -> Generator[Team]:
    """While it lasts, ``team`` is this process's."""
    before, _HERE[0] = _HERE[0], team
    try:
        yield team
    finally:
        _HERE[0] = before


def launcher() -> str:
    """What a command begins with that starts such a team; "" where there is one process."""
    local = os.environ.get("LOCAL_WORLD_SIZE", "")
    if (size := here().size) == 1:
        return ""
    return f"torchrun {'--standalone' if local == str(size) else '(on each machine, as before)'} --nproc-per-node {local or size} -m "


def asked() -> bool:
    """Whether this process was started as one of several."""
    return all(name in os.environ for name in VARIABLES) and os.environ["WORLD_SIZE"] not in ("", "0", "1")
