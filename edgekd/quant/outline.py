"""The graph that an untrained module will become, for counting before anything is trained."""

from __future__ import annotations

from torch import nn

from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme


def outline(model: nn.Module, shape: tuple[int, ...], scheme: Scheme) -> QuantGraph:
    """The channels-last graph of ``model`` under ``scheme`` for samples of ``shape`` [C, H, W], with arbitrary scales.

    Raises InputError where the module has an operator that is not supported.
    """
    return freeze(QatModule(capture(model, shape), scheme))
