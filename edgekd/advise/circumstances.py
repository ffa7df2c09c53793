"""What surrounds a teacher: the size of the student, data that is not of one kind, and recipes that work against themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, log10

from edgekd.advise.finding import Finding, loss_lines, rounded, table_lines
from edgekd.advise.judge import Situation
from edgekd.advise.shifted import TwoSample
from edgekd.quant.compare import Share
from edgekd.recipe.schema import Preset, Recipe

#: Beyond chance (p) and beyond what Cohen (1988) calls small; of labels, one sample in twenty in another class; of views, which are meant
#: to differ from what the device sees, what Cohen calls large.
P, SMALL, LABELS, VIEWS = 0.01, 0.2, 0.05, 0.8
#: Times the student's parameters.
GAP = 10.0
#: Losses of the teacher's stored logits.
SOFT = ("soft_targets", "dkd", "dist", "logit_mse")


@dataclass(frozen=True)
class Capacity:
    """What teacher and planned student cost; None where it could not be counted."""

    target: str
    teacher_parameters: int | None
    student_parameters: int
    teacher_macs: int | None
    student_macs: int


def judge_capacity(capacity: Capacity, recipe: Recipe) -> Iterator[Finding]:
    """A gap of more than 10× wants students between the two."""
    pairs = {
        "parameters": (capacity.teacher_parameters, capacity.student_parameters),
        "MACs": (capacity.teacher_macs, capacity.student_macs),
    }
    gaps = {name: teacher / student for name, (teacher, student) in pairs.items() if teacher and student}
    if not gaps or max(gaps.values()) <= GAP or (recipe.intermediates and recipe.intermediates.assistants):
        return
    said = "; ".join(f"{key}: {t:,} against {s:,}, {gaps[key]:.0f}×" for key, (t, s) in pairs.items() if t and key in gaps)
    change, lines = "a larger student, if the target has room for it; the gap is in work, not in memory, so no assistant is proposed", ()
    if (gap := gaps.get("parameters", 0.0)) > GAP:
        # As train/intermediates_sizes.py spaces what "auto" stands for.
        count = min(3, ceil(log10(gap) - 1e-9) - 1)
        sizes = ", ".join(f"{round(capacity.student_parameters * gap ** (1 - n / (count + 1))):,}" for n in range(1, count + 1))
        change = f"{count} between them, of about {sizes} parameters; it costs their training, and helps in some tasks only: measure"
        lines = table_lines("intermediates", {"assistants": "auto"})
    why = "Mirzadeh et al. 2020 (teacher assistants); Cho and Hariharan 2019 (why large teachers fail small students)"
    yield Finding(f"capacity_gap_{capacity.target}", "advice", f"student for {capacity.target}, {said}", change, why, lines)


def judge_shift(tests: Mapping[str, TwoSample], situation: Situation, task: str = "") -> Iterator[Finding]:
    """Splits that are not of one kind; the keys of ``tests`` are those of measure.py."""
    for key, test in tests.items():
        kind, _, split = key.partition("_")
        rule = {"labels": _labels, "images": _images, "views": _views, "teacher": _teacher}[kind]
        if test.p < P and test.effect > {"labels": LABELS, "views": VIEWS}.get(kind, SMALL):
            finding = rule(test, split, situation)
            # Views that differ no more than the images themselves are not the reason.
            plain = tests.get(f"images_{split}")
            if kind != "views" or (plain is not None and test.effect > plain.effect + SMALL):
                yield replace(finding, task=task)


def _labels(test: TwoSample, split: str, situation: Situation) -> Finding:
    del situation
    return Finding(
        f"label_shift_{split}",
        "advice" if split == "test" else "warning",
        f"{test.effect:.1%} of the labels are in other classes than in training, most of all {test.largest} {_against(test)}",
        f"{split} of the same shares as what the device will meet, or figures by class: one accuracy depends on the shares",
        "Lipton, Wang, Smola 2018 (label shift)",
    )


def _images(test: TwoSample, split: str, situation: Situation) -> Finding:
    lines: tuple[str, ...] = ()
    change = "train on samples that are taken as the device takes them"
    if test.largest.startswith("centre"):
        views = {**situation.recipe.views.model_dump(), "count": 4, "shift": max(2, 2 * situation.recipe.views.shift)}
        lines = table_lines(situation.views_heading, {key: value for key, value in views.items() if value})
        change = "views that are moved as far"
    return Finding(
        f"image_shift_{split}",
        "warning",
        f"{test.largest}: {test.effect:.2f} standard deviations between training and {split} {_against(test)}",
        change,
        "Rabanser, Günnemann, Lipton 2019 (failing loudly); Székely and Rizzo 2013 (the test)",
        lines,
    )


def _views(test: TwoSample, split: str, situation: Situation) -> Finding:
    milder = {
        **situation.recipe.views.model_dump(),
        "shift": situation.recipe.views.shift // 2,
        "cutout": situation.recipe.views.cutout // 2,
    }
    return Finding(
        f"views_unlike_{split}",
        "note",
        f"{test.largest}: {test.effect:.2f} standard deviations between training views and {split} {_against(test)}",
        "milder views",
        "Touvron et al. 2019 (fixing the train-test discrepancy)",
        table_lines(situation.views_heading, {key: value for key, value in milder.items() if value})
        if situation.recipe.views.shift or situation.recipe.views.cutout
        else (),
    )


def _teacher(test: TwoSample, split: str, situation: Situation) -> Finding:
    del situation
    return Finding(
        f"teacher_shift_{split}",
        "note",
        f"{test.largest}: {test.effect:.2f} standard deviations between validation and {split} {_against(test)}",
        f"choices on validation will not hold on {split}: draw both from one source",
        "Rabanser, Günnemann, Lipton 2019 (failing loudly: a model's outputs show a shift best)",
    )


def _against(test: TwoSample) -> str:
    return f"(n={test.n:,} and {test.m:,}, p={test.p:.3g})"


@dataclass(frozen=True)
class Schedule:
    """The ``preset`` called ``name``; ``native_bf16``: this machine multiplies bf16 in hardware; ``integer``: some target is int8."""

    name: str
    preset: Preset
    native_bf16: bool
    integer: bool
    train: int
    validation: int


def smells(recipe: Recipe, temperatures: Mapping[int, float], schedule: Schedule) -> Iterator[Finding]:
    """What can be seen without measuring anything."""
    yield from _loss_smells(recipe, temperatures)
    p = schedule.preset
    heading = f"presets.{schedule.name}"
    if p.bf16 == "on" and not schedule.native_bf16:
        said = 'bf16 = "on", but this CPU has no instructions for it: it computes the same, several times slower'
        lines = table_lines(heading, {"bf16": "auto"})
        yield Finding("bf16_emulated", "advice", said, 'bf16 = "auto"', "PyTorch's notes on automatic mixed precision", lines)
    if schedule.integer and p.qat_learning_rate > p.learning_rate:
        said = f"qat_learning_rate = {p.qat_learning_rate:g} is above learning_rate = {p.learning_rate:g}: it undoes the warm-up"
        rate = rounded(p.learning_rate / 5)
        lines = table_lines(heading, {"qat_learning_rate": rate})
        why = "Krishnamoorthi 2018, Esser et al. 2020: quantized networks are fine-tuned at a fraction of the rate"
        yield Finding("qat_rate", "advice", said, f"qat_learning_rate = {rate:g}", why, lines)
    if p.batch > schedule.train:
        said = f"batch = {p.batch} of {schedule.train} training samples: one step a pass"
        batch = max(2, schedule.train // 16)
        lines = table_lines(heading, {"batch": batch})
        yield Finding("batch", "warning", said, f"batch = {batch}", "Masters and Luschi 2018 (small batches)", lines)
    if schedule.integer and recipe.student.softmax:
        said = "softmax = true: int8 probabilities have steps of 1/256, so whatever is surer than 99.6 % is the same"
        lines = table_lines("student", {"softmax": False})
        yield Finding("int8_softmax", "note", said, "logits, whose order is the same", "Jacob et al. 2018", lines)
    low, high = Share(round(0.9 * schedule.validation), schedule.validation).interval
    if high - low > 0.04:
        said = f"{schedule.validation} validation samples: an accuracy of 90 % is known to ±{50 * (high - low):.1f} points"
        yield Finding("small_validation", "note", said, "differences below that are chance: compare several seeds", "Wilson 1927")


def _loss_smells(recipe: Recipe, temperatures: Mapping[int, float]) -> Iterator[Finding]:
    why = "Hinton, Vinyals, Dean 2015"
    used = [loss for loss in recipe.losses if loss.weight]
    soft = [loss for loss in used if loss.name in SOFT]
    hard = [loss for loss in used if loss.name == "cross_entropy"]
    if hard and len(hard) == len(used):
        said = "no loss looks at the teacher: this is plain training"
        lines = ("[[losses]]", 'name = "soft_targets"', "weight = 0.9", "options = { temperature = 4.0 }")
        yield Finding("no_teacher", "warning", said, "soft targets beside the labels", why, lines)
    for at, temperature in temperatures.items():
        loss = recipe.losses[at]
        if loss.weight and loss.name == "soft_targets" and temperature <= 1:
            said = f"temperature = {temperature:g}: what the teacher says of the wrong classes hardly counts"
            lines = loss_lines(loss, temperature=4.0)
            yield Finding("cold_targets", "advice", said, "temperature = 4.0, or what is measured above", why, lines, loss.task or "")
    for task in dict.fromkeys(loss.task for loss in soft):
        taught = sum(loss.weight for loss in soft if loss.task == task)
        labels = [loss for loss in hard if loss.task == task]
        if labels and sum(loss.weight for loss in labels) > taught:
            said = f"labels weigh more than the teacher: {sum(loss.weight for loss in labels):g} against {taught:g}"
            lines = loss_lines(labels[0], weight=rounded(taught / 9))
            change = "a tenth for the labels, if the teacher is good"
            yield Finding("heavy_labels", "note", said, change, f"{why}: considerably lower weight on the labels", lines, task or "")
