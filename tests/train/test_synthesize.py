"""Images made from a tiny teacher that has learned the four kinds of tests/small_builds.py."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd.data.dataset import Dataset, Split, Task
from edgekd.errors import EdgekdError, InputError
from edgekd.recipe.schema import DataFree
from edgekd.teachers.residual_cnn import residual_cnn
from edgekd.teachers.teacher import Teacher, logits
from edgekd.train.synthesize import Differentiable, synthetic
from edgekd.train.synthesize_inversion import Statistics, variation
from edgekd.train.teach import TeachSchedule, teach
from tests.small_builds import LABELS, pictures
from tests.watching import quiet

INVERSION = DataFree(method="inversion", samples=64, steps=60, options={"batch": 64})
GENERATOR = DataFree(method="generator", samples=96, steps=40, options={"batch": 16})


def real() -> Dataset:
    return Dataset("four kinds", *(Split(*pictures(n, seed)) for n, seed in ((192, 1), (48, 2), (96, 3))), labels=LABELS)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    torch.manual_seed(0)
    model = Teacher(residual_cnn(channels=1, classes=4, width=4), (0.5,), (0.25,))
    schedule = TeachSchedule(epochs=8, batch=16, learning_rate=0.05, weight_decay=5e-4, mirror=False, shift=0, cutout=0, seed=0)
    taught = teach(model, real(), schedule, tmp_path_factory.mktemp("teach") / "state", quiet).eval()
    test = real().test
    assert (logits(taught, test.x, bf16=False).argmax(1) == test.y).mean() > 0.97
    return taught


def accuracy_of_a_student(train: Split, teacher: Teacher) -> float:
    """Of a small network that is taught by ``teacher`` on ``train`` alone, on the real test images."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4))
    x = torch.from_numpy(train.x).permute(0, 3, 1, 2).float() / 128 - 1
    soft = torch.from_numpy(logits(teacher, train.x, bf16=False)).softmax(1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(120):
        loss = functional.cross_entropy(net(x), soft)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    test = real().test
    with torch.inference_mode():
        return float((net(torch.from_numpy(test.x).permute(0, 3, 1, 2).float() / 128 - 1).argmax(1).numpy() == test.y).mean())


@pytest.mark.parametrize("table", [INVERSION, GENERATOR], ids=["inversion", "generator"])
def test_a_student_learns_from_the_teacher_alone(tmp_path: Path, teacher: Teacher, table: DataFree) -> None:
    made = synthetic(real(), table, teacher, "t", tmp_path, quiet)
    assert made.train.x.shape == (table.samples, 12, 12, 1) and made.train.x.dtype == np.uint8
    assert (np.bincount(made.train.y, minlength=4) > table.samples / 16).all()
    assert np.array_equal(made.train.y, logits(teacher, made.train.x, bf16=False).argmax(1))
    assert np.array_equal(made.test.x, real().test.x) and np.array_equal(made.validation.y, real().validation.y)
    with_data = accuracy_of_a_student(real().train, teacher)
    assert with_data > 0.9 and accuracy_of_a_student(made.train, teacher) > 0.8 * with_data


class Interrupt:
    """Progress that ends in Ctrl-C when it has come to ``step``."""

    def __init__(self, step: int) -> None:
        self.step, self.seen = step, list[int]()

    def __call__(self, what: str, done: int, total: int) -> None:
        assert what == "synthetic images" and done <= total
        self.seen.append(done)
        if done >= self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "table",
    [
        DataFree(method="inversion", samples=10, steps=10, options={"batch": 4}),
        DataFree(method="generator", samples=10, steps=20, options={"batch": 4, "student_steps": 1}),
    ],
    ids=["inversion", "generator"],
)
def test_an_interrupted_run_ends_with_the_same_images(tmp_path: Path, teacher: Teacher, table: DataFree) -> None:
    whole = synthetic(real(), table, teacher, "t", tmp_path / "a", quiet).train
    with pytest.raises(KeyboardInterrupt):
        synthetic(real(), table, teacher, "t", tmp_path / "b", Interrupt(15))
    torch.manual_seed(77)
    watch = Interrupt(10**6)
    again = synthetic(real(), table, teacher, "t", tmp_path / "b", watch).train
    assert np.array_equal(whole.x, again.x) and np.array_equal(whole.y, again.y)
    assert watch.seen[0] > 10  # what was done is not done again
    stored = synthetic(real(), table, teacher, "t", tmp_path / "b", Interrupt(0)).train  # nothing is computed
    assert np.array_equal(stored.x, whole.x)
    assert sorted(p.name for p in tmp_path.glob("b/synthetic/*/*") if p.name[0] != ".") == ["images.npz", "images.sha256"]
    other = synthetic(real(), table.model_copy(update={"seed": 1}), teacher, "t", tmp_path / "b", quiet).train
    assert not np.array_equal(other.x, whole.x)


def test_damaged_images_are_made_again(tmp_path: Path, teacher: Teacher) -> None:
    table = DataFree(method="inversion", samples=8, steps=2)
    first = synthetic(real(), table, teacher, "t", tmp_path, quiet).train
    (file,) = tmp_path.rglob("images.npz")
    file.write_bytes(file.read_bytes()[:-9])
    assert np.array_equal(synthetic(real(), table, teacher, "t", tmp_path, quiet).train.x, first.x)


def test_statistics_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3)).eval()
    for norm in (net[1], net[3]):
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(5, 1, 6, 6)
    watch = Statistics(net)
    net(x)
    seen = watch.distance()
    watch.close()
    expected, value = 0.0, x
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            a = value.detach().numpy().astype(float)
            for found, kept in ((a.mean((0, 2, 3)), layer.running_mean), (a.var((0, 2, 3)), layer.running_var)):
                assert kept is not None
                expected += float(np.sqrt(((found - kept.numpy()) ** 2).sum()))
        value = layer(value)
    assert seen.item() == pytest.approx(expected, rel=1e-5)
    assert not watch._seen  # nobody watches any more


@pytest.mark.parametrize("weight", [0.0, 100.0])
def test_pixels_are_as_bright_as_the_teacher_expects(tmp_path: Path, teacher: Teacher, weight: float) -> None:
    """Where its batch norms, which saw other pixels, would not have them so."""
    other = Teacher(teacher.body, (0.2,), (0.3,))
    table = DataFree(method="inversion", samples=64, steps=60, options={"batch": 64, "pixels": weight})
    x = synthetic(real(), table, other, "sha", tmp_path, quiet).train.x / 255
    away = abs(x.mean() - 0.2) + abs(x.std() - 0.3)
    assert away < 0.04 if weight else away > 0.06, (x.mean(), x.std())


def test_variation_is_that_of_the_formula() -> None:
    x = torch.rand(2, 1, 3, 4, dtype=torch.float64)
    total = 0.0
    for image in x[:, 0].tolist():
        total += sum(abs(image[r + 1][c] - image[r][c]) for r in range(2) for c in range(4))
        total += sum(abs(image[r][c + 1] - image[r][c]) for r in range(3) for c in range(3))
    assert float(variation(x)) == pytest.approx(total / 2 / 2)


def test_what_is_differentiated_is_what_the_teacher_computes() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(9, 4), nn.Softmax(1))
    teacher = Teacher(body, (0.2,), (0.5,), scale=3.0, log=True, columns=(2, 0)).eval()
    x = torch.rand(3, 1, 12, 12)
    assert torch.allclose(Differentiable(teacher)(x), teacher(x), atol=0.02)
    resized = Teacher(body, (0.2,), (0.5,), size=(12, 12)).eval()
    large = torch.rand(3, 1, 24, 24)
    assert torch.allclose(Differentiable(resized)(large), resized(large), atol=0.02)


class _Silent(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), 4)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (DataFree(method="dream"), r"(?s)method: 'dream' is not known.*generator, inversion"),
        (DataFree(method="inversion", options={"heat": 1}), "does not take these options"),
        (DataFree(method="inversion", options={"jitter": 1.5}), r"(?s)jitter = 1.5.*whole number of at least 0"),
        (DataFree(method="inversion", options={"statistics": -1}), "at least 0"),
        (DataFree(method="inversion", options={"learning_rate": 0}), "above 0"),
        (DataFree(method="generator", options={"balance": True}), "at least 0"),
        (DataFree(method="generator", options={"batch": 1}), "at least 2"),
    ],
)
def test_refused(tmp_path: Path, teacher: Teacher, table: DataFree, message: str) -> None:
    with pytest.raises(InputError, match=message):
        synthetic(real(), table, teacher, "t", tmp_path, quiet)


def test_teachers_that_cannot_be_gone_back_through(tmp_path: Path) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))
    with pytest.raises(InputError, match=r'(?s)no batch norm.*method = "generator"'):
        synthetic(real(), INVERSION, Teacher(plain, (0.5,), (0.25,)), "t", tmp_path, quiet)
    with pytest.raises(InputError, match="no gradient of the teacher's answers"):
        synthetic(real(), INVERSION, Teacher(_Silent(), (0.5,), (0.25,)), "t", tmp_path, quiet)
    with pytest.raises(EdgekdError, match=r"(?s)not finite at step 2.*lower learning_rate"):
        net = residual_cnn(channels=1, classes=4, width=4)
        broken = DataFree(method="inversion", samples=4, steps=2, options={"learning_rate": 1e38, "pixels": 1e38, "statistics": 1e38})
        synthetic(real(), broken, Teacher(net, (0.5,), (0.25,)), "t", tmp_path, quiet)


def test_several_tasks_are_refused_and_other_readings_left_out(tmp_path: Path, teacher: Teacher) -> None:
    data = real()
    splits = {name: getattr(data, name) for name in ("train", "validation", "test")}
    two = {name: Split(s.x, np.stack([s.y, s.y], 1)) for name, s in splits.items()}
    with pytest.raises(InputError, match="the data has 2 tasks"):
        both = Dataset("d", **two, labels=LABELS, tasks=(Task("kind", LABELS), Task("again", LABELS)))
        synthetic(both, INVERSION, teacher, "t", tmp_path, quiet)
    heard = {name: replace(s, more={"wave": s.y}) for name, s in splits.items()}
    made = synthetic(replace(data, **heard), DataFree(method="inversion", samples=4, steps=1), teacher, "t", tmp_path, quiet)
    assert not made.train.more and not made.test.more


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda: np.zeros((4, 12, 12, 1)), r"returned float64 \[4, 12, 12, 1\]"),
        (lambda: None, "returned NoneType"),
        (lambda: 1 / 0, "ZeroDivision"),
    ],
)
def test_an_own_method(
    tmp_path: Path,
    teacher: Teacher,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    returned: Callable[[], Any],
    message: str,
) -> None:
    module = types.ModuleType("own_synthesis")
    monkeypatch.setitem(sys.modules, "own_synthesis", module)
    table = DataFree(method="own_synthesis:make", samples=4)
    module.make = lambda order: returned()  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=message):
        synthetic(real(), table, teacher, "t", tmp_path, quiet)
    module.make = lambda order: np.zeros((order.samples, *order.shape), np.uint8)  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING):
        assert len(synthetic(real(), table, teacher, "t", tmp_path, quiet).train) == 4
    assert "none of the synthetic images is of class" in caplog.text
