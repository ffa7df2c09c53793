"""Facts about a teacher and its data, from arrays alone: nothing here knows a model, a recipe or a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgekd.advise.calibration import Calibration, best_temperature, calibration
from edgekd.advise.shifted import TwoSample, energy_test, image_features, label_test
from edgekd.advise.softened import entropy, softmax, temperature_for
from edgekd.quant.compare import Share
from edgekd.records import Figure

#: Share of log C that softened targets should have. Half of it is a perplexity of √C: the right class and a few rivals that are weighed
#: against each other. A rule of thumb between two ends that are known to be wrong (see judge.py), and where a search may begin.
WANTED_ENTROPY = 0.5
#: How many candidates for wrong labels are named.
SUSPECTS = 10


@dataclass(frozen=True)
class Answers:
    """A teacher's logits for one task, and the labels.

    ``train`` [V, n, C] for V views of a sample of training images ``rows`` [n], whose labels are ``y_train`` [n] (−1: not known);
    ``validation`` [m, C] with ``y_validation`` [m]; ``test`` [k, C]. The last two are None where the teacher is only a file of outputs
    that has none. ``counts`` are int64 [C], how many samples of each class the whole of each split has.
    """

    task: str
    labels: tuple[str, ...]
    rows: np.ndarray
    train: np.ndarray
    y_train: np.ndarray
    validation: np.ndarray | None
    y_validation: np.ndarray
    test: np.ndarray | None
    counts: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ClassFacts:
    """One class: training ``samples``, accuracy of the teacher on validation, its calibration where it names this class, and the class
    that it is most often ``confused`` with ("" where never)."""

    name: str
    samples: int
    accuracy: Share | None = None
    calibration: Calibration | None = None
    confused: str = ""


@dataclass(frozen=True)
class Suspect:
    """A training sample by its place in the split, whose label the teacher doubts: its probabilities of the label and of its own answer."""

    row: int
    label: str
    answer: str
    of_label: float
    of_answer: float


@dataclass(frozen=True)
class Facts:
    """What was measured of one task; keys that could not be measured are not there. ``temperature`` is the recipe's, for ``figures``."""

    task: str
    labels: tuple[str, ...]
    temperature: float
    figures: dict[str, Figure]
    classes: tuple[ClassFacts, ...] = ()
    tests: dict[str, TwoSample] = field(default_factory=dict)
    suspects: tuple[Suspect, ...] = ()


def measure(answers: Answers, temperature: float, *, seed: int = 0) -> Facts:
    """Measure one task, its targets softened by ``temperature`` too; ``seed`` is that of permutations and resamplings."""
    figures = _targets(answers, temperature)
    tests = {}
    train = answers.counts["train"]
    for name in ("validation", "test"):
        tests[f"labels_{name}"] = label_test(train, answers.counts[name], answers.labels, seed)
    figures["imbalance"] = Figure(
        float(train.max() / max(1, train.min())), "×", "counted", "largest class over smallest, training split", int(train.sum())
    )
    held = answers.counts["validation"]
    figures["commonest"] = Figure(float(held.max() / held.sum()), "share", "counted", "commonest class, validation split", int(held.sum()))
    each: tuple[Calibration | None, ...] = (None,) * len(answers.labels)
    shares: list[Share | None] = [None] * len(answers.labels)
    confused = [""] * len(answers.labels)
    if answers.validation is not None:
        y, right = answers.y_validation, answers.validation.argmax(1) == answers.y_validation
        whole, each = calibration(answers.validation, y, seed)
        figures |= _validation(answers.validation, y, right, whole)
        of, hit = (np.bincount(v, minlength=len(answers.labels)) for v in (y, y[right]))
        shares = [Share(int(h), int(n)) if n else None for h, n in zip(hit, of, strict=True)]
        confused = _confused(answers.validation.argmax(1), y, answers.labels)
        if answers.test is not None:
            p, q = softmax(answers.validation), softmax(answers.test)
            tests["teacher_test"] = energy_test(p, q, tuple(f"probability of {name}" for name in answers.labels), seed)
    classes = tuple(ClassFacts(*row) for row in zip(answers.labels, train.tolist(), shares, each, confused, strict=True))
    return Facts(answers.task, answers.labels, temperature, figures, classes, tests, _suspects(answers))


def images(train: np.ndarray, views: np.ndarray, others: Mapping[str, np.ndarray], seed: int = 0) -> dict[str, TwoSample]:
    """Simple statistics of ``train`` images, and of the ``views`` that a student is fed, against each of ``others``; uint8 [N, H, W, C]."""
    (a, names), (v, _) = image_features(train), image_features(views)
    tests = {}
    for name, pixels in others.items():
        b = image_features(pixels)[0]
        tests[f"images_{name}"] = energy_test(a, b, names, seed)
        tests[f"views_{name}"] = energy_test(v, b, names, seed)
    return tests


def _targets(answers: Answers, temperature: float) -> dict[str, Figure]:
    """What a student is given: figures of the teacher's outputs on training images."""
    plain, log_c = answers.train[0], float(np.log(answers.train.shape[2]))
    where = "teacher on training images, view 0"
    every = f"teacher on {len(answers.train)} view{'s' * (len(answers.train) > 1)} of training images"
    # The views of one image are not independent: the mean over them is one observation.
    softened = entropy(answers.train, temperature).mean(0) / log_c
    figures = {
        "entropy": _mean(entropy(plain), "nat", where),
        "top1_probability": _mean(softmax(plain).max(1), "share", where),
        "softened_entropy": _mean(softened, "of log C", f"{every}, temperature {temperature:g}"),
    }
    halfway = temperature_for(answers.train, WANTED_ENTROPY)
    said = f"{every}: where the mean entropy is {WANTED_ENTROPY:g} of log C, a perplexity of √C = {np.sqrt(answers.train.shape[2]):.1f}"
    figures["temperature_halfway"] = Figure(halfway, "", "measured", said, len(plain))
    known = answers.y_train >= 0
    if not known.any():
        return figures
    right = answers.train[:, known].argmax(2) == answers.y_train[known]
    figures["label_agreement"] = Share(int(right[0].sum()), right.shape[1]).figure(where)
    for view in range(1, len(right)):
        figures[f"label_agreement_view_{view}"] = Share(int(right[view].sum()), right.shape[1]).figure(
            f"teacher on training images, view {view}"
        )
        change = right[view].astype(np.float64) - right[0]
        figures[f"view_{view}_against_0"] = _mean(change, "share", f"the same images: agreement on view {view} minus view 0")
    return figures


def _validation(logits: np.ndarray, y: np.ndarray, right: np.ndarray, whole: Calibration) -> dict[str, Figure]:
    where, n = "teacher on the validation split", len(y)
    chance = f"the error that a calibrated teacher of the same confidences would show; p = {whole.p:.3g}"
    best, low, high = best_temperature(logits, y)
    figures = {
        "validation_accuracy": Share(int(right.sum()), n).figure(where),
        "validation_entropy": _mean(entropy(logits), "nat", where),
        "calibration_error": Figure(whole.error, "share", "measured", f"{where}, 15 bins", n, whole.low, whole.high),
        "calibration_error_by_chance": Figure(whole.chance, "share", "predicted", chance, n, None, whole.chance_high),
        "confidence_gap": _mean(softmax(logits).max(1) - right, "share", f"{where}: mean confidence minus accuracy"),
        "temperature_calibrated": Figure(best, "", "measured", f"{where}: the smallest negative log-likelihood", n, low, high),
    }
    doubted, _ = confident_learning(logits, y)
    figures["label_noise"] = Share(int(doubted.sum()), n).figure(
        f"{where}: candidates by confident learning, the teacher's errors among them"
    )
    return figures


def _confused(named: np.ndarray, y: np.ndarray, labels: tuple[str, ...]) -> list[str]:
    """For each class the name of the one that it is most often taken for."""
    classes = len(labels)
    table = np.bincount(y * classes + named, minlength=classes**2).reshape(classes, classes)
    np.fill_diagonal(table, 0)
    return [labels[int(row.argmax())] if row.any() else "" for row in table]


def confident_learning(logits: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which labels are doubted, bool [N], and the class that is meant instead, int64 [N] (Northcutt, Jiang, Chuang 2021).

    A class is claimed where its probability is at least its mean over the samples that bear its label; a label is doubted where another
    class is claimed, and more strongly. ``logits`` [N, C], ``y`` int64 [N], none −1.
    """
    p, classes = softmax(logits), logits.shape[1]
    own = p[np.arange(len(y)), y]
    n = np.bincount(y, minlength=classes)
    usual = np.where(n > 0, np.bincount(y, own, minlength=classes) / np.maximum(n, 1), np.inf)
    claimed = np.where(p >= usual - 1e-12, p, -1.0)
    meant = claimed.argmax(1)
    return (claimed.max(1) >= 0) & (meant != y), meant


def _suspects(answers: Answers) -> tuple[Suspect, ...]:
    """The labels in the training sample that are doubted most."""
    known = np.flatnonzero(answers.y_train >= 0)
    if not len(known):
        return ()
    logits, y, names = answers.train[0, known], answers.y_train[known], answers.labels
    doubted, meant = confident_learning(logits, y)
    p = softmax(logits)
    at = np.flatnonzero(doubted)
    margin = p[at, y[at]] - p[at, meant[at]]
    found = []
    for i in at[np.argsort(margin, kind="stable")][:SUSPECTS].tolist():
        row, of_label, of_answer = int(answers.rows[known[i]]), float(p[i, y[i]]), float(p[i, meant[i]])
        found.append(Suspect(row, names[y[i]], names[meant[i]], of_label, of_answer))
    return tuple(found)


def _mean(values: np.ndarray, unit: str, where: str) -> Figure:
    """A mean with its 95 % interval by the central limit theorem; no interval of one sample."""
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return Figure(mean, unit, "measured", where, n)
    half = 1.959964 * float(values.std(ddof=1)) / float(np.sqrt(n))
    return Figure(mean, unit, "measured", where, n, mean - half, mean + half)
