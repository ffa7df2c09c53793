"""The weighted sum of the recipe's losses, and what each of them is fed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.losses.cross_entropy import cross_entropy
from edgekd.losses.soft_targets import soft_targets
from edgekd.train.criterion import Criterion, Lessons
from edgekd.train.distill import Batch, Term
from edgekd.train.peers import Peers, PeersCriterion, mutual

LESSONS = Lessons((slice(None),), 10)


class Net(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(4, 5), nn.Linear(5, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stem(x))


class Bank(nn.Module):
    """A loss with a parameter, a buffer and a memory of which samples it has seen."""

    def __init__(self, student: torch.Tensor, teacher: torch.Tensor, samples: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.project, self.scale = nn.Linear(student.shape[1], teacher.shape[1]), scale
        self.register_buffer("seen", torch.zeros(samples))

    def forward(self, student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        self.seen[indices] += 1  # type: ignore[index,operator]
        return self.scale * (self.project(student) - teacher).square().mean()


def value(amount: float) -> Any:
    def loss(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, *, factor: float = 1.0) -> torch.Tensor:
        return student.sum() * 0 + amount * factor

    return loss


def batch(classes: tuple[int, ...] = (3,), n: int = 2) -> Batch:
    teacher = tuple(torch.randn(n, c) for c in classes)
    labels = tuple(torch.arange(n) % c for c in classes)
    return Batch(torch.randn(n, 4), teacher, labels, torch.arange(n), np.zeros((n, 1, 1, 1), np.uint8))


def test_the_sum_is_weighted_and_every_value_is_told() -> None:
    terms = [Term(value(3), 0.5, {"factor": 2.0}, "a"), Term(value(1), 2.0, {}, "my.code:a"), Term(value(5), 1.0, {}, "b")]
    model, images = Net(), batch()
    criterion = Criterion(model, terms, LESSONS)
    total, each = criterion(model(images.x), images, {})
    assert total.item() == 3 * 2 * 0.5 + 2 + 5 and each.tolist() == [6, 1, 5]
    assert criterion.names == ("a", "a 2", "b") and not criterion.state_dict()


@pytest.mark.parametrize(
    ("term", "phase", "expected"),
    [("both", "float", True), ("both", "qat", True), ("float", "qat", False), ("qat", "qat", True), ("qat", "float", False),
     ("float", "float on", True), ("qat", "float on", False)],
)  # fmt: skip
def test_in_which_phase_a_term_counts(term: str, phase: str, expected: bool) -> None:
    assert Term(value(1), 1.0, {}, phase=term).active(phase) is expected
    assert not Term(value(1), 0.0, {}, phase=term).active(phase)


def test_each_task_has_its_columns_labels_and_teacher() -> None:
    model, images = Net(5), batch((2, 3))
    terms = [Term(soft_targets, 1.0, {}, task=0), Term(soft_targets, 1.0, {}, task=1), Term(cross_entropy, 1.0, {}, task=1)]
    outputs = model(images.x)
    _, each = Criterion(model, terms, Lessons((slice(0, 2), slice(2, 5)), 10))(outputs, images, {})
    teacher = images.teacher
    assert teacher[0] is not None and teacher[1] is not None
    expected = [soft_targets(outputs[:, :2], teacher[0], images.labels[0]), soft_targets(outputs[:, 2:], teacher[1], images.labels[1])]
    expected.append(cross_entropy(outputs[:, 2:], teacher[1], images.labels[1]))
    torch.testing.assert_close(each, torch.stack(expected).detach())


def test_what_is_tapped_is_fed_and_the_teachers_side_is_detached() -> None:
    fed: list[Any] = []

    def loss(student: Any, teacher: Any, labels: torch.Tensor) -> torch.Tensor:
        fed.append((student, teacher))
        return (student[0] if isinstance(student, list) else student).sum()

    model, images = Net(), batch()
    terms = [
        Term(loss, 1.0, {}, "one", "stem", "body.0"),
        Term(loss, 1.0, {}, "lists", ("stem", "head"), ("student:head", "student:")),
        Term(loss, 1.0, {}, "stored", "stem"),
    ]
    criterion, hidden = Criterion(model, terms, LESSONS), torch.randn(2, 7)
    outputs = model(images.x)
    criterion.prepare(outputs, images, {(0, "body.0"): hidden})
    del fed[:]
    criterion(outputs, images, {(0, "body.0"): hidden})
    (student, teacher), (students, teachers), (_, stored) = fed
    assert torch.equal(student, model.stem(images.x)) and teacher is hidden
    assert torch.equal(students[1], outputs) and torch.equal(teachers[0], outputs) and torch.equal(teachers[1], outputs)
    assert student.requires_grad and not any(t.requires_grad for t in teachers) and stored is images.teacher[0]
    criterion.close()


def test_a_module_is_made_of_examples_and_its_state_is_untouched_by_trying() -> None:
    model, images = Net(), batch()
    criterion = Criterion(model, [Term(value(1), 1.0, {}), Term(Bank, 0.5, {"scale": 2.0}, "bank", "stem")], LESSONS)
    outputs = model(images.x)
    criterion.prepare(outputs.detach(), images, {})
    assert set(criterion.state_dict()) == {f"modules_of_losses.1.{n}" for n in ("seen", "project.weight", "project.bias")}
    assert not criterion.state_dict()["modules_of_losses.1.seen"].any() and len(criterion.state_dict()["modules_of_losses.1.seen"]) == 10
    total, _ = criterion(outputs, images, {})
    total.backward()
    assert criterion.state_dict()["modules_of_losses.1.seen"].tolist() == [1, 1] + [0] * 8
    assert all(p.grad is not None for p in criterion.parameters())
    assert not any(p is q for p in criterion.parameters() for q in model.parameters())


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (Term(Bank, 1.0, {"scael": 2}, "bank", "stem", where="recipe, losses[2]"), r"recipe, losses\[2\]: bank raised TypeError.*scael"),
        (
            Term(lambda *_: 3, 1.0, {}, "three", "stem", where="recipe, losses[2]"),
            r"recipe, losses\[2\]: three returned 3\n  expected: one",
        ),
        (Term(lambda s, *_: s.detach().sum(), 1.0, {}, "cut", "stem"), "cut returned tensor"),
        (Term(lambda s, t, _: (s - t).sum(), 1.0, {}, "shapes", "stem"), "shapes raised RuntimeError: The size of tensor a"),
    ],
)
def test_a_loss_that_does_not_take_what_it_is_fed(term: Term, message: str) -> None:
    model, images = Net(), batch()
    with pytest.raises(InputError, match=message):
        Criterion(model, [term], LESSONS).prepare(model(images.x).detach(), images, {})


def test_the_message_names_the_loss_whose_tap_is_wrong() -> None:
    terms = [
        Term(value(1), 1.0, {}, student="stem", where="recipe, losses[0]"),
        Term(value(1), 1.0, {}, student="stm", where="recipe, losses[1]"),
    ]
    with pytest.raises(InputError, match=r"recipe, losses\[1\]: the student has no module 'stm'"):
        Criterion(Net(), terms, LESSONS)


def test_mutual_is_the_divergence_from_the_mean_of_the_others() -> None:
    logits = torch.randn(3, 2, 4, dtype=torch.float64)
    found = mutual(logits).tolist()
    for peer in range(3):
        expected = 0.0
        for sample in range(2):
            for c in range(4):
                others = [float(logits[o, sample].softmax(0)[c]) for o in range(3) if o != peer]
                p = sum(others) / 2
                expected += p * (math.log(p) - math.log(float(logits[peer, sample].softmax(0)[c])))
        assert found[peer] == pytest.approx(expected / 2)
    assert mutual(logits[:1].expand(2, -1, -1)).abs().max() < 1e-12
    assert torch.isfinite(mutual(torch.tensor([[[1e4, -1e4]], [[-1e4, 1e4]]]))).all()


def test_peers_have_each_the_recipes_losses_and_learn_from_detached_answers() -> None:
    peers, images = Peers([Net(), Net()]), batch()
    criterion = PeersCriterion(peers, [Term(cross_entropy, 0.5, {}, "cross_entropy")], LESSONS)
    assert criterion.names == ("cross_entropy", "mutual")
    outputs = peers(images.x)
    total, each = criterion(outputs, images, {})
    hard = torch.stack([cross_entropy(own, own, images.labels[0]) for own in outputs])
    torch.testing.assert_close(total, 0.5 * hard.sum() + mutual(outputs).sum())
    torch.testing.assert_close(each, torch.stack([hard.mean(), mutual(outputs).mean()]).detach())
    (gradient,) = torch.autograd.grad(mutual(outputs)[0], outputs)
    assert gradient[0].any() and not gradient[1].any()
