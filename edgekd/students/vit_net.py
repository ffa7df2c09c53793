"""The module of a vit spec. In evaluation mode batch norms are computed into the weights beside them, so that a capture never meets one."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgekd.students.vit import Spec

#: Stated here and folded with the norms, so that no runtime's default matters.
EPS = 1e-5


class VitNet(nn.Module):
    """Image [N, channels, height, width] of (p − 128)/128 → logits [N, classes]. ``blocks`` answer tokens [N, T, dim]."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.patches = nn.Conv2d(spec.channels, spec.dim, spec.patch, spec.patch)
        self.token = nn.Parameter(torch.zeros(1, 1, spec.dim)) if spec.pool == "token" else None
        self.positions = nn.Parameter(torch.zeros(1, spec.tokens + (spec.pool == "token"), spec.dim))
        self.blocks = nn.Sequential(*(Block(spec) for _ in range(spec.depth)))
        self.norm = _norm(spec)
        self.classifier = nn.Linear(spec.dim, spec.classes)
        _initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            x = torch.cat((self.token.expand(len(x), -1, -1), x), 1)
        x = self.blocks(x + self.positions)
        x = x.mean(1) if self.token is None else x[:, 0]
        return _normed(self.norm, x, self.classifier)[0]


class Block(nn.Module):
    """Attention between the tokens, then a layer of hidden channels for each token; both added to what comes in."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.attention = Attention(spec)
        self.mlp = Mlp(spec)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(x)
        return x + self.mlp(x)


class Attention(nn.Module):
    """Queries, keys and values are layers of their own: each then has its own scale, and nothing is cut apart."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.heads, self.width = spec.heads, spec.dim // spec.heads
        self.norm = _norm(spec)
        self.query, self.key, self.value, self.out = (nn.Linear(spec.dim, spec.dim) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (self._apart(y) for y in _normed(self.norm, x, self.query, self.key, self.value))
        # Softmax over the keys; 1/√width is in the queries' weights from the start (Raffel et al. 2020), where it costs nothing.
        mixed = functional.softmax(query @ key.transpose(-2, -1), -1) @ value
        return self.out(mixed if self.heads == 1 else mixed.transpose(1, 2).reshape(x.shape))

    def _apart(self, y: torch.Tensor) -> torch.Tensor:
        """[N, tokens, dim] as [N, heads, tokens, width], where there are several."""
        return y if self.heads == 1 else y.reshape(*y.shape[:2], self.heads, self.width).transpose(1, 2)


class Mlp(nn.Module):
    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.norm = _norm(spec)
        self.inner = nn.Linear(spec.dim, spec.hidden)
        self.between = nn.BatchNorm1d(spec.hidden, eps=EPS) if spec.norm == "batch" else None
        self.activation = nn.ReLU() if spec.activation == "relu" else nn.GELU()
        self.outer = nn.Linear(spec.hidden, spec.dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (y,) = _normed(self.norm, x, self.inner, after=self.between)
        return self.outer(self.activation(y))


def _norm(spec: Spec) -> nn.LayerNorm | nn.BatchNorm1d:
    return nn.LayerNorm(spec.dim, eps=EPS) if spec.norm == "layer" else nn.BatchNorm1d(spec.dim, eps=EPS)


def _normed(
    norm: nn.LayerNorm | nn.BatchNorm1d, x: torch.Tensor, *layers: nn.Linear, after: nn.BatchNorm1d | None = None
) -> list[torch.Tensor]:
    """What ``layers`` answer for the normed ``x`` [N, …, C], normed again by ``after``. Batch norms are over all axes but the last."""
    if isinstance(norm, nn.LayerNorm) or norm.training:
        x = norm(x.reshape(-1, x.shape[-1])).reshape(x.shape) if isinstance(norm, nn.BatchNorm1d) else norm(x)
        found = [layer(x) for layer in layers]
        return found if after is None else [after(y.reshape(-1, y.shape[-1])).reshape(y.shape) for y in found]
    factor, shift = _affine(norm)
    answers: list[torch.Tensor] = []
    for layer in layers:
        weight, bias = layer.weight * factor, layer.bias + layer.weight @ shift
        if after is not None:
            scale, offset = _affine(after)
            weight, bias = weight * scale[:, None], bias * scale + offset
        answers.append(functional.linear(x, weight, bias))
    return answers


def _affine(norm: nn.BatchNorm1d) -> tuple[torch.Tensor, torch.Tensor]:
    """Factor and offset of each channel in evaluation mode."""
    assert norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return factor, norm.bias - norm.running_mean * factor


def _initialize(net: VitNet) -> None:
    """Glorot and Bengio's uniform weights (2010), small positions and classifier, as Dosovitskiy et al. start."""
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.flatten(1))
            nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]
    for module in net.modules():  # after their layers: a module comes before its parts
        if isinstance(module, Attention):
            module.query.weight.data.mul_(module.width**-0.5)
    nn.init.normal_(net.classifier.weight, 0.0, 0.01)
    for table in (net.positions, net.token):
        if table is not None:
            nn.init.trunc_normal_(table, std=0.02)
