from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.teachers import ensemble
from edgekd.teachers.ensemble import blend, name_of, recall


def logits(teachers: int, views: int = 2, n: int = 7, classes: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.normal(0, 2, (views, n, classes)).astype(np.float16) for _ in range(teachers)]


def softmax(row: np.ndarray) -> list[float]:
    odds = [math.exp(float(v)) for v in row]
    return [o / sum(odds) for o in odds]


def by_hand(outputs: list[np.ndarray], how: str, reliability: np.ndarray | None) -> np.ndarray:
    """The formulas of the docstring, one sample at a time."""
    views, n, classes = outputs[0].shape
    found = np.zeros((views, n, classes))
    for v in range(views):
        for i in range(n):
            rows = [softmax(teacher[v, i]) for teacher in outputs]
            weights = [[1.0] * classes for _ in rows]
            if how == "confidence":
                hard = [math.exp(-sum(p * math.log(p) for p in row)) for row in rows]
                weights = [[(1 - h / sum(hard)) / (len(rows) - 1)] * classes for h in hard]
            elif how == "per_class":
                assert reliability is not None
                weights = [list(r) for r in reliability]
            mixed = [sum(w[c] * row[c] for w, row in zip(weights, rows, strict=True)) for c in range(classes)]
            found[v, i] = [math.log(m / sum(mixed)) for m in mixed]
    return found


@pytest.mark.parametrize("how", ensemble.HOW)
@pytest.mark.parametrize("teachers", [2, 3])
def test_against_the_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, teachers: int) -> None:
    monkeypatch.setattr(ensemble, "CHUNK", 6)  # two samples at a time: the last chunk is a smaller one
    outputs, weights = logits(teachers), np.random.default_rng(1).uniform(0.2, 1, (teachers, 3))
    seen: list[tuple[int, int]] = []
    found = blend(outputs, how, tmp_path / "a.npy", reliability=weights, progress=lambda *at: seen.append(at))
    assert found.dtype == np.float16 and isinstance(found, np.memmap) and seen[-1] == (14, 14)
    np.testing.assert_allclose(found, by_hand(outputs, how, weights), atol=5e-3, rtol=2e-3)


def test_the_sure_teacher_weighs_more(tmp_path: Path) -> None:
    sure, unsure = np.array([[[8, 0, 0]]], np.float16), np.array([[[0, 0.5, 0]]], np.float16)
    mean = np.exp(blend([sure, unsure], "mean", tmp_path / "m.npy")[0, 0].astype(float))
    confident = np.exp(blend([sure, unsure], "confidence", tmp_path / "c.npy")[0, 0].astype(float))
    assert confident[0] > mean[0] + 0.05


def test_a_teacher_that_knows_a_class_decides_it(tmp_path: Path) -> None:
    knows, guesses = np.array([[[0, 2]]], np.float16), np.array([[[2, 0]]], np.float16)
    both = blend([knows, guesses], "per_class", tmp_path / "p.npy", reliability=np.array([[0.5, 0.9], [0.5, 0.1]]))
    assert both[0, 0].argmax() == 1


def test_extremes_stay_finite(tmp_path: Path) -> None:
    outputs = [np.array([[[60000, -60000, 0]]], np.float16), np.array([[[-60000, 60000, 0]]], np.float16)]
    for how in ensemble.HOW:
        found = blend(outputs, how, tmp_path / f"{how}.npy", reliability=np.ones((2, 3)))
        assert np.isfinite(found).all() and np.exp(found[0, 0].astype(float)) == pytest.approx([0.5, 0.5, 0], abs=1e-3)


def test_one_teacher_is_left_alone_and_equal_ones_answer_as_one(tmp_path: Path) -> None:
    (one,) = logits(1)
    assert blend([one], "mean", tmp_path / "a.npy") is one and not (tmp_path / "a.npy").exists()
    for how in ensemble.HOW:
        found = blend([one, one], how, tmp_path / f"{how}.npy", reliability=np.full((2, 3), 0.7))
        np.testing.assert_allclose(found, by_hand([one], "mean", None), atol=5e-3)


def test_what_is_stored_is_not_computed_again_unless_it_is_damaged(tmp_path: Path) -> None:
    file, seen = tmp_path / "a.npy", []
    first = np.array(blend(logits(2), "mean", file, progress=lambda *at: seen.append(at)))
    blend(logits(2), "mean", file, progress=lambda *at: seen.append(at))
    assert len(seen) == 2  # one a view
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    again = blend(logits(2), "mean", file, progress=lambda *at: seen.append(at))
    assert len(seen) == 3 and np.array_equal(again, first), "the shard of one view"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.lock", "a.npy", "a.sha256"]


def test_recall() -> None:
    answers, labels = np.eye(3)[[0, 0, 1, 2]], np.array([0, 1, 1, 0])
    assert recall(answers, labels, 3) == pytest.approx([2 / 4, 2 / 4, 1 / 2])


def test_the_name_says_what_it_is_made_from() -> None:
    names = {
        name_of(["a", "b"], "mean", None, "v"),
        name_of(["b", "a"], "mean", None, "v"),
        name_of(["a", "b"], "confidence", None, "v"),
        name_of(["a", "b"], "mean", None, "w"),
        name_of(["a", "b"], "per_class", np.ones((2, 3)), "v"),
        name_of(["a", "b"], "per_class", np.full((2, 3), 0.5), "v"),
    }
    assert len(names) == 6
    assert name_of(["a"], "mean", None, "v") == name_of(["a"], "mean", np.ones((1, 3)), "v")


@pytest.mark.parametrize(
    ("outputs", "how", "weights", "message"),
    [
        ([], "mean", None, "there is no teacher"),
        ([*logits(1), logits(1)[0][:, :3]], "mean", None, r"outputs of the shapes \[2, 3, 3\], \[2, 7, 3\]"),
        ([np.zeros((3, 2))], "mean", None, r"\[views, N, classes\]"),
        (logits(2), "median", None, r"(?s)how = 'median'.*mean, confidence, per_class"),
        (logits(2), "per_class", None, "weights a class: none"),
        (logits(2), "per_class", np.ones((2, 2)), r"of the shape \[2, 2\]"),
        (logits(2), "per_class", np.zeros((2, 3)), "not all above 0"),
    ],
)
def test_refused(tmp_path: Path, outputs: list[np.ndarray], how: str, weights: np.ndarray | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        blend(outputs, how, tmp_path / "a.npy", reliability=weights)
