"""Work that does not fit into memory: which batch would, found by trying."""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from typing import TypeVar

from edgekd.errors import OutOfMemory, lacks_memory

T = TypeVar("T")
#: The smallest batch that batch norm can be trained with.
LEAST = 2


def in_memory(work: Callable[[], T], what: str, batch: int, attempt: Callable[[int], object], key: str) -> T:
    """What ``work`` returns, which is fed batches of ``batch`` samples.

    Raises OutOfMemory where memory does not suffice: it names the largest half, quarter, … of ``batch`` for which ``attempt``, which does
    one step of that size, has room; ``key`` is where the batch is set.
    """
    try:
        return work()
    except Exception as error:
        if not (said := lacks_memory(error)):
            raise
    gc.collect()  # only here: the error's traceback held what the step had allocated
    held = peak_bytes()
    size = batch // 2
    while size >= LEAST and not _fits(attempt, size):
        size //= 2
    mend = f"lower {key} to {size}, which was tried and fits" if size >= LEAST else f"a smaller network: not even {key} = {LEAST} fits"
    raise OutOfMemory(
        f"{what}: out of memory with batches of {batch} (this process held {held / 2**20:.0f} MiB at most)\n  it said:  {said}\n"
        f"  to mend:  {mend}"
    )


def peak_bytes() -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _fits(attempt: Callable[[int], object], size: int) -> bool:
    try:
        attempt(size)
    except Exception as error:
        if not lacks_memory(error):
            raise
        return False
    return True
