from __future__ import annotations

import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.quant.outline import outline
from edgekd.quant.scheme import Scheme


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(symmetric_activations=True, per_channel_weights=False), Scheme("float16")])
def test_has_the_shapes_and_types_of_the_trained_student(scheme: Scheme) -> None:
    graph = outline(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()), (3, 6, 5), scheme)
    (op,) = graph.ops
    assert graph.layout == "channels_last" and graph.tensor(graph.outputs[0]).shape == (1, 6, 5, 4)
    assert graph.tensor(op.inputs[1]).shape == (4, 3, 3, 3)
    assert graph.tensor(op.inputs[1]).dtype == scheme.numeric


class Erf(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.erf(x)


def test_what_is_not_supported() -> None:
    with pytest.raises(InputError, match="operator aten.erf.default is not supported"):
        outline(Erf(), (3, 4, 4), Scheme())
