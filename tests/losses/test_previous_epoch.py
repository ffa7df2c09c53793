from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from edgekd.errors import InputError
from edgekd.losses.previous_epoch import PreviousEpoch

LABELS, WHERE = torch.tensor([2, 0, 1]), torch.tensor([5, 0, 3])


def made(**options: Any) -> PreviousEpoch:
    return PreviousEpoch(torch.zeros(2, 4), torch.zeros(2, 4), 6, **options)


def softmax(row: list[float], t: float = 1.0) -> list[float]:
    e = [math.exp(z / t) for z in row]
    return [x / sum(e) for x in e]


def test_is_the_formula_of_the_paper_pass_after_pass() -> None:
    """αₜ = α_T · t/T; the first pass has nothing to look back on (equations 4 and 5)."""
    loss, before = made(alpha=0.6, passes=3, temperature=2.0), None
    for t in range(1, 6):
        student = torch.randn(3, 4)
        expected = 0.0
        for n in range(3):
            a = 0.0 if before is None else 0.6 * min(1, t / 3)
            for c, p in enumerate(softmax(student[n].tolist())):
                target = (1 - a) * (c == int(LABELS[n]))
                if before is not None:
                    target += a * softmax(before[n].tolist(), 2.0)[c]
                expected -= target * math.log(p) / 3
        assert float(loss(student, student, LABELS, WHERE)) == pytest.approx(expected, rel=2e-3), f"pass {t}"
        before = student


def test_its_gradient() -> None:
    loss, student = made(), torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    loss(student, student, LABELS, WHERE)
    loss.eval()
    assert torch.autograd.gradcheck(lambda s: loss(s, s, LABELS, WHERE), (student,))


def test_a_sample_that_was_never_met_has_its_label_alone() -> None:
    loss, student = made(alpha=1.0, passes=1), torch.randn(3, 4)
    loss(student[:1], student, LABELS[:1], WHERE[:1])
    later = torch.randn(3, 4)
    new = torch.nn.functional.cross_entropy(later[1:], LABELS[1:])
    torch.testing.assert_close(loss(later[1:], student, LABELS[1:], WHERE[1:]), new)
    assert loss.seen.tolist() == [1, 0, 0, 1, 0, 1]


def test_samples_without_a_label_are_left_out_and_not_remembered() -> None:
    loss, student = made(), torch.randn(3, 4, requires_grad=True)
    none = loss(student, student, torch.full((3,), -1), WHERE)
    none.backward()
    assert float(none.detach()) == 0 and student.grad is not None and not student.grad.any()
    assert not loss.seen.any() and not loss.memory.any()


def test_evaluation_remembers_nothing() -> None:
    loss = made().eval()
    loss(torch.randn(3, 4), torch.zeros(3, 4), LABELS, WHERE)
    assert not loss.seen.any() and not loss.memory.any()


def test_what_it_remembers_is_resumed() -> None:
    loss, student = made(), torch.randn(3, 4)
    loss(student, student, LABELS, WHERE)
    state, again = loss.state_dict(), made()
    assert {name: (tuple(x.shape), x.dtype) for name, x in state.items()} == {
        "memory": ((6, 4), torch.float16),
        "seen": ((6,), torch.int16),
    }
    again.load_state_dict(state)
    later = torch.randn(3, 4)
    assert torch.equal(again(later, later, LABELS, WHERE), loss(later, later, LABELS, WHERE))


def test_one_sample_and_large_logits_stay_finite() -> None:
    loss = made(alpha=1.0, passes=1)
    for sign in (1, -1):
        student = (sign * torch.tensor([[1e4, -1e4, 0.0, 1.0]])).requires_grad_()
        found = loss(student, student, LABELS[:1], WHERE[:1])
        found.backward()
        assert found.isfinite() and student.grad is not None and student.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, r"loss previous_epoch: alpha = 1.5\n  expected: 0 to 1, usually 0.8"),
        ({"passes": 0}, r"loss previous_epoch: passes = 0\n  expected: at least 1, usually the preset's passes over the data"),
        ({"temperature": -1.0}, r"loss previous_epoch: temperature = -1.0\n  expected: above 0, usually 1 to 2"),
    ],
)
def test_impossible_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(**options)


def test_a_feature_map_is_no_answer() -> None:
    with pytest.raises(InputError, match=r"loss previous_epoch: student \(2, 4, 3, 3\)"):
        PreviousEpoch(torch.zeros(2, 4, 3, 3), torch.zeros(2, 4), 6)
