"""A teacher that reads something else of a sample than the student: raw sound where the student sees log-mel features, for example.

Cross-modal distillation (Gupta et al. 2016): the student's pixels and the teacher's reading are two views of one sample, and the teacher's
answer for the one is the soft target of the other. What a reading is called is decided by the source of data (``Split.more``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from edgekd import lazy
from edgekd.errors import InputError
from edgekd.recipe.schema import Teacher as Table
from edgekd.teachers.answers import SMALLEST, check_finite, check_kind, columns
from edgekd.teachers.opened import Opened

#: Samples at a time: a second of sound is tens of thousands of numbers.
BATCH = 64


class Reader(nn.Module):
    """A reading [N, …], integers as shares of their type's range → scale · (x − mean)/std → ``body`` → logits [N, classes].

    int16 becomes −1 to 1, uint8 0 to 1; floats stay as they are. ``mean`` and ``std`` are one number each.
    """

    def __init__(self, body: nn.Module, table: Table, order: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.body, self.columns = body, order
        self.mean, self.std, self.scale = table.mean[0], table.std[0], table.scale
        self.log, self.reads = table.output == "probabilities", table.reads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        full = 1.0 if x.is_floating_point() else float(torch.iinfo(x.dtype).max + (x.dtype != torch.uint8))
        y = self.body((x.float() / full - self.mean) / self.std * self.scale)
        y = y.float().clamp_min(SMALLEST).log() if self.log else y
        return y if self.columns is None else y[:, list(self.columns)]

    @property
    def settings(self) -> tuple[object, ...]:
        """What is no weight, and yet decides the outputs."""
        return self.reads, self.mean, self.std, self.scale, self.log, self.columns

    @property
    def batch(self) -> int:
        return BATCH


def reader(body: nn.Module, table: Table, sample: np.ndarray, labels: tuple[str, ...]) -> Reader:
    """``body`` as a teacher that answers ``labels``; tried once on ``sample`` [N, …] of its reading.

    Raises InputError if it is another library's model, has a mean or std a channel, or answers anything else.
    """
    where = "recipe, teacher.source"
    if isinstance(body, Opened):
        raise InputError(f"{body.about.library} is fed images", where=where, expected="a torch module, for a teacher that reads otherwise")
    if len(table.mean) != 1 or len(table.std) != 1:
        raise InputError(f"{len(table.mean)} values of mean", where="recipe, teacher.mean", expected="one, for a reading has no channels")
    raw = Reader(body, table)
    raw.log = False
    answer = lazy.attempt(table.source, lambda: logits(raw, sample, bf16=False), where=where)
    if answer.ndim != 2 or (table.labels is None and answer.shape[1] != len(labels)):
        raise InputError(f"{table.source} answers {list(answer.shape)}", where=where, expected=f"[{len(sample)}, {len(labels)}]")
    order = columns(table.labels, answer.shape[1], labels, "recipe, teacher")
    check_finite(answer, "recipe, teacher")
    if table.output is not None:
        check_kind(answer, table.output, "recipe, teacher")
    return Reader(body, table, order)


@torch.inference_mode()
def logits(
    teacher: nn.Module, x: np.ndarray, *, batch: int = BATCH, bf16: bool, progress: Callable[[int], None] = lambda _: None
) -> np.ndarray:
    """Logits float32 [N, classes] of a Reader for ``x`` [N, …]. ``progress`` gets the samples done so far."""
    teacher.eval()
    parts = []
    for at in range(0, len(x), batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            parts.append(teacher(torch.from_numpy(np.ascontiguousarray(x[at : at + batch]))).float().numpy())
        progress(min(at + batch, len(x)))
    return np.concatenate(parts)
