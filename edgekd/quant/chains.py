"""Which activations stay counts of steps in training: between convolutions and linear layers no value is ever multiplied by its step.

Given   conv → n₁ → conv, with learned steps s₀, s₁ and s₂ of the input, of n₁ and of the output
Result  {"n₁"}: the first convolves with weights · s₀/s₁, so that rounding its sums gives the counts n₁; the second with weights · s₁/s₂

A product by a scalar commutes with a convolution, so that the values are those of fake-quantization, and so are the gradients: that of a
step is, by the chain rule, what its weights hand on, a sum over weights and not over activations. A step costs half as many passes over
memory.
"""

from __future__ import annotations

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph

_WEIGHTED = (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected)
#: What counts pass through as values do; each has one input.
_PASSES = (ops.MaxPool2D, ops.Reshape, ops.Transpose)


def chained(graph: QuantGraph) -> frozenset[str]:
    """Tensors that only weighted operators write and read, some of them through operators that move values."""
    found = {op.outputs[0] for op in graph.ops if _writes(op)} - set(graph.outputs)
    while True:
        kept = {name for name in found if _made(graph, name, found) and all(_reads(op, name, found) for op in graph.consumers(name))}
        if kept == found:
            return frozenset(kept)
        found = kept


def _writes(op: ops.Op) -> bool:
    """A rectifier that stops at six has to know how many steps that is."""
    activation = getattr(op, "activation", "none")
    return activation == "none" if isinstance(op, _PASSES) else isinstance(op, _WEIGHTED) and activation != "relu6"


def _made(graph: QuantGraph, name: str, found: set[str]) -> bool:
    maker = graph.producer(name)
    return maker is not None and (isinstance(maker, _WEIGHTED) or maker.inputs[0] in found)


def _reads(op: ops.Op, name: str, found: set[str]) -> bool:
    return name not in op.inputs[1:] and (isinstance(op, _WEIGHTED) or op.outputs[0] in found)
