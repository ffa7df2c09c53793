"""What a graph of several outputs answers, as one array: every output of a sample, one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgekd.errors import InputError
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


def check_labels(graph: QuantGraph, y: np.ndarray, samples: int, where: str) -> None:
    """Raises InputError for labels ``y`` that are not one integer for each of ``samples`` and each output, or name a class that is none."""
    if y.shape != labels_shape(graph, samples) or y.dtype.kind not in "iu":
        count = len(graph.outputs)
        each = "one integer a sample" if count == 1 else f"{count} integers a sample, one an output"
        raise InputError(f"y is {y.dtype} {list(y.shape)}", where=where, expected=each)
    for labels, (name, part) in zip(y.reshape(samples, -1).T, parts(graph).items(), strict=True):
        classes = part.stop - part.start
        wrong = labels[(labels < 0) | (labels >= classes)]
        if classes > 1 and len(wrong):
            raise InputError(f"y holds {wrong[0]}, and {len(wrong)} such labels", where=where, expected=f"0 to {classes - 1}, of {name}")
