"""Each finding on logits that are made to have it, with the figure that it must state; and none on a healthy case."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from edgekd.advise.finding import Finding
from edgekd.advise.judge import LIMITS, Situation, judge
from edgekd.advise.measure import Answers, Facts, confident_learning, measure
from edgekd.advise.softened import softmax
from edgekd.recipe.schema import Recipe
from tests.small_builds import RECIPE

LABELS = ("across", "down", "middle", "border")
C = len(LABELS)


def recipe(changes: dict[str, str] | None = None) -> Recipe:
    text = RECIPE.replace("weight = 0.1", "weight = 0.9\noptions = { temperature = 4.0 }").replace(
        "\nweight = 0.9\n\n[views]", "\nweight = 0.1\n\n[views]"
    )
    for old, new in (changes or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    return Recipe.model_validate(tomllib.loads(text))


def situation(changes: dict[str, str] | None = None) -> Situation:
    made = recipe(changes)
    return Situation(made, {0: float(made.losses[0].options["temperature"])})


def drawn(n: int, rng: np.random.Generator, *, sure: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """A teacher that is right on about 97 %, and as sure as it should be: logits [n, C] and labels drawn from them."""
    logits = rng.normal(0, 0.7, (n, C))
    logits[np.arange(n), np.arange(n) % C] += sure + rng.normal(0, 1, n)
    y = np.minimum((softmax(logits).cumsum(1) < rng.random((n, 1))).sum(1), C - 1)
    return logits, y


def healthy(seed: int = 0, n: int = 1500) -> Answers:
    rng = np.random.default_rng(seed)
    (train, y), (validation, held), (test, tested) = (drawn(size, rng) for size in (n, n, 200))
    views = np.stack([train, train + rng.normal(0, 0.1, train.shape)])
    counts = {name: np.bincount(v, minlength=C) for name, v in (("train", y), ("validation", held), ("test", tested))}
    return Answers("", LABELS, np.arange(n), views, y, validation, held, test, counts)


def found(answers: Answers, given: Situation | None = None) -> dict[str, Finding]:
    given = given or situation()
    soft = given.soft("")
    return {f.name: f for f in judge(facts(answers, soft[1] if soft else 1.0), given)}


def facts(answers: Answers, temperature: float = 4.0) -> Facts:
    return measure(answers, temperature)


def accepted(finding: Finding) -> None:
    """The lines are a recipe's: alone they are TOML, and with what they replace taken out the recipe still says what it may."""
    lines = tomllib.loads("\n".join(finding.lines))
    document = tomllib.loads(RECIPE)
    for key, value in lines.items():
        if isinstance(value, list):
            names = [item["name"] for item in value]
            document[key] = [item for item in document.get(key, []) if item["name"] not in names] + value
        elif key == "presets":
            document[key] = {name: {**document[key][name], **keys} for name, keys in value.items()}
        else:
            document[key] = {**document[key], **value} if key == "student" else value
    Recipe.model_validate(document)


def only(names: Iterable[str], findings: dict[str, Finding]) -> None:
    assert set(findings) == set(names), {name: f.measured for name, f in findings.items()}


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_case_has_no_finding(seed: int):
    only((), found(healthy(seed)))


def test_sharp_targets():
    answers = healthy()
    sharp = replace(answers, train=answers.train * 6)
    f = found(sharp)["sharp_targets"]
    better = facts(sharp).figures["temperature_halfway"].value
    assert f.severity == "warning" and "of log C" in f.measured and "n=1500" in f.measured
    assert f"temperature = {better:.2g}" in " ".join(f.lines) and f.lines[0] == "[[losses]]" and "Hinton" in f.why
    accepted(f)
    # Ten times as sure: no temperature that the paper knows is enough.
    f = found(replace(answers, train=answers.train * 60))["sharp_targets"]
    assert 'name = "logit_mse"' in f.lines and "attention_transfer" in f.change
    accepted(f)


def test_flat_targets():
    answers = healthy()
    f = found(replace(answers, train=answers.train / 8))["flat_targets"]
    assert f.severity == "advice" and float(f.change.split()[2].rstrip(":")) < 1
    accepted(f)


def test_without_a_temperature_nothing_is_said_of_it():
    answers = healthy()
    plain = Situation(recipe(), {})
    assert not {"sharp_targets", "flat_targets"} & set(found(replace(answers, train=answers.train * 60), plain))


def test_an_ignorant_teacher():
    answers = healthy()
    rng = np.random.default_rng(1)
    f = found(replace(answers, validation=rng.normal(0, 1, (1500, C))))
    only(["ignorant_teacher"], f)
    assert "n=1500" in f["ignorant_teacher"].measured


def test_memorized():
    answers = healthy()
    certain = answers.train.copy()
    certain[:, np.arange(1500), answers.y_train] += 3
    f = found(replace(answers, train=certain))["memorized"]
    assert "entropy on training images" in f.measured and "count = 4" in f.lines and "shift = 1" in f.lines
    accepted(f)


def test_harmful_views():
    answers = healthy()
    turned = answers.train.copy()
    some = np.arange(1500) % 5 == 0
    turned[1, some] = np.roll(turned[1, some], 1, axis=1)
    f = found(replace(answers, train=turned), situation({"shift = 1": "mirror = true"}))["harmful_views"]
    assert f.severity == "warning" and "view 1: right on 7" in f.measured and not any("mirror" in line for line in f.lines)
    accepted(f)
    f = found(replace(answers, train=turned), situation({"shift = 1": "shift = 6"}))["harmful_views"]
    assert "shift = 3" in f.lines
    accepted(f)


def test_miscalibrated():
    answers = healthy()
    assert answers.validation is not None
    over = replace(answers, validation=answers.validation * 2.5, test=None)
    f = found(over)["miscalibrated"]
    assert f.measured.startswith("overconfident") and "by chance" in f.measured
    best = facts(over).figures["temperature_calibrated"]
    assert best.low is not None and best.high is not None and best.low < 2.5 < best.high
    (value,) = [line for line in f.lines if "temperature" in line]
    assert float(value.split("=")[-1].strip(" }")) == pytest.approx(4 * best.value, rel=0.06)
    accepted(f)
    under = found(replace(answers, validation=answers.validation * 0.5, test=None))["miscalibrated"]
    assert under.measured.startswith("underconfident")


def test_a_weak_class():
    """Of class 3 every third is taken for class 1: the finding names both, and raises the labels' weight."""
    answers = healthy()
    assert answers.validation is not None
    spoiled = answers.validation.copy()
    of = np.flatnonzero(answers.y_validation == 3)[::3]
    spoiled[of] = spoiled[of][:, [0, 3, 2, 1]]
    findings = found(replace(answers, validation=spoiled))
    f = findings["weak_classes"]
    assert f.measured.startswith("border: 6") and "most often taken for down" in f.measured and f.measured.count("n=") == 1
    assert f.lines == ("[[losses]]", 'name = "cross_entropy"', "weight = 0.9")
    accepted(f)
    # Where it says "down", it is as sure as ever and often wrong.
    assert "down: 0." in findings["miscalibrated_classes"].measured


def test_few_samples_prove_no_weak_class():
    rng = np.random.default_rng(3)
    logits, y = drawn(40, rng)
    logits[y == 3][:1] *= -1
    answers = replace(healthy(), validation=logits, y_validation=y, test=None)
    assert "weak_classes" not in found(answers)


def test_label_noise():
    answers = healthy()
    wrong = answers.y_validation.copy()
    wrong[:150] = (wrong[:150] + 1) % C
    train = answers.y_train.copy()
    train[7] = (int(answers.train[0, 7].argmax()) + 2) % C
    f = found(replace(answers, y_validation=wrong, y_train=train))["label_noise"]
    share = facts(replace(answers, y_validation=wrong)).figures["label_noise"]
    assert share.value == pytest.approx(0.1 + 0.02, abs=0.03) and "n=1500" in f.measured and "own errors among them" in f.measured
    accepted(f)


def test_confident_learning_by_hand():
    # Mean confidence in class 0 of those that bear it: (0.9 + 0.8 + 0.1)/3 = 0.6; in class 1: (0.7 + 0.9)/2 = 0.8.
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.1, 0.9]])
    doubted, meant = confident_learning(np.log(p), np.array([0, 0, 0, 1, 1]))
    assert doubted.tolist() == [False, False, True, False, False] and meant[2] == 1


def test_suspects_are_named_by_their_place():
    answers = healthy()
    y, at = answers.y_train.copy(), int(softmax(answers.train[0]).max(1).argmax())
    right = int(answers.train[0, at].argmax())
    y[at] = (right + 2) % C
    given = replace(answers, y_train=y, rows=np.arange(1500) * 10)
    suspects = {s.row: s for s in facts(given).suspects}
    first = facts(given).suspects[0]
    assert (first.row, first.label, first.answer) == (10 * at, LABELS[(right + 2) % C], LABELS[right]), first
    assert first.of_label < first.of_answer and len(suspects) <= 10


def test_imbalance():
    answers = healthy()
    counts = {**answers.counts, "train": np.array([500, 400, 450, 40])}
    f = found(replace(answers, counts=counts))["imbalance"]
    assert f.severity == "warning" and f.measured == "12.5 times as many of across (500) as of border (40)"
    accepted(f)
    counts["train"] = np.array([500, 400, 450, 100])
    assert found(replace(answers, counts=counts))["imbalance"].severity == "advice"


def test_unknown_labels_and_a_teacher_that_is_a_file():
    answers = healthy()
    nothing = replace(answers, y_train=np.full(1500, -1), validation=None, test=None)
    only((), found(nothing))
    known = facts(nothing).figures
    assert "label_agreement" not in known and "validation_accuracy" not in known and known["entropy"].n == 1500
    some = answers.y_train.copy()
    some[::2] = -1
    assert facts(replace(answers, y_train=some)).figures["label_agreement"].n == 750


def test_every_figure_has_its_n():
    for name, figure in facts(healthy()).figures.items():
        assert figure.n and figure.where, name


def test_limits_are_the_documented_ones():
    assert 0 < LIMITS["sharp"] < 0.5 < LIMITS["flat"] < 1
