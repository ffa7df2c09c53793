"""Operators on integers (QLinearConv and its kin) written as Dequantize → float operator → Quantize, so that nothing later knows them.

    Given   QLinearConv(x, sx, zx, w, sw, zw, sy, zy, b)
    Result  Q(Conv(DQ(x, sx, zx), DQ(w, sw, zw), DQ(b, sx·sw)), sy, zy)

Sources: the ONNX operators (2026), ContribOperators.md of onnxruntime (2026).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from edgekd.importers.onnx_file import Model, Node

#: Operators with inputs (x, scale, zero point, y scale, y zero point) → the float operator.
UNARY = {
    "QLinearSigmoid": "Sigmoid", "QLinearLeakyRelu": "LeakyRelu", "QLinearSoftmax": "Softmax",
    "QLinearGlobalAveragePool": "GlobalAveragePool", "QLinearAveragePool": "AveragePool",
}  # fmt: skip
BINARY = {"QLinearAdd": "Add", "QLinearMul": "Mul", "QLinearMatMul": "MatMul"}
_NONE: Mapping[str, Any] = MappingProxyType({})


def expand(model: Model) -> Model:
    """``model`` without operators on integers. Constants are added where a bias needs a scale. Raises InputError for a dynamic one."""
    made = _Expansion(model)
    for node in model.nodes:
        made.expand(node)
    return replace(model, nodes=tuple(made.nodes), constants=made.constants)


class _Expansion:
    """Final. The nodes and constants in the making."""

    def __init__(self, model: Model) -> None:
        self.nodes: list[Node] = []
        self.constants = dict(model.constants)

    def expand(self, node: Node) -> None:
        if node.kind in UNARY:
            self._unary(node)
        elif node.kind in BINARY:
            x, sx, zx, w, sw, zw, sy, zy = _exactly(node, 8)
            operands = [self._real(node, "a", x, sx, zx), self._real(node, "b", w, sw, zw, axis=-1)]
            self._finish(node, BINARY[node.kind], operands, sy, zy)
        elif node.kind in SPECIAL:
            SPECIAL[node.kind](self, node)
        else:
            self.nodes.append(node)

    def conv(self, node: Node) -> None:
        x, sx, zx, w, sw, zw, sy, zy, *bias = _exactly(node, 8, 9)
        operands = [self._real(node, "x", x, sx, zx), self._real(node, "w", w, sw, zw, axis=0)]
        if bias and bias[0]:
            operands.append(self._bias(node, bias[0], sx, sw))
        self._finish(node, "Conv", operands, sy, zy)

    def gemm(self, node: Node) -> None:
        a, sa, za, b, sb, zb, *rest = _exactly(node, 6, 9)
        axis = 0 if node.attributes.get("transB", 0) else 1
        operands = [self._real(node, "a", a, sa, za), self._real(node, "b", b, sb, zb, axis=axis)]
        rest += [""] * (3 - len(rest))
        if rest[0]:
            operands.append(self._bias(node, rest[0], sa, sb))
        self._finish(node, "Gemm", operands, rest[1], rest[2])

    def concat(self, node: Node) -> None:
        if len(node.inputs) < 5 or len(node.inputs) % 3 != 2:
            raise node.refuse(f"{len(node.inputs)} inputs", "two, and three for each part")
        sy, zy, *parts = node.inputs
        operands = [self._real(node, str(i), parts[i], parts[i + 1], parts[i + 2]) for i in range(0, len(parts), 3)]
        self._finish(node, "Concat", operands, sy, zy)

    def matmul_to_float(self, node: Node) -> None:
        raise node.refuse("its activations are quantized while it runs (dynamic quantization)", "a model quantized with calibration data")

    def _unary(self, node: Node) -> None:
        x, sx, zx, sy, zy = (*node.inputs, *[""] * (5 - len(node.inputs)))[:5]
        if node.attributes.get("channels_last", 0):
            raise node.refuse("channels last", "channels first, as ONNX has it", "quantize without onnxruntime's layout optimization")
        self._finish(node, UNARY[node.kind], [self._real(node, "x", x, sx, zx)], sy, zy)

    def _real(self, node: Node, what: str, x: str, scale: str, zero: str, axis: int = 1) -> str:
        return self._add(node, "DequantizeLinear", what, [x, scale, *([zero] if zero else [])], {"axis": axis})

    def _add(self, node: Node, kind: str, what: str, inputs: Iterable[str], attributes: Mapping[str, Any] = _NONE) -> str:
        output = f"{node.outputs[0]}/{what}"
        self.nodes.append(Node(kind, f"{node.name}/{what}", tuple(inputs), (output,), attributes))
        return output

    def _bias(self, node: Node, bias: str, first: str, second: str) -> str:
        if first not in self.constants or second not in self.constants:
            raise node.refuse("scales that are not constants", "constants")
        name = f"{node.outputs[0]}/bias_scale"
        product = np.asarray(self.constants[first], np.float32) * np.asarray(self.constants[second], np.float32)
        self.constants[name] = product.reshape(-1) if product.size > 1 else product.reshape(())
        return self._add(node, "DequantizeLinear", "bias", [bias, name], {"axis": 0})

    def _finish(self, node: Node, kind: str, operands: list[str], scale: str, zero: str) -> None:
        if not scale:
            self.nodes.append(Node(kind, node.name, tuple(operands), node.outputs, node.attributes))
            return
        real = f"{node.outputs[0]}/real"
        self.nodes.append(Node(kind, node.name, tuple(operands), (real,), node.attributes))
        self.nodes.append(Node("QuantizeLinear", f"{node.name}/q", (real, scale, *([zero] if zero else [])), node.outputs[:1], {}))


def _exactly(node: Node, least: int, most: int = 0) -> tuple[str, ...]:
    if not least <= len(node.inputs) <= max(least, most) or not node.outputs:
        raise node.refuse(f"{len(node.inputs)} inputs", f"{least} to {max(least, most)}")
    return node.inputs


SPECIAL: Mapping[str, Callable[[_Expansion, Node], None]] = {
    "QLinearConv": _Expansion.conv,
    "QGemm": _Expansion.gemm,
    "QLinearConcat": _Expansion.concat,
    "DynamicQuantizeLinear": _Expansion.matmul_to_float,
    "ConvInteger": _Expansion.matmul_to_float,
    "MatMulInteger": _Expansion.matmul_to_float,
    "DynamicQuantizeMatMul": _Expansion.matmul_to_float,
    "MatMulIntegerToFloat": _Expansion.matmul_to_float,
}
