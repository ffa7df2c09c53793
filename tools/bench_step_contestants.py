"""The training steps that tools/bench_step.py compares, each as a function of nothing that does one step of the same student.

float          the student as its family builds it, eager, batch norms as modules; cross-entropy on one batch that stays the same
edgekd         a step of edgekd.train.loop's quantized phase as a build runs it: the batch drawn, its views made, its stored soft targets
               looked up; fake-quantizers, the recipe's losses, the optimizer with its schedule, the sums that are shown
edgekd_fixed   the same without the first half: one batch that stays the same, as the others have it
edgekd_float   a step of the float phase as a build runs it, its data and losses included
pt2e           torchao's prepare_qat_pt2e of the student under its XNNPACK quantizer (per-channel weights); the loss and batch of ``float``
nncf           nncf.quantize of the student, which is then trained; the loss and batch of ``float``

All have AdamW (foreach) with the same two groups of parameters. The soft targets are made up: what they say takes no time.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("NNCF_CI", "1")  # it would tell its makers of each call

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgekd import runs
from edgekd.data.views import Views
from edgekd.jobs import Job, plan_job
from edgekd.quant.capture import capture_paths
from edgekd.quant.passes.heads import split_heads
from edgekd.quant.prepare import QatModule
from edgekd.train.distill import Batch, Feed, student_input
from edgekd.train.lesson import Lesson
from edgekd.train.loop import EVERY, Desk, Phase, Run
from edgekd.train.rates import decayed_groups
from edgekd.train.student import Training, calibration_samples, second_phase
from edgekd.train.terms import terms
from edgekd.train.watch import Sums, check

Step = Callable[[], None]
#: Batches that ranges are first read off, for each that does.
CALIBRATION = 2


@dataclass(frozen=True)
class Contest:
    """What all contestants share: the target's student of a recipe, and ``batch`` samples a step."""

    job: Job
    batch: int
    seed: int = 0

    @cached_property
    def spec(self) -> Any:
        return self.job.family.restore(plan_job(self.job).spec)

    def model(self) -> nn.Module:
        """The untrained student, always the same."""
        torch.manual_seed(self.seed)
        return self.job.family.build(self.spec).train()

    @cached_property
    def training(self) -> Training:
        job, recipe = self.job, self.job.loaded.recipe
        views = Views(**((job.preset.views or recipe.views).model_dump()))
        draws = np.random.default_rng(self.seed)
        shapes = [(views.count, len(job.data.train), len(head.labels)) for head in job.data.heads]
        targets = tuple(draws.standard_normal(shape, np.float32).astype(np.float16) for shape in shapes)
        losses = terms(recipe, job.data.heads, set(range(len(targets))))
        lesson = Lesson(recipe, job.data, views, losses, targets, (None,) * len(targets), "")
        preset = job.preset.model_copy(update={"batch": self.batch})
        return Training(lesson, preset, job.family.resolution(self.spec), self.seed, quantized=True)

    @cached_property
    def fixed(self) -> Batch:
        """The batch that stays the same."""
        chosen = np.linspace(0, len(self.job.data.train) - 1, self.batch).astype(np.int64)
        return self.training.feed.taken(chosen, np.arange(self.batch) % self.training.lesson.views.count)

    def prepared(self) -> QatModule:
        """As ``edgekd.train.student`` prepares it, of the untrained student."""
        model = self.model().eval()
        graph, paths = capture_paths(model, (self.job.data.shape[2], *self.training.size))
        module = QatModule(split_heads(graph, self.training.lesson.data.sizes), self.job.scheme, paths)
        module.calibrate([student_input(calibration_samples(self.training))])
        return module.train()


def plain(contest: Contest, model: nn.Module) -> Step:
    """Cross-entropy of the fixed batch."""
    p, batch = contest.training.preset, contest.fixed
    optimizer = torch.optim.AdamW(decayed_groups(model, p.weight_decay), lr=p.learning_rate, foreach=True)
    x, y = batch.x, batch.labels[0]

    def step() -> None:
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def distilled(contest: Contest, model: nn.Module, phase: Phase, batches: Iterator[Batch]) -> Step:
    """What ``edgekd.train.loop.Run.one_pass`` does a step."""
    course = contest.training.course
    run, steps = Run(model, course, phase, Desk(Path(), lambda *_: None)), 100_000
    model.train()
    run.criterion.train()
    sums = Sums(run.criterion.names, course.feed.columns)

    def step() -> None:
        run._step(next(batches), sums, sums.count / steps)
        if run.average is not None:
            run.average.update(model, sums.count - 1)
        if sums.count % EVERY == 0:
            check(sums, phase.name, 0, steps, "")
            sums.told(1.0)

    return step


def drawn(feed: Feed) -> Iterator[Batch]:
    """One pass over the data after another."""
    generator = torch.Generator().manual_seed(0)
    while True:
        yield from feed.batches(generator)


def same(batch: Batch) -> Iterator[Batch]:
    while True:
        yield batch


def float_step(contest: Contest) -> Step:
    return plain(contest, contest.model())


def edgekd_step(contest: Contest) -> Step:
    return distilled(contest, contest.prepared(), second_phase(contest.training, "qat"), drawn(contest.training.feed))


def edgekd_fixed(contest: Contest) -> Step:
    return distilled(contest, contest.prepared(), second_phase(contest.training, "qat"), same(contest.fixed))


def edgekd_float(contest: Contest) -> Step:
    p = contest.training.preset
    phase = Phase("float", p.float_epochs, p.learning_rate, p.weight_decay, **contest.training.keeps)
    return distilled(contest, contest.model(), phase, drawn(contest.training.feed))


def pt2e_step(contest: Contest) -> Step:
    """torchao keeps the XNNPACK quantizer, which has moved to ExecuTorch, for its own tests of QAT."""
    from torchao.quantization.pt2e import move_exported_model_to_train
    from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e
    from torchao.testing.pt2e._xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config

    x = contest.fixed.x
    exported = torch.export.export(contest.model(), (x,), dynamic_shapes=({0: torch.export.Dim("n", min=2)},)).module()
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_qat=True))
    model = prepare_qat_pt2e(exported, quantizer)
    return plain(contest, move_exported_model_to_train(model))


@contextlib.contextmanager
def compiled(folder: Path) -> Iterator[None]:
    """NNCF compiles its quantizers in ``folder`` when they are first called, however long a busy machine takes (NNCF: at most 60 s).

    A build that was killed leaves torch's lock, for which all later ones would wait; under ours nobody else builds there, and it can go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(TORCH_EXTENSIONS_DIR=str(folder), NNCF_EXTENSION_LOAD_TIMEOUT="0")
    with runs.lock(folder, wait=lambda _: None):
        for left in folder.glob("**/lock"):
            left.unlink()
        yield


def nncf_step(contest: Contest) -> Step:
    import nncf

    samples = [contest.fixed.x] * CALIBRATION
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with (
        compiled(runs.cache_folder() / "torch_extensions"),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        model = nncf.quantize(contest.model().eval(), nncf.Dataset(samples), subset_size=len(samples))
    return plain(contest, model.train())


CONTESTANTS: dict[str, Callable[[Contest], Step]] = {
    "float": float_step,
    "edgekd": edgekd_step,
    "edgekd_fixed": edgekd_fixed,
    "edgekd_float": edgekd_float,
    "pt2e": pt2e_step,
    "nncf": nncf_step,
}
