"""What the facts of a teacher would change in the recipe. Each rule is one function; LIMITS says where each begins, and why there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist

from edgekd.advise.finding import Finding, loss_lines, rounded, shown, table_lines
from edgekd.advise.measure import Facts
from edgekd.quant.compare import Share
from edgekd.recipe.schema import Loss, Recipe
from edgekd.records import Figure

#: Where a finding begins. All are conventions; a finding also has to be outside of chance (its interval, or p below ``p``).
LIMITS = {
    "sharp": 0.10,  # of log C: C = 10 classes then weigh as 1.26 equal ones, hardly more than a label says
    "flat": 0.95,  # 9 of 10 classes weigh alike: the loss then matches logits, also those that training never constrained
    "hottest": 20.0,  # the highest temperature of Hinton et al. (2015)
    "calibration": 0.02,
    "class_calibration": 0.05,
    "class_samples": 20,  # fewer say nothing of a class
    "weak_class": 0.05,  # below the other classes together
    "noise": 0.02,
    "much_noise": 0.10,
    "memorized": 0.5,  # entropy on training images as a share of that on validation
    "some_entropy": 0.02,  # nats; below that a teacher is sure of everything, which is another finding
    "view": 0.01,
    "p": 0.01,
}


#: Losses with a temperature whose teacher is the student itself.
OWN_TEACHERS = ("exits", "previous_epoch")


@dataclass(frozen=True)
class Situation:
    """The recipe, and for each of its losses (by place) that has one the temperature in force.

    ``recipe.views`` are those in force too, ``views_heading`` is where they stand.
    """

    recipe: Recipe
    temperatures: Mapping[int, float]
    first_task: str = ""
    views_heading: str = "views"

    def soft(self, task: str) -> tuple[Loss, float] | None:
        """The loss that softens the teacher's stored logits of ``task``, and its temperature."""
        for at, temperature in self.temperatures.items():
            loss = self.recipe.losses[at]
            if loss.weight and loss.teacher is None and loss.name not in OWN_TEACHERS and self._is_of(loss, task):
                return loss, temperature
        return None

    def labels(self, task: str) -> Loss | None:
        """The loss that is taught by the labels of ``task``."""
        return next((loss for loss in self.recipe.losses if loss.name == "cross_entropy" and self._is_of(loss, task)), None)

    def _is_of(self, loss: Loss, task: str) -> bool:
        return (loss.task or "") == task or (loss.task is None and task == self.first_task)


def judge(facts: Facts, situation: Situation) -> Iterator[Finding]:
    """The findings of one task."""
    if (ignorant := _ignorant(facts)) is not None:
        yield ignorant  # whatever else is wrong with such a teacher does not matter
        return
    for rule in (_targets, _memorized, _views, _calibration, _class_calibration, _weak_classes, _noise, _imbalance):
        for finding in rule(facts, situation):
            yield replace(finding, task=facts.task)


def _ignorant(facts: Facts) -> Finding | None:
    """A teacher that may be no better than naming the commonest class."""
    accuracy, commonest = facts.figures.get("validation_accuracy"), facts.figures["commonest"]
    if accuracy is None or _low(accuracy) > commonest.value:
        return None
    measured = f"right on {shown(accuracy)} of validation; the commonest class is {commonest.value:.1%} of it"
    change = "train the teacher (edgekd teach RECIPE); check the order of its labels, its mean and std"
    return Finding("ignorant_teacher", "warning", measured, change, "Wilson 1927 (the interval)", (), facts.task)


def _targets(facts: Facts, situation: Situation) -> Iterator[Finding]:
    """Soft targets that say no more than labels, or too much of what the teacher never learned."""
    soft, figure = situation.soft(facts.task), facts.figures["softened_entropy"]
    if soft is None:
        return
    loss, temperature = soft
    better = rounded(facts.figures["temperature_halfway"].value)
    measured = f"mean entropy at temperature {temperature:g}: {shown(figure)}; half of log C at temperature {better:g}"
    if _high(figure) < LIMITS["sharp"]:
        measured += f"; mean top-1 probability {shown(facts.figures['top1_probability'])}"
        hint = "; or features, whatever the confidence: hint, attention_transfer, similarity, tapped by module path"
        if better <= LIMITS["hottest"]:
            why = "Hinton, Vinyals, Dean 2015; that half of log C is wanted is a rule of thumb: a perplexity of √C"
            yield Finding(
                "sharp_targets", "warning", measured, f"temperature = {better:g}{hint}", why, loss_lines(loss, temperature=better)
            )
        else:
            lines = ("[[losses]]", 'name = "logit_mse"', f"weight = {loss.weight!r}", "options = { centred = true }", *_task(loss))
            why = "Ba and Caruana 2014; Hinton, Vinyals, Dean 2015, section 2.1: what soft targets become at a high temperature"
            yield Finding("sharp_targets", "warning", measured, f"logits instead of {loss.name}{hint}", why, lines)
    elif _low(figure) > LIMITS["flat"]:
        why = "Hinton, Vinyals, Dean 2015, section 2.1: logits far below the top are not constrained by the teacher's training"
        change = f"temperature = {better:g}: now every class weighs nearly alike"
        yield Finding("flat_targets", "advice", measured, change, why, loss_lines(loss, temperature=better))


def _memorized(facts: Facts, situation: Situation) -> Iterator[Finding]:
    """A teacher that knows its training images says less of them than of new ones."""
    seen, new = facts.figures["entropy"], facts.figures.get("validation_entropy")
    if new is None or _low(new) < LIMITS["some_entropy"] or _high(seen) > LIMITS["memorized"] * new.value or _high(seen) >= _low(new):
        return
    views = situation.recipe.views
    more = {**views.model_dump(), "count": 4, "shift": views.shift or 2}
    lines = table_lines(situation.views_heading, {key: value for key, value in more.items() if value}) if views.count < 4 else ()
    rest = "more views of each image, or unlabeled images (label −1)" if lines else "unlabeled images (label −1), on which it says more"
    why = "Beyer et al. 2022 (a good teacher is patient and consistent); Stanton et al. 2021 (does distillation really work)"
    yield Finding("memorized", "advice", f"entropy on training images {shown(seen)}, on validation {shown(new)}", rest, why, lines)


def _views(facts: Facts, situation: Situation) -> Iterator[Finding]:
    """Views on which the teacher itself is worse than on images that it never saw."""
    usual, bad = facts.figures.get("validation_accuracy"), []
    if usual is None:
        return
    for view in range(1, 4):
        figure = facts.figures.get(f"label_agreement_view_{view}")
        if figure is not None and _high(figure) < _low(usual) - LIMITS["view"]:
            bad.append((view, figure))
    if not bad:
        return
    views = situation.recipe.views
    mirrored = views.mirror and all(view % 2 == 1 for view, _ in bad)
    milder = {"mirror": False} if mirrored else {"shift": views.shift // 2, "cutout": views.cutout // 2}
    keys = {key: value for key, value in {**views.model_dump(), **milder}.items() if value}
    if not {"mirror", "shift", "cutout"} & set(keys):
        keys["count"] = 1
    measured = "; ".join(f"view {view}: right on {shown(figure)} of training images" for view, figure in bad)
    change = "no mirror images: here left and right mean something" if mirrored else "a smaller shift and cutout"
    why = "Beyer et al. 2022: teacher and student must see the same view, and the teacher must know it; Cubuk et al. 2021 (affinity)"
    yield Finding(
        "harmful_views", "warning", f"{measured}; on new images {shown(usual)}", change, why, table_lines(situation.views_heading, keys)
    )


def _calibration(facts: Facts, situation: Situation) -> Iterator[Finding]:
    error, chance = facts.figures.get("calibration_error"), facts.figures.get("calibration_error_by_chance")
    if error is None or chance is None or error.value <= max(LIMITS["calibration"], _high(chance)):
        return
    best, gap, soft = facts.figures["temperature_calibrated"], facts.figures["confidence_gap"], situation.soft(facts.task)
    sure = "overconfident" if gap.value > 0 else "underconfident"
    measured = f"{sure}: calibration error {shown(error)}, {chance.value:.3f} by chance; calibrated at temperature {shown(best)}"
    lines: tuple[str, ...] = ()
    change = "critics and ensembles that weigh by confidence will be misled"
    if soft is not None and not _low(best) <= 1 <= _high(best) and _high(best) <= LIMITS["hottest"]:
        better = rounded(soft[1] * best.value)
        change = f"temperature = {better:g}, as soft as {soft[1]:g} is with a calibrated teacher; {change}"
        lines = () if next(_targets(facts, situation), None) else loss_lines(soft[0], temperature=better)
    why = "Guo et al. 2017 (temperature scaling); Menon et al. 2021: students gain as far as the teacher's probabilities are true"
    yield Finding("miscalibrated", "advice", measured, change, why, lines)


def _class_calibration(facts: Facts, situation: Situation) -> Iterator[Finding]:
    rows = [
        (c.name, c.calibration)
        for c in facts.classes
        if c.calibration and c.calibration.n >= LIMITS["class_samples"] and c.calibration.error > LIMITS["class_calibration"]
        and c.calibration.p < LIMITS["p"]
    ]  # fmt: skip
    if not rows:
        return
    said = [f"{name}: {c.error:.3f} ({c.low:.3f}–{c.high:.3f}, n={c.n}), confidence − accuracy {c.gap:+.3f}" for name, c in rows]
    change = 'labels count more there; of several teachers [ensemble] how = "per_class"; no temperature mends single classes'
    why = "Gupta and Ramdas 2022 (top-label calibration); Lukasik et al. 2022: a student amplifies its teacher's bias between classes"
    lines = () if next(_weak_classes(facts, situation), None) else _heavier_labels(facts, situation)
    yield Finding("miscalibrated_classes", "advice", f"calibration error where it answers {'; '.join(said)}", change, why, lines)


def _weak_classes(facts: Facts, situation: Situation) -> Iterator[Finding]:
    """Classes that the teacher knows worse than the others together, by intervals that hold for all classes at once (Bonferroni)."""
    known = [(c, c.accuracy) for c in facts.classes if c.accuracy is not None]
    if len(known) < 2:
        return
    right, total = sum(a.count for _, a in known), sum(a.n for _, a in known)
    z = NormalDist().inv_cdf(1 - 0.025 / len(known))
    said = []
    for c, own in known:
        if total == own.n:
            continue
        rest = Share(right - own.count, total - own.n)
        if rest.value - own.value >= LIMITS["weak_class"] and own.wilson(z)[1] < rest.wilson(z)[0]:
            low, high = own.interval
            taken = f", most often taken for {c.confused}" if c.confused else ""
            said.append(f"{c.name}: {own.value:.1%} ({low:.1%}–{high:.1%}, n={own.n}), the others {rest.value:.1%}{taken}")
    if said:
        change = "labels count as much as the teacher, who would pass its errors on (or search the weights: --tune)"
        if len(situation.recipe.all_teachers) > 1:
            change += '; [ensemble] how = "per_class"'
        why = "Lukasik et al. 2022 (teacher's pet: biases in distillation)"
        yield Finding("weak_classes", "advice", "; ".join(said), change, why, _heavier_labels(facts, situation))


def _heavier_labels(facts: Facts, situation: Situation) -> tuple[str, ...]:
    """Labels with the weight of the soft targets; nothing where they have it already."""
    soft, labels = situation.soft(facts.task), situation.labels(facts.task)
    if soft is None or (labels is not None and labels.weight >= soft[0].weight):
        return ()
    if labels is not None:
        return loss_lines(labels, weight=soft[0].weight)
    return ("[[losses]]", 'name = "cross_entropy"', f"weight = {soft[0].weight!r}", *_task(soft[0]))


def _noise(facts: Facts, situation: Situation) -> Iterator[Finding]:
    figure = facts.figures.get("label_noise")
    if figure is None or _low(figure) <= LIMITS["noise"] or situation.recipe.curate is not None:
        return
    rows = ", ".join(f"{s.row} ({s.label} or {s.answer}?)" for s in facts.suspects[:3])
    seen = f"; training samples to look at: {rows}" if rows else ""
    grave = "warning" if _low(figure) > LIMITS["much_noise"] else "note"
    yield Finding(
        "label_noise",
        grave,
        f"labels that the teacher doubts, its own errors among them: {shown(figure)}{seen}",
        "samples whose label the teacher contradicts are left out",
        "Northcutt, Jiang, Chuang 2021 (confident learning); West et al. 2022 (critics)",
        ("[curate]", 'critics = [{ name = "agreement", weight = true }]'),
    )


def _imbalance(facts: Facts, situation: Situation) -> Iterator[Finding]:
    ratio = facts.figures["imbalance"]
    if ratio.value <= 3 or situation.recipe.curate is not None:
        return
    most, least = (pick(facts.classes, key=lambda c: c.samples) for pick in (max, min))
    yield Finding(
        "imbalance",
        "warning" if ratio.value > 10 else "advice",
        f"{ratio.value:.1f} times as many of {most.name} ({most.samples:,}) as of {least.name} ({least.samples:,})",
        "rare classes are drawn more often; in a balance.py on the Python path: "
        "def inverse(x, teacher, labels): return 1 / np.bincount(labels)[labels]",
        "Buda, Maki, Mazurowski 2018",
        ("[curate]", 'critics = [{ name = "balance:inverse", weight = true }]'),
    )


def _task(loss: Loss) -> tuple[str, ...]:
    return (f'task = "{loss.task}"',) if loss.task else ()


def _low(figure: Figure) -> float:
    return figure.value if figure.low is None else figure.low


def _high(figure: Figure) -> float:
    return figure.value if figure.high is None else figure.high
