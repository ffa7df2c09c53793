"""What modules answer, found again in the captured graph: the same values, in the module's own shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgekd.quant.capture import capture_paths
from edgekd.quant.paths import first_tensor
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme


class Net(nn.Module):
    """Convolution, norm and rectifier (in place), padding, pooling to 1x1, attention, a dropout, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.pool, self.flat, self.drop, self.head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        tokens = x.flatten(2).transpose(1, 2)
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.head(self.drop(self.flat(self.pool(x + mixed.transpose(1, 2).reshape(x.shape)))))


def seen(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path, module in model.named_modules():
        module.register_forward_hook(lambda _, __, out, path=path: found.__setitem__(path, first_tensor(out)))  # type: ignore[arg-type]
    with torch.no_grad():
        model(x)
    return found


def test_each_path_has_the_modules_values_and_shape() -> None:
    torch.manual_seed(0)
    model = Net().eval()
    graph, paths = capture_paths(model, (1, 6, 6))
    assert not model.training and "paths" not in graph.metadata
    module, x = QatModule(graph, Scheme(), paths), torch.randn(3, 1, 6, 6)
    module.watched = tuple(module.paths)
    answer, theirs = module(x), seen(model, x)
    assert set(module.kept) == {
        "stem", "stem.1", "stem.2", "stem.3", "attention", "pool", "flat", "drop", "head"
    }  # the padding went into the convolution; the linear layer inside the attention is a function of its own  # fmt: skip
    for path, value in module.kept.items():
        assert value.shape == theirs[path].shape, path
        torch.testing.assert_close(value, theirs["stem" if path.startswith("stem") else path], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(answer, module.kept["head"])


def test_what_is_fused_maps_to_one_tensor_and_what_vanished_to_none() -> None:
    _, paths = capture_paths(Net().eval(), (1, 6, 6))
    assert paths["stem"].tensor == paths["stem.1"].tensor == paths["stem.2"].tensor == paths["stem.3"].tensor
    assert "stem.0" not in paths


def test_a_module_that_is_called_twice_answers_with_its_last_call() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(self.layer(x).sigmoid()).mean((2, 3)))

    model, x = Twice().eval(), torch.randn(2, 2, 5, 5)
    graph, paths = capture_paths(model, (2, 5, 5))
    module = QatModule(graph, Scheme(), paths)
    module.watched = ("layer",)
    module(x)
    torch.testing.assert_close(module.kept["layer"], seen(model, x)["layer"])


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_batch_that_lies_elsewhere_comes_back_where_the_module_has_it(batch_first: bool) -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = x.flatten(2).permute(0, 2, 1) if batch_first else x.flatten(2).permute(2, 0, 1)
            return self.head(self.mix(tokens).mean(1 if batch_first else 0))

    model, x = Turned().eval(), torch.randn(3, 4, 2, 3)
    graph, paths = capture_paths(model, (4, 2, 3))
    module = QatModule(graph, Scheme(), paths)
    module.watched = ("mix",)
    module(x)
    torch.testing.assert_close(module.kept["mix"], seen(model, x)["mix"])
    assert module.kept["mix"].shape == ((3, 6, 4) if batch_first else (6, 3, 4))
