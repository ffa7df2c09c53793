"""How many samples of a split a student labels right."""

from __future__ import annotations

import torch
from torch import nn

from edgekd.data.dataset import Split, Task
from edgekd.train.distill import columns, student_input
from edgekd.train.peers import Peers


def evaluate(model: nn.Module, split: Split, heads: tuple[Task, ...] = (), *, batch: int = 500) -> float:
    """Share of ``split`` that a student labels right, in evaluation mode and full precision; of several tasks the mean of their shares,
    of several peers the best one's."""
    return max(_shares(model, split, heads, batch).mean(1).tolist())


def evaluate_each(model: nn.Module, split: Split, heads: tuple[Task, ...] = ()) -> dict[str, float]:
    """``validation``, and where there are several tasks ``validation_TASK`` of each."""
    shares = _shares(model, split, heads, 500)
    best = shares[int(shares.mean(1).argmax())]
    each = {f"validation_{task.name}": share for task, share in zip(heads, best.tolist(), strict=True)} if len(heads) > 1 else {}
    return {"validation": float(best.mean()), **each}


def best_peer(peers: Peers, split: Split, heads: tuple[Task, ...] = ()) -> nn.Module:
    """The one that labels most of ``split`` right."""
    return peers.students[int(_shares(peers, split, heads, 500).mean(1).argmax())]


@torch.inference_mode()
def _shares(model: nn.Module, split: Split, heads: tuple[Task, ...], batch: int) -> torch.Tensor:
    """What is right of each task, float64 [peers, tasks]; one peer where ``model`` is a single student."""
    model.eval()
    right: torch.Tensor | int = 0
    for at in range(0, len(split), batch):
        found = model(student_input(split.x[at : at + batch]))
        found = found if found.ndim == 3 else found[None]
        hits = []
        for task, some in enumerate(columns(heads)):
            y = torch.from_numpy(split.classes(task)[at : at + batch])
            hits.append((found[..., some].argmax(-1) == y).sum(1))
        right = right + torch.stack(hits, 1)
    return torch.as_tensor(right).double() / len(split)
