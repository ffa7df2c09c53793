"""Contrastive representation distillation (Tian, Krishnan, Isola 2020)."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from edgekd.errors import InputError
from edgekd.losses.adapters import check_rank, one_vector
from edgekd.losses.check import require

NAME = "crd"


class CRD(nn.Module):
    """A sample's two representations, the student's and the teacher's, told apart from pairs of different samples.

    Both sides' vectors [N, D] (maps and tokens are averaged) are projected to ``dimension`` and given unit length. A bank for each network
    holds those of all training samples. A sample's vector u of one network is compared with its own entry b of the other network's bank and
    with entries of other samples (noise-contrastive estimation): ``P(b, u) = exp(b·u / temperature) / Z``,
    ``h = P / (P + negatives / samples)``, loss ``−log h(own) − negatives · mean log(1 − h(other))``, mean over the batch, summed over both
    directions. Z, one for each direction, makes the mean P of the first batch 1/samples and stays. Then the entries of the batch move to
    ``momentum · old + (1 − momentum) · new``, unit length again.

    The ``negatives`` are drawn evenly, with replacement, once a batch; each sample leaves out itself and, where ``differ`` is "class",
    those whose label has been seen and is its own. (The paper draws as many for each sample: the same mean, but 128 times the memory.)
    ``differ = "sample"`` needs no labels and looks at none. A label of −1 is no class.

    Buffers, all part of state_dict, so that a resumed training draws the same negatives: both banks, the labels seen, Z, the generator.
    Memory: 2 · samples · dimension · 4 bytes of banks (60 000 samples of 128: 61 MB, and as much in every checkpoint), and while it trains
    about 2 · negatives · (dimension + 4 · batch) · 4 bytes (128 samples, 4096 negatives: 21 MB).
    """

    bank_student: torch.Tensor
    bank_teacher: torch.Tensor
    log_z: torch.Tensor
    labels: torch.Tensor
    generator: torch.Tensor

    # size: to a recipe a parameter is an option of the loss.
    def __init__(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        samples: int,
        *,
        dimension: int = 128,
        negatives: int = 4096,
        temperature: float = 0.07,
        momentum: float = 0.5,
        differ: str = "class",
    ) -> None:
        super().__init__()
        _check(samples, dimension, negatives, temperature, momentum, differ)
        vectors = _vectors(student, teacher)
        self.samples, self.negatives, self.temperature, self.momentum, self.differ = samples, negatives, temperature, momentum, differ
        self.project_student, self.project_teacher = (nn.Linear(v.shape[1], dimension) for v in vectors)
        self.register_buffer("bank_student", functional.normalize(torch.randn(samples, dimension), dim=1))
        self.register_buffer("bank_teacher", functional.normalize(torch.randn(samples, dimension), dim=1))
        # log Z of a student's vectors in the teacher's bank, and of a teacher's in the student's; not a number until the first batch.
        self.register_buffer("log_z", torch.full((2,), float("nan")))
        self.register_buffer("labels", torch.full((samples,), -1))
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        self.register_buffer("generator", generator.get_state())
        self.to(student)

    def forward(self, student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Vectors, maps or tokens of both, labels [N] (−1: unknown) and which training sample each row is, in; one number out."""
        ours, theirs = _vectors(student, teacher)
        u = functional.normalize(self.project_student(ours), dim=1)
        v = functional.normalize(self.project_teacher(theirs), dim=1)
        self.labels[indices] = labels
        drawn = self._draw()
        other = drawn != indices[:, None]
        if self.differ == "class":
            other &= (self.labels[drawn] != labels[:, None]) | (labels < 0)[:, None]
        loss = u.new_zeros(())
        for direction, (vectors, bank) in enumerate(((u, self.bank_teacher), (v, self.bank_student))):
            own, others = (vectors * bank[indices]).sum(1) / self.temperature, vectors @ bank[drawn].T / self.temperature
            loss = loss + self._contrast(own, others, other, direction)
        with torch.no_grad():
            for bank, new in ((self.bank_student, u), (self.bank_teacher, v)):
                bank[indices] = functional.normalize(self.momentum * bank[indices] + (1 - self.momentum) * new, dim=1)
        return loss

    def _contrast(self, own: torch.Tensor, others: torch.Tensor, other: torch.Tensor, direction: int) -> torch.Tensor:
        """The loss of exponents [N] of pairs that belong together and [N, negatives] of those that do not, where ``other`` is true."""
        if torch.isnan(self.log_z[direction]):
            exponents = torch.cat([own, others[other]]).detach()
            self.log_z[direction] = torch.logsumexp(exponents, 0) - math.log(len(exponents) / self.samples)
        # h = P / (P + negatives/samples) is the logistic function of the difference of the logarithms.
        offset = self.log_z[direction].clone() + math.log(self.negatives / self.samples)
        apart = functional.logsigmoid(offset - others) * other
        return -(functional.logsigmoid(own - offset) + self.negatives * apart.sum(1) / other.sum(1).clamp(min=1)).mean()

    def _draw(self) -> torch.Tensor:
        """[negatives]: which samples the batch is compared with. The generator's state moves on in its buffer."""
        generator = torch.Generator()
        generator.set_state(self.generator.cpu())
        drawn = torch.randint(self.samples, (self.negatives,), generator=generator)
        self.generator.copy_(generator.get_state())
        return drawn.to(self.labels.device)


def _vectors(student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    for tapped, side in ((student, "student"), (teacher, "teacher")):
        if not isinstance(tapped, torch.Tensor):
            raise InputError(
                f"the {side} taps a list of {len(tapped)} layers",
                where=f"loss {NAME}",
                expected="one layer, usually the one before the classifier",
                mend=f'{side} = "pool", and one [[losses]] for each further layer',
            )
        check_rank(tapped, 4, 3, 2, side=side, loss=NAME)
    return one_vector(student), one_vector(teacher)


def _check(samples: int, dimension: int, negatives: int, temperature: float, momentum: float, differ: str) -> None:
    where = f"loss {NAME}"
    if samples < 2:
        raise InputError(f"{samples} training samples", where=where, expected="two or more: each is told apart from others")
    for name, value in (("dimension", dimension), ("negatives", negatives)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} = {value}", where=where, expected="1 or more")
    require(NAME, "temperature", temperature, above=0, usual="0.07")
    require(NAME, "momentum", momentum, least=0, most=1, usual="0.5")
    if differ not in ("class", "sample"):
        raise InputError(f"differ = {differ!r}", where=where, expected='"class" or "sample"')
