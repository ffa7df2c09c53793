"""One network that holds many students, trained once (Cai et al. 2020, Once for All; Yu et al. 2020, BigNAS).

Given   specs of one kin of a family (see ``Shared``), and the recipe's losses
Result  one module of their hull, whose first channels, layers and inner kernels are each of the students; ``cut`` takes one out

Each step trains the largest by the recipe's losses, and the smallest and some drawn at random to answer as the largest does: the sandwich
rule and in-place distillation (Yu and Huang 2019, Universally slimmable networks).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from edgekd.students.family import Family
from edgekd.train.criterion import Criterion, Lessons, Taught
from edgekd.train.distill import Batch, Term

#: Students that are drawn at random in each step, beside the largest and the smallest.
DRAWN = 2
#: What has weights of its own.
LEAVES = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
Names = dict[str, tuple[str, tuple[slice, ...]]]


class SuperNet(nn.Module):
    """x float [N, C, H, W] → in training logits [2 + DRAWN, N, classes] of the largest, the smallest by parameters, and those drawn; else
    [N, classes] of the largest. ``specs`` are of one kin.
    """

    def __init__(self, family: Family, specs: Sequence[Any]) -> None:
        super().__init__()
        assert family.shared is not None
        self.family, self.largest = family, family.shared.hull(specs)
        self.net = family.build(self.largest)
        self.specs = sorted(set(specs), key=lambda spec: (_parameters(family, spec), repr(spec)))
        self._templates: dict[Any, tuple[nn.Module, Names]] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return self.net(x)
        drawn = torch.randint(len(self.specs), (DRAWN,)).tolist()
        return torch.stack([self.net(x), *(self.answer(self.specs[at], x) for at in (0, *drawn))])

    def criterion(self, terms: Sequence[Term], lessons: Lessons) -> SandwichCriterion:
        """What it is trained by."""
        return SandwichCriterion(self, terms, lessons)

    def answer(self, spec: Any, x: torch.Tensor) -> torch.Tensor:
        """Logits [N, classes] of one student, by the supernet's own weights and the batch's own statistics."""
        template, names = self._template(spec)
        own = dict(self.net.named_parameters())
        weights = {name: own[theirs][part] for name, (theirs, part) in names.items() if theirs in own}
        # Statistics of a batch norm are those of the batch; what it notes of them is thrown away.
        fresh = {name: torch.zeros_like(buffer, device="cpu") for name, buffer in template.named_buffers()}
        return functional_call(template, {**weights, **fresh}, (x,))

    def _template(self, spec: Any) -> tuple[nn.Module, Names]:
        """The student's module without weights, and where each of its tensors lies in the supernet."""
        if spec not in self._templates:
            with torch.device("meta"):
                template = self.family.build(spec).train()
            self._templates[spec] = template, self._places(template, spec)
        return self._templates[spec]

    def _places(self, student: nn.Module, spec: Any) -> Names:
        assert self.family.shared is not None
        theirs = self.family.shared.parts(self.net, self.largest)
        names = {id(module): name for name, module in self.net.named_modules()}
        ours = {id(module): name for name, module in student.named_modules()}
        found: Names = {}
        for role, part in self.family.shared.parts(student, spec).items():
            leaves, held = ([m for m in whole.modules() if isinstance(m, LEAVES)] for whole in (part, theirs[role]))
            for small, large in zip(leaves[::-1], held[::-1], strict=False):
                for name, tensor in small.state_dict().items():
                    where = _within(tuple(tensor.shape), tuple(large.state_dict()[name].shape))
                    found[f"{ours[id(small)]}.{name}"] = f"{names[id(large)]}.{name}", where
        return found

    def cut(self, spec: Any, batches: Iterable[torch.Tensor]) -> nn.Module:
        """The student of ``spec`` by itself, in evaluation mode; the statistics of its batch norms are those of ``batches``.

        Those of the supernet are the largest student's, and wrong for every other (Yu and Huang 2019).
        """
        student, held = self.family.build(spec), self.net.state_dict()
        student.load_state_dict({name: held[theirs][part].clone() for name, (theirs, part) in self._places(student, spec).items()})
        norms = [m for m in student.modules() if isinstance(m, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
        with torch.no_grad():
            student.train()
            for x in batches:
                student(x)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        return student.eval()


class SandwichCriterion(nn.Module):
    """The recipe's losses of the largest student, and ``in_place``: how far the others are from what it answers.

    KL(softmax of the largest ‖ softmax of the other), mean over samples and others, the largest detached, at temperature 1; its weight is
    the number of the others.
    """

    def __init__(self, model: SuperNet, terms: Sequence[Term], lessons: Lessons) -> None:
        super().__init__()
        self.largest, self.columns = Criterion(model.net, terms, lessons), lessons.columns

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.largest.names, "in_place")

    @property
    def needs_example(self) -> bool:
        return self.largest.needs_example

    def prepare(self, outputs: torch.Tensor, batch: Batch, taught: Taught) -> None:
        self.largest.prepare(outputs, batch, taught)

    def forward(self, outputs: torch.Tensor, batch: Batch, taught: Taught) -> tuple[torch.Tensor, torch.Tensor]:
        total, values = self.largest(outputs[0], batch, taught)
        apart = torch.stack([_apart(outputs[..., some]) for some in self.columns]).sum()
        return total + apart * (len(outputs) - 1), torch.cat([values, apart.detach()[None]])

    def close(self) -> None:
        self.largest.close()


def _apart(logits: torch.Tensor) -> torch.Tensor:
    """Mean divergence of the others from the first; ``logits`` [students, N, classes]."""
    log = functional.log_softmax(logits, -1)
    others = log[1:]
    return functional.kl_div(others, log[:1].detach().expand_as(others), reduction="none", log_target=True).sum(-1).mean()


def _within(small: tuple[int, ...], large: tuple[int, ...]) -> tuple[slice, ...]:
    """The first channels, and of a kernel the middle."""
    assert len(small) == len(large) and all(s <= m for s, m in zip(small, large, strict=True)), (small, large)
    starts = [0 if axis < 2 else (m - s) // 2 for axis, (s, m) in enumerate(zip(small, large, strict=True))]
    return tuple(slice(start, start + s) for start, s in zip(starts, small, strict=True))


def _parameters(family: Family, spec: Any) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in family.build(spec).parameters())
