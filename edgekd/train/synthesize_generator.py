"""A generator of images, trained against a student that is thrown away: data-free adversarial distillation (Fang et al. 2019), with the
generator's own losses of DAFL (Chen et al. 2019) and the batch-norm statistics that Choi et al. 2020 add."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgekd.errors import EdgekdError, InputError
from edgekd.teachers.residual_cnn import residual_cnn
from edgekd.train.state import load_state, restored, save_state
from edgekd.train.synthesize import Order
from edgekd.train.synthesize_inversion import Statistics, norms

#: Images are collected from this share of the steps on: the generator's first ones are noise.
FROM = 0.2
SAVES = 20


@dataclass(frozen=True)
class Weights:
    adversarial: float
    one_hot: float
    balance: float
    statistics: float


def generator(
    order: Order,
    *,
    adversarial: float = 1.0,
    one_hot: float = 0.5,
    balance: float = 5.0,
    statistics: float = 1.0,
    student_steps: int = 2,
    batch: int = 128,
) -> np.ndarray:
    """Images uint8 [samples, H, W, C]; ``order.steps`` are the generator's, each after ``student_steps`` of the throw-away student.

    The student learns the teacher's logits on fresh images by their mean absolute difference d. The generator, from 100 normal numbers
    an image, minimizes ``adversarial`` · −log(1 + d) (it looks for what the student does not know yet) + ``one_hot`` · the cross-entropy
    of the teacher's answer with its own first choice + ``balance`` · Σ p log p of the batch's mean answer p (all classes alike)
    + ``statistics`` · the distance from batch norms' statistics, as in inversion, where the teacher has any.

    A generator wanders: images are collected evenly from 20 % of its steps on. Raises InputError for a bad option or images below 8x8;
    EdgekdError if a loss is not finite.
    """
    weights = Weights(adversarial, one_hot, balance, statistics)
    _check({**vars(weights)}, {"student_steps": student_steps, "batch": batch}, order.shape)
    torch.manual_seed(order.seed)
    game = _Game(order, weights, batch)
    file = order.state / "generator.state"
    done = game.resume(file)
    try:
        for step in range(done, order.steps):
            for _ in range(student_steps):
                game.teach()
            loss = game.search(0.5 * (1 + math.cos(math.pi * step / order.steps)))
            game.collect(step + 1)
            if (step + 1) % max(1, order.steps // SAVES) == 0 or step + 1 == order.steps:
                if not math.isfinite(loss):
                    raise EdgekdError(
                        f"the generator's loss is not finite at step {step + 1}\n  to mend:  lower weights in data_free.options"
                    )
                game.save(file, step + 1)
            order.progress(step + 1, order.steps)
    finally:
        game.close()
    return torch.cat(game.images)[: order.samples].permute(0, 2, 3, 1).contiguous().numpy()


class Images(nn.Module):
    """Normal numbers [n, LATENT] → pixels/255 [n, C, H, W], by two doublings (the generator of Chen et al. 2019, in pixels)."""

    LATENT = 100

    def __init__(self, shape: tuple[int, int, int], width: int = 64) -> None:
        super().__init__()
        self.height, self.width, channels = shape
        self.rows, self.columns, self.first = math.ceil(self.height / 4), math.ceil(self.width / 4), 2 * width
        self.start = nn.Linear(self.LATENT, self.first * self.rows * self.columns)
        self.body = nn.Sequential(
            nn.BatchNorm2d(self.first),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(self.first, self.first, 3, padding=1),
            nn.BatchNorm2d(self.first),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(self.first, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, channels, 3, padding=1),
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.body(self.start(z).reshape(len(z), self.first, self.rows, self.columns))
        return torch.sigmoid(x[:, :, : self.height, : self.width])


class _Game:
    """Generator against student, and what was collected."""

    def __init__(self, order: Order, weights: Weights, batch: int) -> None:
        height, width, channels = order.shape
        self.order, self.weights, self.batch = order, weights, batch
        self.images: list[torch.Tensor] = []
        self.maker = Images((height, width, channels))
        self.student = residual_cnn(channels=channels, classes=order.classes, width=16)
        self.making = torch.optim.Adam(self.maker.parameters(), lr=1e-3)
        self.learning = torch.optim.AdamW(self.student.parameters(), lr=2e-3)
        self.watch = Statistics(order.teacher) if weights.statistics and norms(order.teacher) else None

    def close(self) -> None:
        if self.watch is not None:
            self.watch.close()

    def fresh(self) -> torch.Tensor:
        return self.maker(torch.randn(self.batch, Images.LATENT))

    def teach(self) -> None:
        """One step of the student, on images that the generator makes for it."""
        with torch.no_grad():
            x = self.fresh()
            answer = self.order.teacher(x)
        if self.watch is not None:
            self.watch.distance()  # of no interest here
        loss = functional.l1_loss(self.answer(x), answer)
        self.learning.zero_grad(set_to_none=True)
        loss.backward()
        self.learning.step()

    def answer(self, x: torch.Tensor) -> torch.Tensor:
        return self.student(x * 4 - 2)

    def search(self, rate: float) -> float:
        """One step of the generator; returns its loss."""
        self.making.param_groups[0]["lr"] = 1e-3 * rate
        x = self.fresh()
        answer = self.order.teacher(x)
        p = answer.softmax(1)
        mean = p.mean(0)
        loss = -self.weights.adversarial * torch.log1p(functional.l1_loss(self.answer(x), answer))
        loss = loss + self.weights.one_hot * functional.cross_entropy(answer, answer.argmax(1))
        loss = loss + self.weights.balance * (mean * mean.clamp_min(1e-9).log()).sum()
        if self.watch is not None:
            loss = loss + self.weights.statistics * self.watch.distance()
        self.making.zero_grad(set_to_none=True)
        loss.backward()
        self.making.step()
        return float(loss.detach())

    @torch.no_grad()
    def collect(self, done: int) -> None:
        """As many images as are due after ``done`` steps."""
        first = int(FROM * self.order.steps)
        due = math.ceil(self.order.samples * max(0, done - first) / (self.order.steps - first))
        while sum(map(len, self.images)) < due:
            self.images.append((self.fresh() * 255).round_().to(torch.uint8))

    def save(self, file: Path, done: int) -> None:
        parts = {"maker": self.maker, "student": self.student, "making": self.making, "learning": self.learning}
        saved = {name: part.state_dict() for name, part in parts.items()}
        save_state(file, {**saved, "images": self.images, "torch": torch.get_rng_state(), "done": done})

    def resume(self, file: Path) -> int:
        """The steps that an interrupted run did."""
        if (saved := load_state(file)) is None:
            return 0
        with restored(file):
            for name in ("maker", "student", "making", "learning"):
                getattr(self, name).load_state_dict(saved[name])
            torch.set_rng_state(saved["torch"])
            self.images = saved["images"]
            return saved["done"]


def _check(weights: dict[str, float], counts: dict[str, int], shape: tuple[int, int, int]) -> None:
    where = "recipe, data_free.options"
    for name, value in weights.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise InputError(f"{name} = {value!r}", where=where, expected="a number of at least 0")
    for name, value in counts.items():
        least = 2 if name == "batch" else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} = {value!r}", where=where, expected=f"a whole number of at least {least}")
    if min(shape[:2]) < 8:
        raise InputError(
            f"images of {shape[0]}x{shape[1]}", where="recipe, data_free", expected="8x8 at least", mend='method = "inversion"'
        )
