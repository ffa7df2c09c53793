"""Small nets in which channels go together in different ways, with running statistics of batch norm that are not 0 and 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

SIDE = 12


def conv(into: int, out: int, kernel: int = 3, **options: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(into, out, kernel, padding=kernel // 2, bias=False, **options), nn.BatchNorm2d(out), nn.ReLU6())


class Net(nn.Module):
    """``body`` of an image [n, 3, 12, 12] into [n, width, h, w], and a classifier of 5."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = conv(3, width)
        self.head = nn.Linear(width, 5)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class Plain(Net):
    """Two layers, and a flatten of 3 × 3 places before the classifier."""

    def __init__(self) -> None:
        super().__init__(16)
        self.second = conv(16, 24, stride=2)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(24 * 9, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.flatten(self.pool(self.second(self.stem(x))), 1))


class Residual(Net):
    def __init__(self) -> None:
        super().__init__(16)
        self.one, self.two, self.across, self.three = conv(16, 16), conv(16, 16), conv(16, 32, 1, stride=2), conv(16, 32, stride=2)
        self.head = nn.Linear(32, 5)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.two(self.one(x))
        return functional.relu(self.across(x) + self.three(x))


class Depthwise(Net):
    """A depthwise convolution, one of two filters a channel, and squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__(16)
        self.deep, self.wide, self.point = conv(16, 16, groups=16), conv(16, 32, groups=16), conv(32, 16, 1)
        self.squeeze, self.excite = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 1)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        x = self.point(self.wide(self.deep(x)))
        return x * torch.sigmoid(self.excite(functional.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))


class Concat(Net):
    def __init__(self) -> None:
        super().__init__(16)
        self.left, self.right, self.after = conv(16, 8, 1), conv(16, 16), conv(24, 16)
        self.slope = nn.PReLU(16)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.slope(self.after(torch.cat([self.left(x), functional.interpolate(self.right(x), scale_factor=1.0)], 1)))


class Groups(Net):
    """A convolution of four groups between two others."""

    def __init__(self) -> None:
        super().__init__(32)
        self.grouped, self.after = conv(32, 32, groups=4), conv(32, 32, 1)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.grouped(x))


class Upward(Net):
    """Down, up again by a transposed convolution, and a chunk that gates its other half."""

    def __init__(self) -> None:
        super().__init__(16)
        self.down, self.up, self.halves = conv(16, 32, stride=2), nn.ConvTranspose2d(32, 16, 2, 2), conv(16, 32)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.halves(x + self.up(self.down(x))).chunk(2, 1)
        return first * torch.sigmoid(second)


class Shuffled(Net):
    """Channels are shuffled by a reshape, which ties them down; those inside the block stay free."""

    def __init__(self) -> None:
        super().__init__(16)
        self.inside, self.back = conv(16, 32), conv(32, 16)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        return self.back(self.inside(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)))


class Attending(nn.Module):
    """One block of a transformer over 9 patches: only the hidden layer of its MLP is free."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.place = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.randn(1, 9, 16) * 0.1)
        self.norm, self.qkv, self.out = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down, self.head = nn.Linear(16, 64), nn.Linear(64, 16), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.place
        q, k, v = self.qkv(self.norm(x)).reshape(x.shape[0], 9, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape))
        return self.head((x + self.down(functional.gelu(self.up(x)))).mean(1))


NETS: dict[str, Callable[[], nn.Module]] = {
    "plain": Plain,
    "residual": Residual,
    "depthwise": Depthwise,
    "concat": Concat,
    "groups": Groups,
    "upward": Upward,
    "shuffled": Shuffled,
    "attending": Attending,
}
#: Of these all operators are TFLM's.
ON_BOARDS = ("plain", "residual", "depthwise", "concat")


def net(name: str) -> nn.Module:
    """One of NETS, or "mobilenet_v2" of transformers."""
    torch.manual_seed(0)
    module = mobilenet() if name == "mobilenet_v2" else NETS[name]()
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        for tensor, low, high in ((norm.running_mean, -0.5, 0.5), (norm.running_var, 0.5, 2), (norm.weight, 0.5, 1.5), (norm.bias, 0, 0.5)):
            nn.init.uniform_(tensor, low, high)  # type: ignore[arg-type] -- a tensor
    return module.eval()


def mobilenet(width: float = 0.35, classes: int = 5, side: int = SIDE) -> nn.Module:
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = MobileNetV2Config(depth_multiplier=width, image_size=side, num_labels=classes)
            self.inner = MobileNetV2ForImageClassification(config)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(pixel_values=x).logits

    return Logits()


def example() -> torch.Tensor:
    return torch.zeros(1, 3, SIDE, SIDE)


def images(n: int, seed: int = 1) -> torch.Tensor:
    """Noise in −1 … 1 on the grid of 8-bit pixels."""
    pixels = torch.randint(-128, 128, (n, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))
    return pixels.float() / 128
