"""Operators that treat each value by itself, in ONNX; listed in OPERATORS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgekd.quant import ops

if TYPE_CHECKING:
    from edgekd.export.onnx_nodes import Nodes


def _plain(kind: str) -> Callable[[Nodes, Any, str], None]:
    """One node without attributes, of all inputs."""

    def write(nodes: Nodes, op: Any, output: str) -> None:
        nodes.node(kind, [nodes.read(name) for name in op.inputs], output)

    return write


def _squared_difference(nodes: Nodes, op: Any, output: str) -> None:
    difference = nodes.node("Sub", [nodes.read(name) for name in op.inputs], f"{output}/difference")
    nodes.node("Mul", [difference, difference], output)


def _leaky_relu(nodes: Nodes, op: Any, output: str) -> None:
    nodes.node("LeakyRelu", [nodes.read(op.inputs[0])], output, {"alpha": float(op.alpha)})


def _gelu(nodes: Nodes, op: Any, output: str) -> None:
    nodes.node("Gelu", [nodes.read(op.inputs[0])], output, {"approximate": "tanh" if op.approximate else "none"})


def _rsqrt(nodes: Nodes, op: Any, output: str) -> None:
    nodes.node("Reciprocal", [nodes.node("Sqrt", [nodes.read(op.inputs[0])], f"{output}/root")], output)


def _softmax(nodes: Nodes, op: Any, output: str) -> None:
    nodes.node("Softmax", [nodes.read(op.inputs[0])], output, {"axis": -1})


def _same(nodes: Nodes, op: Any, output: str) -> None:
    """Quantize and Dequantize: the real value stays; the scale of the output is applied by whoever writes it."""
    nodes.node("Identity", [nodes.read(op.inputs[0])], output)


OPERATORS: dict[type[ops.Op], Callable[[Nodes, Any, str], None]] = {
    ops.Add: _plain("Add"),
    ops.Sub: _plain("Sub"),
    ops.Mul: _plain("Mul"),
    ops.Maximum: _plain("Max"),
    ops.Minimum: _plain("Min"),
    ops.SquaredDifference: _squared_difference,
    ops.LeakyRelu: _leaky_relu,
    ops.PRelu: _plain("PRelu"),
    ops.HardSwish: _plain("HardSwish"),
    ops.Gelu: _gelu,
    ops.Rsqrt: _rsqrt,
    ops.Softmax: _softmax,
    ops.Logistic: _plain("Sigmoid"),
    ops.Tanh: _plain("Tanh"),
    ops.Dequantize: _same,
}
