"""Several processes, on one machine or more, that train one student: data-parallel training, as PyTorch's DistributedDataParallel has it
(Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training"), by the same collectives.

The wrapper itself would not do: it averages gradients of losses that each process computes of its own samples. Here every process is fed
what all students' parts answer, so that losses that relate samples, or remember them, see the whole batch; each goes back through its own
part, and gradients are added. Those of the losses' own modules are the same everywhere and are left alone.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from edgekd import runs, team
from edgekd.errors import EdgekdError, InputError
from edgekd.team import Parted, Team
from edgekd.train.ranks_norm import norms, one_norm

T = TypeVar("T")
#: Seconds between two looks whether the leader has said something.
LOOK_S = 0.02
#: Seconds in which whoever failed says so, before another says it for him.
PATIENCE_S = 10.0
#: The exit code of whom Ctrl-C has ended, who says how to go on.
INTERRUPTED = 130
#: Seconds in which a signal comes that is meant for all.
LOST_S = 1.0
_FAILED = "failed"


class Ranks(Team):
    """This process among those that torchrun has started; ``store`` is what they share."""

    def __init__(self, rank: int, size: int, store: Store) -> None:
        self.rank, self.size = rank, size
        self._store, self._said = store, 0

    def told(self, work: Callable[[], T]) -> T:
        found = work() if self.leads else None
        self._said += 1  # after what work itself has told
        key = f"told/{self._said}"
        if self.leads:
            with _parted():
                self._store.set(key, json.dumps(found))
            return found  # pyright: ignore[reportReturnType]
        while True:  # not a wait in the store, which hears no signal
            with _parted():
                if self._store.check([key]):
                    return json.loads(self._store.get(key))
                if self._store.check([_FAILED]):
                    raise Parted("the first process has ended")
            time.sleep(LOOK_S)

    def first(self, work: Callable[[], T]) -> T:
        if self.leads:
            found = work()
            self.told(lambda: None)
            return found
        self.told(lambda: None)
        return work()

    def together(self) -> None:
        with _parted():
            dist.barrier()

    def part(self, count: int) -> slice | None:
        check_batch(count, self.size)
        own = count // self.size
        return slice(self.rank * own, (self.rank + 1) * own)

    def whole(self, x: torch.Tensor, axis: int = 0) -> torch.Tensor:
        own = x.detach().contiguous()
        parts = [torch.empty_like(own) for _ in range(self.size)]
        with _parted():
            dist.all_gather(parts, own)
        parts[self.rank] = x
        return torch.cat(parts, axis)

    def add_gradients(self, parameters: Iterable[torch.Tensor]) -> None:
        found: dict[torch.dtype, list[torch.Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                found.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in found.values():
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            with _parted():
                dist.all_reduce(flat)
            for gradient, added in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
                gradient.copy_(added.view(gradient.shape))

    @torch.no_grad()
    def equalize(self, module: nn.Module) -> None:
        state = module.state_dict()
        values = [value for value in state.values() if isinstance(value, torch.Tensor)]  # a module may keep something else there
        tensors = [value.contiguous().view(-1).view(torch.uint8) for value in values]
        if tensors:
            flat = torch.cat(tensors)
            with _parted():
                dist.broadcast(flat, 0)
            for value, found in zip(values, flat.split([len(one) for one in tensors]), strict=True):
                value.copy_(found.clone().view(value.dtype).view(value.shape))
            module.load_state_dict(state)  # who keeps something that hangs on it is told

    @contextmanager
    def batch_norms(self, module: nn.Module) -> Generator[None]:
        found = norms(module)
        for norm in found:
            norm.forward = one_norm(norm, self._added)
        try:
            yield
        finally:
            for norm in found:
                del norm.forward

    def settled(self, error: BaseException) -> bool:
        """Whether it is for this process to say why the team ended: one does. ``error`` is what ended this one."""
        own = not isinstance(error, Parted) and (self.leads or not _interrupted(error))
        until = time.monotonic() + (0 if own else PATIENCE_S)
        if not own and dist.is_initialized():
            dist.destroy_process_group()  # who waits for this process in a collective hears no signal
        try:
            while not self._store.check([_FAILED]) and time.monotonic() < until:
                time.sleep(LOOK_S)
            return self._store.compare_set(_FAILED, "", str(self.rank)) == str(self.rank).encode()
        except RuntimeError:  # the store went with the one who kept it
            return self.leads

    def _added(self, x: torch.Tensor) -> torch.Tensor:
        with _parted():
            dist.all_reduce(x)
        return x


def check_batch(count: int, size: int) -> None:
    """Raise InputError unless ``count`` samples can be dealt to ``size`` processes."""
    if count % size:
        less = count - count % size
        near = f"{less} or {less + size}" if less else str(size)
        raise InputError(
            f"a batch of {count} samples cannot be dealt to {size} processes", where="recipe, batch of the preset",
            expected=f"a multiple of {size}", mend=f"batch = {near}, or another --nproc-per-node",
        )  # fmt: skip


def check_alike(batches: Sequence[int], mine: list[str], *folders: Path) -> None:
    """Raise InputError unless all processes have the same before them, and see the same ``folders``, and those of the cache."""
    here = team.here()
    here.first(lambda: [check_batch(batch, here.size) for batch in batches])
    theirs = here.told(lambda: mine)
    if mine != theirs:
        which = next(
            (f"{a}, the first has {b}" for a, b in zip(mine, theirs, strict=False) if a != b and " " in a), "another recipe or data"
        )
        raise InputError(f"has {which}", where=os.uname().nodename, expected="the same recipe, data, edgekd and libraries everywhere")
    for folder in (*folders, runs.cache_folder()):
        name = here.told(partial(_mark, folder))
        try:
            if not (folder / name).is_file():
                raise InputError(
                    "is not the first process's", where=f"{os.uname().nodename}: {folder}", expected="a folder that all machines share"
                )
            here.together()
        finally:
            if here.leads:
                (folder / name).unlink(missing_ok=True)


def _mark(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=".together-", dir=folder, delete=False) as file:
        return Path(file.name).name


@contextmanager
def joined() -> Generator[Team]:
    """This process among those that torchrun has started. Raises Parted, of which nothing is to be said, where another process failed."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        store, _, _ = next(iter(rendezvous("env://")))
        dist.init_process_group("gloo", store=PrefixStore("edgekd/gloo", store), rank=rank, world_size=size)
    except (RuntimeError, ValueError) as error:
        raise EdgekdError(f"process {rank} of {size} found no other ({' '.join(str(error).split())[:200]})") from error
    ranks = Ranks(rank, size, PrefixStore("edgekd/team", store))
    try:
        with team.member(ranks):
            yield ranks
            ranks.together()
    except BaseException as error:
        raise _of_all(ranks, error) from error
    dist.destroy_process_group()


def _of_all(ranks: Ranks, error: BaseException) -> BaseException:
    """What this process is to end with, of what it came to."""
    try:
        says = ranks.settled(error)
    except KeyboardInterrupt as interrupt:
        error, says = interrupt, ranks.settled(interrupt)
    if not says:
        return Parted("another process has said why")
    if isinstance(error, Parted):
        return EdgekdError("another process of this training was lost\n  to mend:  the same command with --resume goes on")
    if isinstance(error, EdgekdError) and not ranks.leads and not _interrupted(error):  # how to go on is the same for all
        said = EdgekdError(f"process {ranks.rank} of {ranks.size}: {error}")
        said.exit_code = error.exit_code
        return said
    return error


def _interrupted(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt) or getattr(error, "exit_code", 0) == INTERRUPTED


@contextmanager
def _parted() -> Generator[None]:
    """What the collectives raise where a process has gone becomes Parted."""
    try:
        yield
    except RuntimeError as error:
        time.sleep(LOST_S)  # whoever ended the other is about to end this one, and then that is what there is to say
        raise Parted(" ".join(str(error).split())[:200]) from error
