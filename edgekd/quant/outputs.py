"""What a graph of several outputs answers, as one array: every output of a sample, one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgekd.quant.graph import QuantGraph


def joined(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """[N, values of all outputs], in their order; a single output [N, ...] stays as it is."""
    if len(outputs) == 1:
        return outputs[0]
    return np.concatenate([output.reshape(len(output), -1) for output in outputs], axis=1)


def labels_shape(graph: QuantGraph, samples: int) -> tuple[int, ...]:
    """Of the labels of ``samples`` samples: one each, or of several outputs one for each of them."""
    return (samples,) if len(graph.outputs) == 1 else (samples, len(graph.outputs))


def parts(graph: QuantGraph) -> dict[str, slice]:
    """Where each output of ``graph`` lies in a sample's joined values (flat), by its name."""
    found, start = {}, 0
    for name in graph.outputs:
        size = math.prod(graph.tensor(name).shape)
        found[name] = slice(start, start + size)
        start += size
    return found
