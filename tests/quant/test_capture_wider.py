"""What cannot be captured, and operators beyond those of small convolutional nets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd.errors import InputError
from edgekd.quant.capture import capture
from edgekd.quant.passes.channels_last import channels_last
from edgekd.quant.reference import run
from tests.quant.captured import SHAPE, Lambda, Tripled, kinds, same


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Lambda(torch.erf), r"(?s)operator aten.erf.default is not supported.*use gelu"),
        (nn.ELU(), r"(?s)operator aten.elu.default is not supported.*use leaky_relu"),
        (nn.Mish(), r"(?s)operator aten.mish.default is not supported.*use hardswish"),
        (Lambda(lambda x: torch.atan(x)), r"(?s)operator aten.atan.default is not supported.*use tanh"),
        (nn.ConvTranspose2d(4, 4, 2, groups=2), "a transposed convolution with groups or dilation"),
        (nn.AvgPool2d(3, padding=1), "pooling with ceil_mode, dilation, a divisor or counted padding"),
        (nn.AvgPool2d(2, divisor_override=3), "pooling with ceil_mode, dilation, a divisor or counted padding"),
        (nn.MaxPool2d(3, ceil_mode=True), "pooling with ceil_mode"),
        (nn.AdaptiveAvgPool2d(3), "adaptive pooling of 8x8 to 3x3"),
        (nn.BatchNorm2d(4, track_running_stats=False), "a batch norm without running statistics"),
        (nn.ReflectionPad2d(1), "padding with reflect"),
        (nn.ConstantPad2d(1, 2.0), "padding with constant 2.0"),
        (nn.Softmax(0), "a softmax over the batch"),
        (Lambda(lambda x: x.mean()), "a mean over the batch"),
        (Lambda(lambda x: x.add(x, alpha=2)), "an addition with alpha"),
        (Lambda(lambda x: x.view(4, 64)), r"the student returns \(4, 64\) for one sample"),
        (Lambda(lambda x: x.expand(1, 4, 8, 8) / x), "a division by what is computed"),
        (Lambda(lambda x: x[..., :1].expand(1, 4, 8, 8)), "is repeated to"),
        (Lambda(lambda x: x.view(4, 1, 8, 8).relu().mean(0, keepdim=True).view(1, 8, 8) @ x[0, 0, 0]), "a product with a vector"),
        (nn.AdaptiveMaxPool2d((3, 2)), "adaptive pooling of 8x8 to 3x2"),
        (Lambda(lambda x: functional.adaptive_max_pool2d(x, 1, return_indices=True)[1].float()), "the place of the largest"),
        (Lambda(lambda x: x.max(1).indices.float()), "the place of the largest value|a conversion to"),
        (Lambda(lambda x: torch.cat([x, x])), "samples are joined"),
        (Lambda(lambda x: x.half()), "a conversion to torch.float16"),
        (Lambda(lambda x: functional.conv2d(x, x)), "is computed, but must be a parameter"),
        (Lambda(lambda x: (x, x)), "the student returns a tuple"),  # type: ignore[arg-type,return-value]
        (Lambda(lambda x: x if x.sum() > 0 else -x), "torch.export cannot capture the student"),
        (nn.Linear(3, 3), "torch.export cannot capture the student"),
    ],
)  # fmt: skip
def test_what_cannot_be_captured(model: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        capture(model.eval(), SHAPE)


def test_batch_norm_of_a_bare_vector_is_a_product_and_a_sum() -> None:
    assert kinds(same(nn.BatchNorm1d(4), (4,))) == ["Mul", "Add"]
    assert kinds(same(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(256), nn.Linear(256, 3)))) == ["Reshape", "Mul", "Add", "FullyConnected"]


def test_the_message_names_the_line() -> None:
    with pytest.raises(InputError, match=r"(?s)captured.py.* line \d+, in forward .*: operator aten.erf.default is not supported.*conv2d"):
        capture(Lambda(lambda x: torch.erf(x)).eval(), SHAPE)
    with pytest.raises(InputError, match=r"captured.py.* line \d+, in forward return x.add\(x, alpha=3\): an addition with alpha"):
        capture(Tripled().eval(), SHAPE)


class Attention(nn.Module):
    """Heads by one linear layer, taken apart as vision transformers do."""

    def __init__(self, size: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.qkv, self.out, self.norm = heads, nn.Linear(size, 3 * size), nn.Linear(size, size), nn.LayerNorm(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, size = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, tokens, 3, self.heads, size // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(y.transpose(1, 2).reshape(n, tokens, size))


class Gated(nn.Module):
    """Squeeze and excite."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.down, self.up = nn.Conv2d(4, 8, 3, padding=1), nn.Linear(8, 4), nn.Linear(4, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        return y * functional.hardsigmoid(self.up(self.down(y.mean((2, 3))).relu()))[:, :, None, None]


class Shuffled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 8, 1, groups=2), nn.Conv2d(8, 8, 3, groups=8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        y = y.view(len(y), 2, 4, 8, 8).transpose(1, 2).reshape(len(y), 8, 8, 8)
        return self.b(y.relu())


def joined(x: torch.Tensor, a: nn.Module, b: nn.Module, head: nn.Module) -> torch.Tensor:
    return head(torch.cat([a(x).flatten(1), b(x).relu().flatten(1)], 1))


def by_channels(x: torch.Tensor, a: nn.Module, norm: nn.Module, head: nn.Module) -> torch.Tensor:
    return head(norm(a(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("model", "shape", "absent"),
    [
        (nn.Sequential(nn.Conv1d(4, 6, 3, padding=1), nn.BatchNorm1d(6), nn.ReLU(), nn.Conv1d(6, 5, 5, stride=2)), (4, 20), "Relu Mul Add"),
        (nn.Sequential(nn.Conv1d(4, 8, 3, groups=4), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 2)), (4, 20), "BatchMatMul"),
        (nn.ConvTranspose2d(4, 5, 3, stride=2, padding=1, output_padding=1), SHAPE, "Transpose"),
        (nn.ConvTranspose2d(4, 5, 2, stride=3, output_padding=1), SHAPE, "Transpose"),
        (nn.ConvTranspose1d(4, 5, 4, stride=2, padding=1), (4, 9), "Relu"),
        (nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(4, 3, 1)), SHAPE, "Transpose"),
        (nn.Upsample(size=(12, 5), mode="bilinear"), SHAPE, "Transpose"),
        (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), SHAPE, "Transpose"),
        (nn.Sequential(nn.LayerNorm([4, 8, 8]), nn.GELU(), nn.SiLU()), SHAPE, "Transpose"),
        (nn.Sequential(nn.GroupNorm(1, 4), nn.GELU(approximate="tanh"), nn.Hardswish(), nn.Hardsigmoid()), SHAPE, "Transpose"),
        (nn.Sequential(nn.GroupNorm(2, 4), nn.Tanh(), nn.LeakyReLU(0.2), nn.PReLU(4)), SHAPE, "Transpose"),
        (Attention(), (6, 8), "Reshape6"),
        (Gated(), SHAPE, "Transpose"),
        (Shuffled(), SHAPE, "Relu6"),
        (nn.Softmax(1), SHAPE, "Transpose"),
        (nn.MaxPool2d(2, ceil_mode=True), SHAPE, "Transpose"),
        (Lambda(lambda x: x.amax((2, 3)) - x.sum((2, 3)) / 3), SHAPE, "Transpose"),
        (Lambda(lambda x: torch.maximum(x, -x) * 2 - 1), SHAPE, "Transpose"),
        (Lambda(lambda x: torch.cat([a * b for a, b in (x.chunk(2, 1), x.split([2, 2], 1))], 1)), SHAPE, "Transpose"),
        (Lambda(lambda x: torch.stack([x[:, 0], x.select(1, 1)], 1)[..., 1:3]), SHAPE, "Relu"),
        (Lambda(lambda x: x.max(1).values + x.narrow(1, 0, 1).squeeze(1)), SHAPE, "Transpose"),
        (Lambda(lambda x: torch.roll(x, (1, -2), (2, 3))), SHAPE, "Transpose"),
        (Lambda(lambda x: x @ x.mT), SHAPE, "Conv2D"),
        (Lambda(lambda x: x + x.mean((2, 3), keepdim=True)), SHAPE, "Transpose"),
        (Lambda(lambda x: 1 - x.clamp(-0.5, 0.5)), SHAPE, "Transpose"),
        (Lambda(joined, nn.Conv2d(4, 2, 1), nn.Conv2d(4, 3, 3), nn.Linear(128 + 108, 3)), SHAPE, "Transpose"),
        (Lambda(by_channels, nn.Conv2d(4, 6, 1), nn.LayerNorm(6), nn.Linear(6, 5)), SHAPE, "Transpose"),
        (Lambda(lambda x, a, f: f(a(x).flatten(2).transpose(1, 2)), nn.Conv2d(4, 6, 4, 4), nn.Linear(6, 5)), SHAPE, "Transpose"),
    ],
)  # fmt: skip
def test_wider_operators(model: nn.Module, shape: tuple[int, ...], absent: str) -> None:
    found = kinds(same(model, shape))
    assert not set(absent.split()) & set(found), found


def test_token_ids_and_what_is_computed_of_parameters_alone() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.positions, self.first = nn.Embedding(9, 4), nn.Embedding(6, 4), nn.Parameter(torch.randn(1, 1, 4))

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.table(ids) + self.positions(torch.arange(ids.shape[1]))[None]
            return torch.cat([self.first.expand(len(ids), -1, -1), x], 1)[:, 0]

    model = Tokens().eval()
    graph = channels_last(capture(model, (6,), indices=True))
    assert kinds(graph) == ["Gather", "Add", "Pad", "Add", "Slice", "Reshape"]
    assert graph.tensor("input").dtype == "int32"
    ids = np.array([[1, 2, 3, 4, 5, 8], [0, 0, 1, 1, 7, 2]])
    found = run(graph, ids.astype(np.int32), "float")[graph.outputs[0]]
    np.testing.assert_allclose(found, model(torch.from_numpy(ids)).detach().numpy(), atol=1e-6)
