from __future__ import annotations

import pytest
import torch

from edgekd import lazy
from edgekd.losses import LOSSES
from edgekd.losses.cross_entropy import cross_entropy


def test_is_the_mean_negative_log_likelihood() -> None:
    student, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    expected = -student.log_softmax(1)[torch.arange(4), labels].mean()
    torch.testing.assert_close(cross_entropy(student, torch.full((4, 3), float("nan")), labels), expected)


def test_label_smoothing() -> None:
    student, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    logs = student.log_softmax(1)
    expected = -(0.9 * logs[torch.arange(4), labels] + 0.1 * logs.mean(1)).mean()
    torch.testing.assert_close(cross_entropy(student, student, labels, label_smoothing=0.1), expected)


def test_samples_without_a_label_are_left_out() -> None:
    student, labels = torch.randn(4, 3, requires_grad=True), torch.tensor([0, -1, 1, -1])
    for smoothing in (0.0, 0.1):
        expected = cross_entropy(student[[0, 2]], student, labels[[0, 2]], label_smoothing=smoothing)
        torch.testing.assert_close(cross_entropy(student, student, labels, label_smoothing=smoothing), expected)
    none = cross_entropy(student, student, torch.full((4,), -1))
    none.backward()
    assert none.item() == 0 and student.grad is not None and not student.grad.any()


@pytest.mark.parametrize("name", ["cross_entropy", "dist", "dkd", "logit_mse", "rkd_angle", "rkd_distance", "similarity", "soft_targets"])
def test_every_loss_of_logits_is_one_number_with_a_gradient(name: str) -> None:
    student = torch.randn(4, 3, requires_grad=True)
    loss = lazy.resolve(name, LOSSES, where="test")(student, torch.randn(4, 3), torch.tensor([0, 2, 1, 1]))
    loss.backward()
    assert loss.ndim == 0 and student.grad is not None and student.grad.abs().sum() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_a_function_or_a_module(name: str) -> None:
    found = lazy.resolve(name, LOSSES, where="test")
    assert issubclass(found, torch.nn.Module) if isinstance(found, type) else callable(found), name
    assert found.__doc__, f"{name} says what it computes"
