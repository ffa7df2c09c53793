from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekd.quant.fake import best_step, fake_quantize

RANGES = [(-128, 127), (0, 255), (-127, 127), (-100, 155)]


def straight_through(x: torch.Tensor, log2_step: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """The definition, differentiated by autograd: rounding passes the gradient through, the clamp does its own.

    The clamp is half a step wider, so that what is rounded to the last level counts as inside.
    """
    step = torch.exp2(log2_step)
    ratio = x / step
    clamped = torch.clamp(ratio, low - 0.5, high + 0.5)
    rounded = torch.clamp(torch.round(ratio), low, high)
    inside = ((ratio > low - 0.5) & (ratio < high + 0.5)).to(x.dtype)
    return step * (rounded.detach() + inside * (clamped - clamped.detach()))


def gradients(function: object, x: torch.Tensor, step: torch.Tensor, low: int, high: int, towards: torch.Tensor) -> list[torch.Tensor]:
    x, step = x.clone().requires_grad_(), step.clone().requires_grad_()
    (function(x, step, low, high) * towards).sum().backward()  # type: ignore[operator]
    assert x.grad is not None and step.grad is not None
    return [x.grad, step.grad]


@given(
    arrays.arrays(np.float32, st.integers(1, 40), elements=st.floats(-50, 50, width=32)),
    st.floats(-6, 2, width=32),
    st.sampled_from(RANGES),
)
def test_forward_is_the_definition(x: np.ndarray, log2_step: float, levels: tuple[int, int]) -> None:
    step = torch.exp2(torch.tensor([log2_step]))
    found = fake_quantize(torch.from_numpy(x), torch.tensor([log2_step]), *levels)
    steps = found / step
    assert torch.equal(steps.round().clamp(*levels), steps.round())
    torch.testing.assert_close(steps, steps.round(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(found, torch.clamp(torch.round(torch.from_numpy(x) * step.reciprocal()), *levels) * step, rtol=0, atol=0)
    # Nothing on the grid is nearer, and what is on the grid stays where it is.
    assert (found - torch.from_numpy(x).clamp(levels[0] * float(step), levels[1] * float(step))).abs().max() <= 0.5001 * step
    assert torch.equal(fake_quantize(found, torch.tensor([log2_step]), *levels), found)


@pytest.mark.parametrize("levels", RANGES)
@pytest.mark.parametrize("shape", [(7,), (3, 4, 5, 6)])
def test_gradient_is_straight_through_and_that_of_lsq(levels: tuple[int, int], shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x, towards = (torch.randn(shape, generator=generator, dtype=torch.float64) * s for s in (2.0, 1.0))
    step = torch.tensor([math.log2(0.017)], dtype=torch.float64)
    # Where a value is cut, LSQ and the definition differ within the last half step: none lies there.
    x = torch.where((x / 2**step - torch.tensor(levels)[:, *[None] * x.ndim]).abs().amin(0) < 0.51, 0.0, x)
    mine, defined = gradients(fake_quantize, x, step, *levels, towards), gradients(straight_through, x, step, *levels, towards)
    for a, b in zip(mine, defined, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    # LSQ, equation 3 (Esser et al. 2020); the step is 2^log2_step, so that d step = step · ln 2 · d log2_step.
    ratio = x / 2**step
    lsq = torch.where(ratio <= levels[0], levels[0], torch.where(ratio >= levels[1], levels[1], ratio.round() - ratio))
    torch.testing.assert_close(mine[1], (towards * lsq).sum(0, keepdim=True).sum().reshape(1) * 2**step * math.log(2), rtol=2e-3, atol=1e-3)


def test_per_channel_is_per_tensor_for_each_channel() -> None:
    generator = torch.Generator().manual_seed(1)
    x, towards = (torch.randn(4, 3, 2, 2, generator=generator) * s for s in (0.5, 1.0))
    steps = torch.tensor([-9.0, -7.0, -5.5, -8.25]).reshape(4, 1, 1, 1)
    whole = gradients(fake_quantize, x, steps, -127, 127, towards)
    for c in range(4):
        part = gradients(fake_quantize, x[c], steps[c].reshape(1), -127, 127, towards[c])
        torch.testing.assert_close(whole[0][c], part[0])
        torch.testing.assert_close(whole[1][c].reshape(1), part[1])
        y = fake_quantize(x, steps, -127, 127)[c]
        assert torch.equal(y, fake_quantize(x[c], steps[c].reshape(1), -127, 127))


def test_channels_last_memory_gives_the_same_gradient() -> None:
    x, towards = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    step = torch.tensor([-5.0])
    plain = gradients(fake_quantize, x, step, -128, 127, towards)
    last = gradients(fake_quantize, x.contiguous(memory_format=torch.channels_last), step, -128, 127, towards)
    torch.testing.assert_close(plain[0], last[0])
    torch.testing.assert_close(plain[1], last[1], rtol=1e-4, atol=1e-4)


def test_a_permuted_value_or_gradient_changes_nothing_but_the_layout() -> None:
    x, towards = torch.randn(2, 6, 5), torch.randn(2, 6, 5)
    step = torch.tensor([-5.0])
    plain = gradients(fake_quantize, x, step, -128, 127, towards)
    for value, gradient in ((x.transpose(1, 2), towards.transpose(1, 2)), (x.transpose(1, 2).contiguous(), towards.transpose(1, 2))):
        assert fake_quantize(value, step, -128, 127).is_contiguous()
        found = gradients(fake_quantize, value, step, -128, 127, gradient)
        assert torch.equal(found[0].transpose(1, 2), plain[0])
        torch.testing.assert_close(found[1], plain[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_in_bf16_the_step_learns_as_far_as_its_values_are_precise(layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(3)
    x, towards = (torch.randn(8, 16, 14, 14, generator=generator).bfloat16().to(memory_format=layout) for _ in range(2))
    step = torch.tensor([-6.0])
    found = gradients(fake_quantize, x, step, -128, 127, towards)[1]
    exact = gradients(fake_quantize, x.double(), step.double(), -128, 127, towards.double())[1]
    # A rounding of 2^-9 of each of the two products, added up as noise is.
    noise = 2**-9 * math.sqrt(2 * x.numel()) * math.log(2)
    assert abs(float(found) - float(exact)) < 3 * noise


def test_best_step_beats_the_one_that_clips_nothing() -> None:
    x = torch.randn(20000, generator=torch.Generator().manual_seed(2))

    def error(step: float) -> float:
        return float((fake_quantize(x, torch.tensor([math.log2(step)]), -8, 7) - x).square().mean())

    widest = max(float(x.max()) / 7, float(x.min()) / -8)
    found = best_step(x, -8, 7)
    assert 0.4 * widest <= found < widest
    assert error(found) < error(widest)


@pytest.mark.parametrize("x", [torch.zeros(10), torch.full((10,), 1e-12), -torch.full((10,), 1e-12)])
def test_best_step_of_a_dead_activation_is_no_tiny_one(x: torch.Tensor) -> None:
    assert best_step(x, -128, 127) == 1 / 128


def test_best_step_of_one_sign() -> None:
    assert best_step(torch.tensor([0.0, 255.0]), 0, 255) == pytest.approx(1.0)
    assert best_step(torch.tensor([-128.0, 0.0]), -128, 127) == pytest.approx(1.0)
