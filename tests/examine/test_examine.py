"""Counts, bins, examples and their picture, against values worked out by hand."""

from __future__ import annotations

import io
from math import log

import numpy as np
import pytest
from PIL import Image

from edgekd.examine.calibration import calibration, calibration_error, normalized, probabilities
from edgekd.examine.classes import confusion, recalls, worst_class
from edgekd.examine.examples import LARGEST, choose, sprite


def test_confusion_and_the_worst_class() -> None:
    y, answers = np.array([0, 0, 0, 1, 1, 3, 3, 3]), np.array([0, 0, 1, 1, 1, 3, 0, 3])
    counts = confusion(y, answers, 4)
    assert counts == ((2, 1, 0, 0), (0, 2, 0, 0), (0, 0, 0, 0), (1, 0, 0, 2))
    shares = recalls(counts)
    assert shares[2] is None and [(s.count, s.n) for s in shares if s] == [(2, 3), (2, 2), (2, 3)]
    worst = worst_class(counts, ("a", "b", "c", "d"), "here")
    assert (worst.value, worst.n, worst.where, worst.unit) == (pytest.approx(2 / 3), 3, "here; class a", "share")
    assert worst.low == pytest.approx(0.2077, abs=1e-4) and worst.high == pytest.approx(0.9385, abs=1e-4)  # Wilson 1927, by hand


def test_of_equally_bad_classes_the_better_known_one() -> None:
    assert worst_class(((1, 1), (5, 5)), ("a", "b"), "here").where == "here; class b"


def test_calibration() -> None:
    confidence, right = np.array([0.55, 0.59, 0.95, 1.0, 0.0]), np.array([True, False, True, True, False])
    bins = calibration(confidence, right)
    assert [b.n for b in bins] == [1, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert (bins[5].low, bins[5].high, bins[5].correct, bins[5].confidence) == (0.5, 0.6, 1, pytest.approx(0.57))
    assert calibration_error(bins) == pytest.approx((abs(1 - 2 * 0.57) + abs(2 - 1.95)) / 5)
    assert calibration_error(calibration(np.ones(4), np.ones(4, bool))) == 0


def test_probabilities() -> None:
    assert probabilities(np.array([[log(3), 0.0], [1000.0, 0.0]])) == pytest.approx(np.array([[0.75, 0.25], [1, 0]]))
    assert normalized(np.array([[0.5, 0.25], [0.0, 0.0]])) == pytest.approx(np.array([[2 / 3, 1 / 3], [0.5, 0.5]]))


def test_examples_are_confident_mistakes_of_every_class() -> None:
    y = np.array([0] * 30 + [1, 2, 0])
    teacher = np.eye(3)[y]
    student = np.tile([0.1, 0.85, 0.05], (33, 1))  # all of class 0 are taken for 1, with the same confidence
    student[30], student[31], student[32] = [0.1, 0.1, 0.8], [0.6, 0.3, 0.1], [0.7, 0.2, 0.1]
    teacher[32] = [0, 0, 1]  # here the student is right, its teacher is not
    found = choose(y, student, teacher, 5)
    assert [one.index for one in found] == [0, 1, 2, 30, 31]
    assert found[3].label == 1 and found[3].student == 2 and found[3].teacher == 1
    assert (found[3].student_p, found[3].teacher_p) == (pytest.approx(0.8), 1)
    assert choose(y, student, teacher, 40)[-1].index == 32
    assert choose(y, teacher, teacher) == ()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (2, "L")])
def test_the_picture_shows_the_samples_side_by_side(channels: int, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, channels), np.uint8)
    content = sprite(pixels)
    assert content == sprite(pixels)
    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.mode, picture.size) == (mode, (12, 5))
        shown = np.asarray(picture).reshape(5, 12, -1)
    assert np.array_equal(shown[:, 4:8], pixels[1, ..., :1] if mode == "L" else pixels[1])


def test_large_samples_are_thinned() -> None:
    with Image.open(io.BytesIO(sprite(np.zeros((2, 224, 100, 3), np.uint8)))) as picture:
        assert picture.size == (68, 75) and max(picture.size[1], 34) <= LARGEST
